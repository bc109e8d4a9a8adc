//! `confab call`

use crate::program::{DOMAIN, Place, Program, confab, text};

/// Somebody at `confab call` who is in a conference.
pub struct Caller {
    pub program: Program,
    pub conference: String,
}

impl Caller {
    pub fn creates(server: &str, name: &str, more: &[&str]) -> Caller {
        Caller::start(server, name, more)
    }

    pub fn joins(server: &str, name: &str, conference: &str) -> Caller {
        Caller::start(server, name, &[conference])
    }

    fn start(server: &str, name: &str, more: &[&str]) -> Caller {
        let user = format!("{name}@{DOMAIN}");
        let words = [&["call", "--user", &user, "--server", server], more].concat();
        let mut program = Program::start(&words, &[]);
        let conference = program.hears("word of the conference", |line| {
            let conference = line.strip_prefix("* You are in ")?.split(" as ").next()?;
            Some(conference.to_owned())
        });
        Caller { program, conference }
    }

    pub fn id(&self) -> String {
        self.conference.rsplit(':').next().unwrap().to_owned()
    }
}

#[test]
fn two_people_chat_from_their_terminals() {
    let place = Place::new(r#"["digest"]"#);
    place.add("ann", "correct horse");
    place.add("bob", "battery staple");
    let server = place.serve();
    let ann_password = place.write("ann", "correct horse\n");
    let bob_password = place.write("bob", "battery staple\n");

    let mut ann = Caller::creates(&server.at("tcp"), "ann", &["--password-file", &ann_password]);
    let trust = text(&place.data().join("tls-certificate.pem"));
    let conference = ann.conference.clone();
    let more = [conference.as_str(), "--password-file", &bob_password, "--trust", &trust];
    let mut bob = Caller::start(&server.at("tls"), "bob", &more);
    assert!(bob.program.out.contains("as attendee"), "{}", bob.program.out);
    ann.program.says("bob@example.test is here as attendee");
    // What is said before the other is on the chat, he does not hear.
    bob.program.types("here I am");
    ann.program.says("bob@example.test: here I am");
    ann.program.types("hello & <welcome>");
    bob.program.says("ann@example.test: hello & <welcome>");
    ann.program.types("/lock");
    bob.program.says("The conference is locked.");
    ann.program.types("/promote bob@example.test");
    bob.program.says("bob@example.test is here as presenter");
    ann.program.types("/dance");
    ann.program.says("there is no command /dance");
    ann.program.types("/eject bob@example.test");
    bob.program.says("A leader removed you");
    assert!(bob.program.ends().success);
    ann.program.says("bob@example.test has left.");
    ann.program.hangs_up();
    ann.program.says("You have left the conference.");
    assert!(ann.program.ends().success);
}

#[test]
fn somebody_joins_without_signing_in() {
    let place = Place::with(
        "domain = \"example.test\"\n[front_end]\nlisten = [\"tcp:127.0.0.1:0\"]\n\
         [conferences]\nallow_anonymous = true\n",
    );
    place.add("ann", "correct horse");
    let server = place.serve();
    let (tcp, password) = (server.at("tcp"), place.write("ann", "correct horse\n"));
    let mut ann = Caller::creates(&tcp, "ann", &["--password-file", &password, "--admit-anonymous"]);
    let key = ann
        .program
        .out
        .lines()
        .find_map(|line| line.strip_prefix("* Its key, for people who do not sign in: "));
    let link = format!("meet:{}?conf-key={}", ann.conference, key.expect("the key is printed"));

    let words = ["call", &link, "--anonymous", "--display-name", "Harbour Master", "--server", &tcp];
    let mut guest = Program::start(&words, &[]);
    guest.says("* You are in sip:ann@example.test");
    ann.program.says("* Harbour Master (");
    guest.types("is this the harbour?");
    ann.program.says("Harbour Master: is this the harbour?");
    ann.program.types("it is");
    guest.says("ann@example.test: it is");
    guest.types("good bye");
    guest.hangs_up();
    // What he said comes from the MCU, and that he left from the Focus.
    ann.program.says_all(&["Harbour Master: good bye", "* Harbour Master has left."]);
    assert!(guest.ends().success);

    let wrong = link.replace("conf-key=", "conf-key=x");
    let refused = confab(&["call", &wrong, "--anonymous", "--server", &tcp], "").refused();
    assert!(refused.contains("401") && refused.contains("wrong"), "{refused}");
    let nobody = confab(&["call", &link, "--server", &tcp], "");
    assert!(!nobody.success && nobody.err.contains("--user"), "{}", nobody.err);
}

#[test]
fn somebody_waits_in_the_lobby() {
    let place = Place::with(
        "domain = \"example.test\"\n[front_end]\nlisten = [\"tcp:127.0.0.1:0\"]\n\
         [conferences]\nallow_anonymous = true\nlobby = true\n",
    );
    place.add("ann", "correct horse");
    let server = place.serve();
    let (tcp, password) = (server.at("tcp"), place.write("ann", "correct horse\n"));
    let mut ann = Caller::creates(&tcp, "ann", &["--password-file", &password, "--admit-anonymous"]);
    let key = ann.program.out.lines().find_map(|line| line.split_once("do not sign in: "));
    let link = format!("meet:{}?conf-key={}", ann.conference, key.expect("the key is printed").1);
    for (name, command) in [("Harbour Master", "admit"), ("Wrecker", "deny")] {
        let words = ["call", &link, "--anonymous", "--display-name", name, "--server", &tcp];
        let mut guest = Program::start(&words, &[]);
        guest.says("waits in the lobby.");
        let who = ann.program.hears("somebody who waits", |line| {
            let (guest, address) = line.strip_suffix(") waits in the lobby.")?.split_once(" (")?;
            (guest.strip_prefix("* ") == Some(name)).then(|| address.to_owned())
        });
        ann.program.types(&format!("/{command} {who}"));
        if command == "admit" {
            guest.says("* ann@example.test is here as presenter.");
            ann.program.says(&format!("* {name} ({who}) is here as attendee."));
            guest.types("am I in the harbour?");
            ann.program.says(&format!("{name}: am I in the harbour?"));
            guest.hangs_up();
            guest.says("You have left");
            assert!(guest.ends().success);
        } else {
            guest.says("A leader removed you");
            ann.program.says("has left.");
        }
    }
}

#[test]
fn somebody_is_invited() {
    let place = Place::new("[]");
    let server = place.serve();
    let invited = Caller::creates(&server.at("tcp"), "bob", &[]);
    let mut ann = Caller::creates(
        &server.at("tcp"),
        "ann",
        &["--invite", "bob@example.test", "--invite", "nobody@example.test"],
    );
    ann.program.hears("word that one cannot be reached", |line| {
        (line.starts_with("* ") && line.contains("signed in")).then_some(())
    });
    let shown = place.confab(&["conference", "show", &ann.id()], "").fine();
    assert!(shown.contains("sip:bob@example.test as attendee"), "{shown}");
    drop(invited);
}

#[test]
fn what_cannot_be_called_is_refused_with_a_sentence() {
    let place = Place::new(r#"["digest"]"#);
    place.add("ann", "correct horse");
    let server = place.serve();
    let (tcp, tls) = (server.at("tcp"), server.at("tls"));
    let wrong = place.write("wrong", "guess\n");
    let right = place.write("right", "correct horse\n");
    let nobody = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:NEVERMADE0000000";
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let none = format!("tcp:{free}");
    let foreign = Place::new("[]");
    drop(foreign.serve());
    let foreign = text(&foreign.data().join("tls-certificate.pem"));
    for (words, word) in [
        (vec!["--user", "ann@example.test", "--server", &tcp, "--password-file", &wrong], "password"),
        (vec!["--user", "ann@example.test", "--server", &tcp], "password"),
        (vec!["--user", "zoe@example.test", "--server", &tcp, "--password-file", &right], "password"),
        (vec!["--user", "ann@elsewhere.test", "--server", &tcp, "--password-file", &right], "domain"),
        (vec!["--user", "ann", "--server", &tcp], "no address"),
        (vec!["--user", "ann@example.test", "--server", &none], "cannot be reached"),
        (vec!["--user", "ann@example.test", "--server", &tls], "--trust"),
        (vec!["--user", "ann@example.test", "--server", &tls, "--trust", &foreign], "cannot be reached"),
        (vec!["--user", "ann@example.test", "--server", &tls, "--trust", &wrong], "certificate"),
        (
            vec![nobody, "--user", "ann@example.test", "--server", &tcp, "--password-file", &right],
            "joining was refused",
        ),
        (
            vec![
                "sip:ann@example.test",
                "--user",
                "ann@example.test",
                "--server",
                &tcp,
                "--password-file",
                &right,
            ],
            "no conference",
        ),
    ] {
        let refused = confab(&[&["call"], words.as_slice()].concat(), "").refused();
        assert!(refused.contains(word), "{words:?}: {refused}");
        assert!(!refused.contains("guess") && !refused.contains("correct horse"), "{refused}");
    }
}
