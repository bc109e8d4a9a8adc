//! What people say and are called, and how they prove who they are, is nobody's to read in a log or
//! in the ladder of steps, however much is logged.

use confab_server::focus_host::SavedFlow;
use confab_sip::auth::{Algorithm, ha1};

use crate::{
    calling::Caller,
    program::{DOMAIN, Place, Program},
};

/// Panics if `text` has something of this.
fn has_nothing_of(private: &[String], place: &str, text: &str) {
    for part in private {
        assert!(!text.contains(part.as_str()), "{part:?} is in {place}:\n{text}");
    }
}

#[test]
fn pii() {
    let place = Place::new(r#"["digest"]"#);
    let people =
        [("ann", "Annabelle Quist", "correct-horse-1"), ("bob", "Bobbington Ruud", "battery-staple-2")];
    let mut private: Vec<String> = ["the treasure is", "under the fig tree"].map(str::to_owned).into();
    for (name, display_name, password) in people {
        let added = place.confab(&["user", "add", name, "--display-name", display_name], password);
        added.fine();
        place.write(name, password);
        private.extend([display_name.to_owned(), password.to_owned()]);
        private.extend([Algorithm::Md5, Algorithm::Sha256].map(|kind| ha1(kind, name, DOMAIN, password)));
    }
    let mut server = place.serve_logging("trace");
    let password = |name: &str| place.file(name).display().to_string();
    let subject = "Treasure hunt at noon";
    private.push(subject.to_owned());
    let more =
        ["--password-file", &password("ann"), "--subject", subject, "--display-name", "Annabelle Quist"];
    let mut ann = Caller::creates(&server.at("tcp"), "ann", &more);
    let conference = ann.conference.clone();
    let mut bob = Program::start(
        &[
            "call",
            &conference,
            "--user",
            "bob@example.test",
            "--server",
            &server.at("udp"),
            "--password-file",
            &password("bob"),
        ],
        &[("CONFAB_LOG", "trace")],
    );
    bob.says("* You are in ");
    bob.types("the treasure is");
    ann.program.says("bob@example.test: the treasure is");
    ann.program.types("under the fig tree");
    bob.says("ann@example.test: under the fig tree");
    bob.hangs_up();
    let bob = bob.ends();
    let ladder = place.confab(&["flow", &ann.id()], "").fine();
    assert!(ladder.contains("MESSAGE"), "the ladder tells that something was said:\n{ladder}");
    has_nothing_of(&private, "the ladder", &ladder);
    has_nothing_of(&private, "the client's log", &bob.err);
    let file = place.file("saved.flow").display().to_string();
    place.confab(&["flow", &ann.id(), "--save", &file], "").fine();
    let saved = std::fs::read_to_string(&file).unwrap();
    has_nothing_of(&private, "the saved flow", &saved);
    let flow = SavedFlow::from_json(&saved).unwrap();
    assert!(flow.len() > 5, "two have joined, and one has left");
    flow.replay().unwrap();
    let again = place.confab(&["flow", &ann.id(), "--save", &file], "").refused();
    assert!(again.contains("cannot be written"), "nothing is overwritten: {again}");
    server.program.is_told_to_stop();
    let server = server.program.ends();
    has_nothing_of(&private, "the server's log", &server.err);
    has_nothing_of(&private, "the server's output", &server.out);
}

#[test]
fn a_conference_key_stays_secret() {
    let place = Place::with(
        "domain = \"example.test\"\n[front_end]\nlisten = [\"tcp:127.0.0.1:0\"]\n\
         [conferences]\nallow_anonymous = true\n",
    );
    place.add("ann", "correct-horse-1");
    let mut server = place.serve_logging("trace");
    let (tcp, password) = (server.at("tcp"), place.write("ann", "correct-horse-1\n"));
    let mut ann = Caller::creates(&tcp, "ann", &["--password-file", &password, "--admit-anonymous"]);
    let shown = "* Its key, for people who do not sign in: ";
    let key = ann.program.out.lines().find_map(|line| line.strip_prefix(shown)).unwrap().to_owned();
    let link = format!("{}?conf-key={key}", ann.conference);
    let words = ["call", &link, "--anonymous", "--display-name", "Bobbington Ruud", "--server", &tcp];
    let mut guest = Program::start(&words, &[("CONFAB_LOG", "trace")]);
    guest.says("* You are in ");
    ann.program.says("Bobbington Ruud (");
    let private = [key.clone(), "Bobbington Ruud".to_owned()];
    let file = place.file("saved.flow").display().to_string();
    place.confab(&["flow", &ann.id(), "--save", &file], "").fine();
    has_nothing_of(&private, "the saved flow", &std::fs::read_to_string(&file).unwrap());
    has_nothing_of(&private, "the ladder", &place.confab(&["flow", &ann.id()], "").fine());
    has_nothing_of(&private, "the list", &place.confab(&["conference", "show", &ann.id()], "").fine());
    guest.hangs_up();
    has_nothing_of(&private, "the guest's log", &guest.ends().err);
    server.program.is_told_to_stop();
    let server = server.program.ends();
    has_nothing_of(&private, "the server's log", &server.err);
    for entry in std::fs::read_dir(place.data()).unwrap() {
        let path = entry.unwrap().path();
        let bytes = if path.is_file() { std::fs::read(&path).unwrap() } else { Vec::new() };
        let found = bytes.windows(key.len()).any(|part| part == key.as_bytes());
        assert!(!found, "the key is in {}", path.display());
    }
}

#[test]
fn pii_in_the_demonstration() {
    let said = Program::start(&["try", "--once", "--port", "0"], &[("CONFAB_LOG", "trace")]).ends();
    assert!(said.success, "{}", said.err);
    let private: Vec<String> =
        ["talk it through", "calling you both", "I am in", "Vivian", "Amy", "Hao"].map(str::to_owned).into();
    has_nothing_of(&private, "the log", &said.err);
    has_nothing_of(&private, "the ladder", &said.out);
}
