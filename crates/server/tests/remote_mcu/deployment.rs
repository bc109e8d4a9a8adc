//! The processes of these tests.

use std::fs;

use crate::program::{DOMAIN, Place, Program, Server, text};

/// A front end without an MCU of its own.
pub struct FrontEnd {
    pub place: Place,
    server: Server,
    /// Where its control link listens.
    pub control: String,
}

impl FrontEnd {
    pub fn start() -> FrontEnd {
        let place = Place::with(&format!(
            "domain = \"{DOMAIN}\"\nauth = []\n[front_end]\nlisten = [\"tcp:127.0.0.1:0\"]\n\
             [control]\nlisten = \"127.0.0.1:0\"\n"
        ));
        let server = place.serve();
        let heading = "Conferencing servers report to ";
        let control = server.program.out.lines().find_map(|line| line.strip_prefix(heading));
        let control = control.expect("it says where MCUs report").to_owned();
        FrontEnd { place, server, control }
    }
}

/// An MCU of its own.
pub struct Mcu {
    pub place: Place,
    program: Option<Program>,
    factory: String,
    /// Where it takes commands.
    pub control: String,
    /// Where it takes SIP.
    pub sip: String,
}

impl Mcu {
    /// Starts one with a certificate of the front end's authority.
    pub fn start(front_end: &FrontEnd) -> Mcu {
        let any = || "127.0.0.1:0".to_owned();
        let (control, sip, factory) = (any(), any(), front_end.control.clone());
        let place = Place::with("");
        fs::create_dir(place.data()).unwrap();
        front_end.place.confab(&["cert", "immcu", "--out", &text(&place.data())], "").fine();
        let mut mcu = Mcu { place, program: None, factory, control, sip };
        mcu.run();
        mcu
    }

    /// Runs it where it was, or for the first time wherever there is room.
    fn run(&mut self) {
        let Mcu { control, sip, factory, .. } = self;
        let tables = format!("[im_mcu]\ncontrol = \"{control}\"\nsip = \"{sip}\"\nfactory = \"{factory}\"\n");
        self.place.write("confab.toml", &tables);
        let program = self.place.serve().program;
        let line = |start: &str, end: &str| {
            let found = program.out.lines().find_map(|line| line.strip_prefix(start)?.strip_suffix(end));
            found.expect("it says where it listens").to_owned()
        };
        self.control = line("Control link on https://", "/LiveServer/IMMCU/");
        self.sip = line("SIP at sip:", ";transport=tls");
        self.program = Some(program);
    }

    pub fn is_killed_and_started_again(&mut self) {
        self.program = None;
        self.run();
    }

    /// `confab drain` beside it.
    pub fn drains(&self) -> Program {
        let (config, data) = (text(&self.place.file("confab.toml")), text(&self.place.data()));
        Program::start(&["drain", "--config", &config, "--data", &data], &[])
    }

    /// Whether a caller's conference is here.
    pub fn has(&self, caller: &Caller) -> bool {
        self.place.confab(&["flow", caller.id()], "").success
    }
}

/// Somebody at `confab call` who is in a conference.
pub struct Caller {
    pub program: Program,
    pub conference: String,
}

impl Caller {
    pub fn creates(front_end: &FrontEnd, name: &str) -> Caller {
        Caller::start(front_end, name, &[])
    }

    pub fn joins(front_end: &FrontEnd, name: &str, conference: &str) -> Caller {
        Caller::start(front_end, name, &[conference])
    }

    fn start(front_end: &FrontEnd, name: &str, more: &[&str]) -> Caller {
        let (user, server) = (format!("{name}@{DOMAIN}"), front_end.server.at("tcp"));
        let words = [&["call", "--user", &user, "--server", &server], more].concat();
        let mut program = Program::start(&words, &[]);
        let conference = program.hears("word of the conference", |line| {
            let conference = line.strip_prefix("* You are in ")?.split(" as ").next()?;
            Some(conference.to_owned())
        });
        Caller { program, conference }
    }

    /// Somebody joins, says something that arrives, and leaves.
    pub fn chats_with(&mut self, front_end: &FrontEnd, name: &str) {
        let mut other = Caller::joins(front_end, name, &self.conference);
        self.program.says(&format!("{name}@{DOMAIN} is here"));
        other.program.types("is anybody there?");
        self.program.says(&format!("{name}@{DOMAIN}: is anybody there?"));
        other.program.types("/leave");
        assert!(other.program.ends().success);
        self.program.says(&format!("{name}@{DOMAIN} has left"));
    }

    fn id(&self) -> &str {
        self.conference.rsplit(':').next().unwrap()
    }
}
