//! `confab serve` and `confab flow`

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};

use crate::program::Place;

#[test]
fn an_open_server_says_so_in_red_and_stops_when_told() {
    let place = Place::new("[]");
    let mut server = place.serve();
    for transport in ["udp", "tcp", "tls"] {
        assert!(server.at(transport).contains(":127.0.0.1:"));
    }
    server.program.is_told_to_stop();
    let said = server.program.ends();
    assert!(said.success, "{}", said.err);
    let red = said.err.lines().find(|line| line.contains("\x1b[31m")).expect("a line in red");
    assert!(red.contains("nobody is challenged") && red.ends_with("\x1b[0m"), "{red}");
}

#[test]
fn a_closed_server_has_nothing_to_say_in_red() {
    let place = Place::new(r#"["digest"]"#);
    let mut server = place.serve();
    server.program.is_told_to_stop();
    assert!(!server.program.ends().err.contains("\x1b[31m"));
}

#[test]
fn an_open_server_never_gets_at_the_data_of_a_closed_one() {
    let place = Place::new(r#"["digest"]"#);
    place.add("ann", "secret");
    drop(place.serve());
    place.write(
        "confab.toml",
        &std::fs::read_to_string(place.file("confab.toml")).unwrap().replace("\"digest\"", ""),
    );
    let refused = place.confab(&["serve"], "").refused();
    assert!(refused.contains("auth = []") && refused.contains("another data directory"), "{refused}");
}

#[test]
fn one_server_runs_on_a_directory() {
    let place = Place::new("[]");
    let server = place.serve();
    let refused = place.confab(&["serve"], "").refused();
    assert!(refused.contains("another server runs on"), "{refused}");
    drop(server);
    // A killed server leaves its lock and its socket behind; neither is in the way.
    place.serve();
}

#[test]
fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let place = Place::with(&format!("[front_end]\nlisten = [\"tcp:{address}\"]\n"));
    let refused = place.confab(&["serve"], "").refused();
    assert!(refused.contains(&address.to_string()), "{refused}");
}

#[test]
fn the_administrators_door_is_his_alone() {
    let place = Place::new("[]");
    let refused = place.confab(&["flow", "ABCD1234"], "").refused();
    assert!(refused.contains("no server answers"), "{refused}");
    let refused = place.confab(&["conference", "list"], "").refused();
    assert!(refused.contains("no server answers"), "{refused}");

    let _server = place.serve();
    let socket = place.data().join("admin.sock").metadata().unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    for id in ["ABCD1234", "a b", "%41", "../flow", "", "é", "a?b=c"] {
        let refused = place.confab(&["flow", id], "").refused();
        assert!(
            refused.contains("has left a trace") || refused.contains("no conference ID"),
            "{id:?}: {refused}"
        );
    }
}
