//! What every MCU does alike, whatever its medium: the commands of the Focus (c3p §8, §14).

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use confab_machine::{Entropy, Time};
use confab_mcu::{Action, AvMcu, Conference, ConferenceSpec, Event, ImMcu, Mcu, McuLimits, Refusal};
use confab_schema::{
    cccp::{Code, Command, ConferenceKeys, Request, Response, UserKeys},
    conference_info::{ConferenceInfo, Role, State},
    uri::ConferenceUri,
    xml::Element,
};

const FOCUS: &str = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:3E1C92F04C68";

#[test]
fn im_mcu_conforms() {
    conforms(&mut ImMcu);
}

#[test]
fn av_mcu_conforms() {
    conforms(&mut AvMcu::default());
}

fn conforms(mcu: &mut dyn Mcu) {
    refuses_a_host_without_address(mcu);
    shows_the_lock(mcu);
    knows_nobody_who_was_not_added(mcu);
    knows_no_other_conference(mcu);
    refuses_unknown_commands(mcu);
    ends(mcu);
}

fn refuses_a_host_without_address(mcu: &mut dyn Mcu) {
    let spec = ConferenceSpec { server_uri: "nowhere".to_owned(), ..spec() };
    let refusal = mcu.add_conference(spec, Entropy::from_seed([1; 32])).err();
    assert_eq!(refusal, Some(Refusal::ServerUri("nowhere".to_owned())));
}

fn shows_the_lock(mcu: &mut dyn Mcu) {
    let own_uri = ConferenceUri::parse(FOCUS).unwrap().mcu(mcu.media()).to_string();
    let mut room = Room::new(mcu);
    for locked in [true, false] {
        let (response, document) = room.command(Command::ModifyConferenceLock { keys: keys(FOCUS), locked });
        assert_eq!(response.code, Code::Success);
        let document = document.expect("a notification");
        assert_eq!((document.state, document.entity.as_str()), (State::Partial, FOCUS));
        let view = document.view.expect("a view");
        let view = view.entity_views.iter().find(|view| view.entity == own_uri).expect("of this MCU");
        assert_eq!(view.locked, Some(locked));
        assert!(!view.media.is_empty());
    }
}

fn knows_nobody_who_was_not_added(mcu: &mut dyn Mcu) {
    let mut room = Room::new(mcu);
    let user = || UserKeys { entity: FOCUS.to_owned(), user: "sip:bob@example.test".to_owned() };
    room.fails(Command::DeleteUser { mcu_uri: None, keys: user() }, "userDoesntExist");
    room.fails(Command::ModifyUserRoles { keys: user(), roles: vec![Role::Presenter] }, "userDoesntExist");
}

fn knows_no_other_conference(mcu: &mut dyn Mcu) {
    let mut room = Room::new(mcu);
    let other = keys("sip:ann@example.test;gruu;opaque=app:conf:focus:id:OTHEROTHER");
    room.fails(Command::GetConference(other.clone()), "conferenceDoesntExist");
    room.fails(Command::DeleteConference(other), "conferenceDoesntExist");
}

fn refuses_unknown_commands(mcu: &mut dyn Mcu) {
    let mut room = Room::new(mcu);
    let unknown = Command::Unknown { name: "sing".to_owned(), element: Element::new("", "sing") };
    room.fails(unknown, "notSupported");
    room.fails(Command::GetConferences, "notSupported");
}

fn ends(mcu: &mut dyn Mcu) {
    let mut room = Room::new(mcu);
    let (response, _) = room.command(Command::DeleteConference(keys(FOCUS)));
    assert_eq!(response.code, Code::Success);
    assert!(room.ended);
    assert_eq!(room.conference.deadline(), None);
    room.fails(Command::GetConference(keys(FOCUS)), "conferenceDoesntExist");
}

struct Room {
    conference: Conference,
    requests: u32,
    version: u32,
    ended: bool,
}

impl Room {
    fn new(mcu: &mut dyn Mcu) -> Room {
        let conference = mcu.add_conference(spec(), Entropy::from_seed([1; 32])).unwrap();
        Room { conference, requests: 0, version: 0, ended: false }
    }

    /// The answer, and the notification if there was one.
    fn command(&mut self, command: Command) -> (Response, Option<ConferenceInfo>) {
        self.requests += 1;
        let name = command.name().to_owned();
        let request = Request {
            request_id: self.requests,
            from: FOCUS.to_owned(),
            to: "sip:mcu.example.test".to_owned(),
            commands: vec![command],
        };
        let mut out = Vec::new();
        let now = Time::from_unix_secs(1);
        self.conference.handle(now, Event::Control { id: 7, request }, &mut out);
        let (mut answer, mut document) = (None, None);
        for action in out {
            match action {
                Action::ControlResponse { id, response } => {
                    assert_eq!((id, response.request_id), (7, self.requests));
                    assert_eq!((&*response.from, &*response.to), ("sip:mcu.example.test", FOCUS));
                    assert_eq!(response.results.first().map(|result| &result.name), Some(&name));
                    answer = Some(response);
                }
                Action::Notify(notified) => {
                    self.version += 1;
                    assert_eq!(notified.version, self.version);
                    document = Some(*notified);
                }
                Action::Ended => self.ended = true,
                other => panic!("nobody is in: {other:?}"),
            }
        }
        (answer.expect("every command is answered"), document)
    }

    fn fails(&mut self, command: Command, reason: &str) {
        let (response, _) = self.command(command);
        let result = response.results.first().and_then(|result| result.reason.as_deref());
        assert_eq!((response.code, result), (Code::Failure, Some(reason)));
    }
}

fn spec() -> ConferenceSpec {
    ConferenceSpec {
        conference: ConferenceUri::parse(FOCUS).unwrap(),
        server_uri: "sip:mcu.example.test:5062".to_owned(),
        locked: false,
        limits: McuLimits::default(),
    }
}

fn keys(entity: &str) -> ConferenceKeys {
    ConferenceKeys { entity: Some(entity.to_owned()), conference_id: None }
}
