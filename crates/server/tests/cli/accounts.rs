//! `confab user …`

use crate::program::Place;

#[test]
fn people_are_added_listed_and_removed() {
    let place = Place::new(r#"["digest"]"#);
    assert!(place.confab(&["user", "list"], "").fine().contains("There is nobody yet"));

    let added = place.confab(&["user", "add", "ann", "--display-name", "Ann Beebe"], "correct horse\n");
    assert!(added.fine().contains("ann@example.test"));
    let file = place.write("password", "battery staple\nwhat follows is no part of it\n");
    place.confab(&["user", "add", "bob@example.test", "--password-file", &file], "").fine();
    let list = place.confab(&["user", "list"], "").fine();
    let names: Vec<Vec<&str>> = list.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        names,
        [vec!["ann@example.test", "Ann", "Beebe"], vec!["bob@example.test", "bob@example.test"]]
    );

    let again = place.confab(&["user", "add", "ann", "--display-name", "Ann"], "another horse\n").fine();
    assert!(again.contains("new password"), "{again}");
    assert_eq!(place.confab(&["user", "list"], "").fine().lines().count(), 2);

    place.confab(&["user", "remove", "ann"], "").fine();
    assert!(!place.confab(&["user", "list"], "").fine().contains("ann@"));
    let refused = place.confab(&["user", "remove", "ann"], "").refused();
    assert!(refused.contains("there is no sip:ann@example.test"), "{refused}");
}

#[test]
fn what_is_no_account_is_refused() {
    let place = Place::new(r#"["digest"]"#);
    for (name, input, word) in [
        ("ann", "", "password is empty"),
        ("ann", "\nlater\n", "password is empty"),
        ("a nn", "secret\n", "address"),
        ("ann@elsewhere.test", "secret\n", "address"),
        ("", "secret\n", "address"),
        ("conference", "secret\n", "conferences.factory"),
    ] {
        let refused = place.confab(&["user", "add", name], input).refused();
        assert!(refused.contains(word), "{name:?} {input:?}: {refused}");
    }
    let missing = place.file("none").display().to_string();
    let refused = place.confab(&["user", "add", "ann", "--password-file", &missing], "").refused();
    assert!(refused.contains(&missing), "{refused}");
}

#[test]
fn the_key_is_private_and_the_database_holds_no_password() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new(r#"["digest"]"#);
    place.add("ann", "correct-horse");
    let mode = |name: &str| place.data().join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("secrets.key"), 0o600);
    assert_eq!(place.data().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    for file in std::fs::read_dir(place.data()).unwrap() {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!content.windows(7).any(|part| part == b"correct"), "a password lies in the data");
    }
}
