//! Step 8 between machines: the links to MCUs of other processes.

use std::time::Duration;

use confab_conference::reason::Reason;
use confab_schema::uri::McuUri;
use confab_server::{
    focus_host,
    front_end::{Action, Event},
};
use confab_sip::{Flow, Message, Method, Request, Response, ServerKey};

use crate::desk::{CHAT, CONFERENCE, Desk, answer, tcp, tls};

const REMOTE: &str = "sip:192.0.2.20:5073;transport=tls";
const LINK: Flow = Flow { id: 50, transport: confab_sip::Transport::Tls };

/// Ann's INVITE to the chat, which the Focus lets pass to the remote MCU.
fn invite(desk: &mut Desk) -> (Request, ServerKey) {
    let invite = desk.request("INVITE", CHAT, "ann@example.test");
    desk.receives(tcp(1), invite.clone());
    let Some(Action::ToFocus { event, .. }) = desk.done.pop() else { panic!("{:?}", desk.done) };
    let focus_host::Event::McuInvite { key, .. } = *event else { panic!("{event:?}") };
    desk.hear(Event::ForwardInvite {
        key: key.clone(),
        mcu: McuUri::parse(CHAT).unwrap(),
        server_uri: REMOTE.into(),
    });
    (invite, key)
}

/// How many links it wants opened; anything else it did is left.
fn links_wanted(desk: &mut Desk) -> usize {
    let before = desk.done.len();
    desk.done.retain(|action| !matches!(action, Action::LinkMcu { server_uri } if server_uri == REMOTE));
    before - desk.done.len()
}

fn linked(desk: &mut Desk, flow: Flow) {
    desk.hear(Event::McuLinked { server_uri: REMOTE.into(), flow });
}

fn unlinked(desk: &mut Desk) {
    desk.hear(Event::McuUnlinked { server_uri: REMOTE.into() });
}

fn final_status(desk: &mut Desk) -> Option<u16> {
    std::iter::from_fn(|| desk.answer_at(tcp(1)))
        .map(|response| response.status)
        .find(|status| *status >= 200)
}

#[test]
fn the_first_invite_waits_for_the_link() {
    let mut desk = Desk::open();
    invite(&mut desk);
    invite(&mut desk);
    assert_eq!(links_wanted(&mut desk), 1, "one attempt for both");
    linked(&mut desk, LINK);
    let waited = desk.at(LINK);
    assert_eq!(waited.len(), 2);
    for message in waited {
        let Message::Request(there) = message else { panic!("{message:?}") };
        assert_eq!(there.headers.get("P-Asserted-Identity").unwrap().to_string(), "<sip:ann@example.test>");
        assert_eq!(there.headers.record_routes().unwrap().len(), 1, "an MCU's side needs no address");
        desk.receives(LINK, answer(&there, 200, "mcu"));
    }
    assert_eq!(links_wanted(&mut desk), 0);
}

#[test]
fn who_gives_up_while_the_link_is_opened_is_not_forwarded() {
    let mut desk = Desk::open();
    let (asked, _) = invite(&mut desk);
    let mut cancel = asked.clone();
    cancel.method = Method::Cancel;
    cancel.headers.set("CSeq", format!("{} CANCEL", asked.headers.cseq().unwrap().number));
    desk.receives(tcp(1), cancel);
    linked(&mut desk, LINK);
    assert!(desk.at(LINK).is_empty());
}

#[test]
fn an_mcu_that_cannot_be_reached_is_tried_again_with_growing_pauses() {
    let mut desk = Desk::open();
    invite(&mut desk);
    assert_eq!(links_wanted(&mut desk), 1);
    unlinked(&mut desk);
    assert_eq!(final_status(&mut desk), Some(Reason::McuUnavailable.sip_status()));
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        desk.waits(Duration::from_millis(pause * 1000 - 1));
        assert_eq!(links_wanted(&mut desk), 0, "before {pause} s");
        desk.waits(Duration::from_millis(2));
        assert_eq!(links_wanted(&mut desk), 1, "after {pause} s");
        unlinked(&mut desk);
    }
    // The next who wants it does not wait for the pause.
    invite(&mut desk);
    assert_eq!(links_wanted(&mut desk), 1);
    linked(&mut desk, LINK);
    assert_eq!(desk.request_at(LINK).method, Method::Invite);
}

#[test]
fn what_nobody_wants_is_given_up() {
    let mut desk = Desk::open();
    invite(&mut desk);
    links_wanted(&mut desk);
    for _ in 0..20 {
        unlinked(&mut desk);
        desk.waits(Duration::from_secs(31));
    }
    links_wanted(&mut desk);
    unlinked(&mut desk);
    desk.waits(Duration::from_secs(3600));
    assert_eq!(links_wanted(&mut desk), 0);
}

/// Ann's session with the MCU, begun over [`LINK`].
struct Session {
    accepted: Response,
    route: String,
    cseq: u32,
}

impl Session {
    fn begin(desk: &mut Desk) -> Session {
        invite(desk);
        linked(desk, LINK);
        let there = desk.request_at(LINK);
        let route = there.headers.get("Record-Route").unwrap().to_string();
        let mut accepted = answer(&there, 200, "mcu");
        accepted.headers.set("Record-Route", route.as_str());
        desk.receives(LINK, accepted.clone());
        links_wanted(desk);
        desk.at(tcp(1));
        Session { accepted, route, cseq: 10 }
    }

    fn within(&mut self, desk: &mut Desk, from: &str, to: &str, uri: &str) -> Request {
        let mut request = desk.request("MESSAGE", uri, "ann@example.test");
        for (name, of) in [("From", from), ("To", to)] {
            request.headers.set(name, self.accepted.headers.get(of).unwrap().as_str());
        }
        self.cseq += 1;
        request.headers.set("CSeq", format!("{} MESSAGE", self.cseq));
        request.headers.set("Call-ID", self.accepted.headers.call_id().unwrap().as_str());
        request.with_header("Route", self.route.as_str())
    }

    /// Ann says something; its number.
    fn ann_says(&mut self, desk: &mut Desk) -> u32 {
        let request = self.within(desk, "From", "To", CHAT);
        desk.receives(tcp(1), request);
        self.cseq
    }

    /// The MCU at this link says something to Ann.
    fn mcu_says(&mut self, desk: &mut Desk, link: Flow) {
        let request = self.within(desk, "To", "From", "sip:ann@198.51.100.1");
        desk.receives(link, request);
    }
}

/// The numbers of the requests that went out there.
fn numbers(desk: &mut Desk, flow: Flow) -> Vec<u32> {
    let number = |message: &Message| match message {
        Message::Request(request) => Some(request.headers.cseq().unwrap().number),
        Message::Response(_) => None,
    };
    desk.at(flow).iter().filter_map(number).collect()
}

#[test]
fn a_broken_link_is_opened_again_at_once_and_its_dialogs_go_on() {
    let mut desk = Desk::open();
    let mut session = Session::begin(&mut desk);
    desk.hear(Event::FlowClosed { flow: LINK });
    assert_eq!(links_wanted(&mut desk), 1);

    linked(&mut desk, tls(51));
    session.ann_says(&mut desk);
    assert_eq!(desk.request_at(tls(51)).method, Method::Message);
    session.mcu_says(&mut desk, tls(51));
    assert_eq!(desk.request_at(tcp(1)).method, Method::Message);
}

#[test]
fn what_is_said_while_the_link_is_down_waits_for_it() {
    let mut desk = Desk::open();
    let mut session = Session::begin(&mut desk);
    let lost = session.ann_says(&mut desk);
    assert_eq!(numbers(&mut desk, LINK), [lost]);
    desk.hear(Event::FlowClosed { flow: LINK });
    let waits = [session.ann_says(&mut desk), session.ann_says(&mut desk)];
    assert_eq!(final_status(&mut desk), None, "nobody is told that anything failed");
    unlinked(&mut desk);
    desk.waits(Duration::from_secs(1));

    linked(&mut desk, tls(51));
    let sent = desk.at(tls(51));
    assert_eq!(sent.len(), 3, "{sent:?}");
    for (message, number) in sent.into_iter().zip([lost, waits[0], waits[1]]) {
        let Message::Request(there) = message else { panic!("{message:?}") };
        assert_eq!(there.headers.cseq().unwrap().number, number, "in order");
        desk.receives(tls(51), answer(&there, 200, "mcu"));
        assert_eq!(final_status(&mut desk), Some(200));
    }
    // What was answered is not said again.
    desk.hear(Event::FlowClosed { flow: tls(51) });
    linked(&mut desk, tls(52));
    assert_eq!(numbers(&mut desk, tls(52)), [0; 0]);
}

#[test]
fn what_a_lost_server_did_not_answer_goes_to_its_successor() {
    let successor = "sip:192.0.2.21:5073;transport=tls";
    let mut desk = Desk::open();
    let mut session = Session::begin(&mut desk);
    let unanswered = session.ann_says(&mut desk);
    let there = desk.request_at(LINK);
    let mcu = McuUri::parse(CHAT).unwrap();
    desk.hear(Event::McuMoved { mcu: mcu.clone(), server_uri: successor.into() });
    let waits = session.ann_says(&mut desk);
    desk.hear(Event::McuLinked { server_uri: successor.into(), flow: tls(60) });
    assert_eq!(numbers(&mut desk, tls(60)), [unanswered, waits]);

    // The former one wakes up: neither its answer nor what it says gets through.
    desk.receives(LINK, answer(&there, 500, "mcu"));
    session.mcu_says(&mut desk, LINK);
    assert_eq!(numbers(&mut desk, tcp(1)), [0; 0]);
    assert_eq!(final_status(&mut desk), None);
    assert_eq!(desk.answer_at(LINK).map(|response| response.status), Some(481));
    session.mcu_says(&mut desk, tls(60));
    assert_eq!(desk.request_at(tcp(1)).method, Method::Message);

    // What neither of two answered is not sent to a third: it may be what kills them.
    desk.hear(Event::McuMoved { mcu, server_uri: REMOTE.into() });
    assert_eq!(numbers(&mut desk, LINK), [waits]);
}

#[test]
fn a_server_that_was_started_again_has_time_to_take_its_dialogs_over() {
    let mut desk = Desk::open();
    let mut session = Session::begin(&mut desk);
    let mcu = McuUri::parse(CHAT).unwrap();
    let refuses = |desk: &mut Desk, link: Flow| {
        let there = desk.request_at(link);
        desk.receives(link, answer(&there, 481, "mcu"));
    };
    // Whose link has stood for long means it.
    desk.waits(Duration::from_secs(6));
    session.ann_says(&mut desk);
    refuses(&mut desk, LINK);
    assert_eq!(final_status(&mut desk), Some(481));

    desk.hear(Event::FlowClosed { flow: LINK });
    let too_early = session.ann_says(&mut desk);
    linked(&mut desk, tls(51));
    refuses(&mut desk, tls(51));
    assert_eq!(final_status(&mut desk), None);
    desk.hear(Event::McuMoved { mcu, server_uri: REMOTE.into() });
    let again = desk.request_at(tls(51));
    assert_eq!(again.headers.cseq().unwrap().number, too_early);
    desk.receives(tls(51), answer(&again, 200, "mcu"));
    assert_eq!(final_status(&mut desk), Some(200));

    // Nobody takes this one over.
    session.ann_says(&mut desk);
    refuses(&mut desk, tls(51));
    desk.waits(Duration::from_secs(25));
    assert_eq!(final_status(&mut desk), Some(481));
}

#[test]
fn a_server_that_is_its_own_successor_has_time_as_well() {
    let mut desk = Desk::open();
    let mut session = Session::begin(&mut desk);
    let mcu = McuUri::parse(CHAT).unwrap();
    // Long after the link was opened: the server stood still and its conference was lost.
    desk.waits(Duration::from_secs(6));
    desk.hear(Event::McuWanted { mcu: mcu.clone() });
    let too_early = session.ann_says(&mut desk);
    let there = desk.request_at(LINK);
    desk.receives(LINK, answer(&there, 481, "mcu"));
    assert_eq!(final_status(&mut desk), None);
    desk.hear(Event::McuMoved { mcu: mcu.clone(), server_uri: REMOTE.into() });
    let again = desk.request_at(LINK);
    assert_eq!(again.headers.cseq().unwrap().number, too_early);
    desk.receives(LINK, answer(&again, 200, "mcu"));
    assert_eq!(final_status(&mut desk), Some(200));

    // It has the dialogs: what it refuses now is refused.
    session.ann_says(&mut desk);
    let there = desk.request_at(LINK);
    desk.receives(LINK, answer(&there, 481, "mcu"));
    assert_eq!(final_status(&mut desk), Some(481));
}

#[test]
fn who_leaves_right_after_a_word_is_heard_first() {
    let mut desk = Desk::open();
    let mut session = Session::begin(&mut desk);
    let leaves = |desk: &mut Desk| {
        let mut bye = desk.request("BYE", CONFERENCE, "ann@example.test");
        let to = format!("{};tag=focus", bye.headers.get("To").unwrap());
        bye.headers.set("To", to);
        desk.receives(tcp(1), bye);
    };
    let left = |desk: &mut Desk| {
        let before = desk.done.len();
        desk.done.retain(|action| !matches!(action, Action::ToFocus { .. }));
        before - desk.done.len()
    };
    let mut words = Vec::new();
    for _ in 0..2 {
        session.ann_says(&mut desk);
        words.push(desk.request_at(LINK));
    }
    leaves(&mut desk);
    for (word, expected) in words.iter().zip([0, 1]) {
        assert_eq!(left(&mut desk), 0);
        desk.receives(LINK, answer(word, 202, "mcu"));
        assert_eq!(left(&mut desk), expected);
    }

    // An MCU that does not answer holds nobody back.
    session.ann_says(&mut desk);
    leaves(&mut desk);
    desk.waits(Duration::from_millis(900));
    assert_eq!(left(&mut desk), 0);
    desk.waits(Duration::from_millis(200));
    assert_eq!(left(&mut desk), 1);

    // Nor is a word lost with its connection.
    let subscribe = desk.request("SUBSCRIBE", CONFERENCE, "ann@example.test");
    desk.receives(tcp(1), subscribe);
    assert_eq!(left(&mut desk), 1, "the Focus is to know of her connection");
    desk.waits(Duration::from_secs(40));
    desk.at(LINK);
    session.ann_says(&mut desk);
    let word = desk.request_at(LINK);
    desk.hear(Event::FlowClosed { flow: tcp(1) });
    assert_eq!(left(&mut desk), 0);
    desk.receives(LINK, answer(&word, 202, "mcu"));
    assert_eq!(left(&mut desk), 1);

    // Who says nothing waits for nothing.
    desk.waits(Duration::from_secs(40));
    leaves(&mut desk);
    assert_eq!(left(&mut desk), 1);
}

#[test]
fn nothing_waits_for_ever() {
    let mut desk = Desk::open();
    let mut session = Session::begin(&mut desk);
    desk.hear(Event::FlowClosed { flow: LINK });
    session.ann_says(&mut desk);
    unlinked(&mut desk);
    desk.waits(Duration::from_secs(24));
    assert_eq!(final_status(&mut desk), None);
    desk.waits(Duration::from_secs(2));
    assert_eq!(final_status(&mut desk), Some(Reason::McuUnavailable.sip_status()));

    session.ann_says(&mut desk);
    let conference = McuUri::parse(CHAT).unwrap().conference;
    desk.hear(Event::ConferenceEnded { conference });
    assert_eq!(final_status(&mut desk), Some(481));
}

#[test]
fn a_conference_that_moves_brings_its_link_along() {
    let mut desk = Desk::open();
    let mcu = McuUri::parse(CHAT).unwrap();
    desk.hear(Event::McuMoved { mcu, server_uri: REMOTE.into() });
    assert_eq!(links_wanted(&mut desk), 1);
}

#[test]
fn an_mcu_that_takes_a_conference_is_linked() {
    let mut desk = Desk::open();
    for expected in [1, 0] {
        desk.hear(Event::McuProvisioned { server_uri: REMOTE.into() });
        assert_eq!(links_wanted(&mut desk), expected);
    }
    linked(&mut desk, LINK);
    desk.hear(Event::McuProvisioned { server_uri: REMOTE.into() });
    assert_eq!(links_wanted(&mut desk), 0);
}

#[test]
fn only_where_mcus_can_be_is_linked() {
    let mut desk = Desk::open();
    for server_uri in ["sip:elsewhere.example.test;transport=tcp", "sip:192.0.2.20:5060", "no URI"] {
        let (_, key) = invite(&mut desk);
        links_wanted(&mut desk);
        unlinked(&mut desk);
        desk.at(tcp(1));
        desk.hear(Event::ForwardInvite {
            key,
            mcu: McuUri::parse(CHAT).unwrap(),
            server_uri: server_uri.into(),
        });
        assert!(!desk.done.iter().any(|action| matches!(action, Action::LinkMcu { .. })), "{server_uri}");
        desk.done.clear();
    }
}
