//! Steps 5 to 8: conferencing servers that come, answer and tell who is on them.

use std::time::Duration;

use confab_conference::{
    focus::{Action, Event},
    reason::Reason,
};
use confab_schema::{
    cccp::{Code, Command, Request, Response, ResultBody},
    conference_info::{ConferenceInfo, Endpoint, EndpointStatus, JoiningMethod, State, User, Users},
    uri::McuType,
};

use crate::{answers::*, stage::*};

const REQUEST: Action = Action::RequestMcu { media: McuType::Chat };

#[test]
fn a_server_that_is_ready_has_its_view() {
    let mut stage = Stage::new();
    stage.join("ann");
    let subscription = stage.subscribe("ann");
    stage.settle();
    stage.mcu_ready();
    stage.settle();
    assert_eq!(stage.watchers[&subscription].locks(), [(CHAT, Some(false)), (CONFERENCE, Some(false))]);
    let view = stage.watchers[&subscription].known.view.clone().unwrap();
    let chat = view.entity_views.iter().find(|view| view.entity == CHAT).unwrap();
    // pidgin-sipe finds the view by the type of its medium.
    assert_eq!(chat.media[0].kind, "chat");
    assert!(mcu_commands(&stage.look()).is_empty());
}

#[test]
fn a_server_of_a_locked_conference_is_told() {
    let mut stage = Stage::with(|record, _| record.locked = true);
    stage.join("ann");
    stage.look();
    stage.mcu_ready();
    let command = mcu_command(&stage.look());
    assert!(matches!(command.commands[0], Command::ModifyConferenceLock { locked: true, .. }));
}

#[test]
fn an_invite_before_the_server_is_ready_waits() {
    let mut stage = Stage::new();
    stage.join("ann");
    stage.look();
    let invite = stage.invite("ann");
    stage.wait(Duration::from_secs(29));
    assert!(stage.look().is_empty());
    stage.mcu_ready();
    let done = stage.look();
    assert_eq!(forwarded(&done, invite), None, "the server must know her first");
    let add = mcu_command(&done);
    let [Command::AddUser(wanted)] = add.commands.as_slice() else { panic!("{add:?}") };
    assert_eq!(wanted.mcu_uri.as_deref(), Some(CHAT));
    assert_eq!(wanted.user.entity, "sip:ann@example.test");
    assert_eq!(wanted.user.display_text.as_deref(), Some("ANN"));
    assert_eq!(wanted.user.endpoints[0].joining_method, Some(JoiningMethod::DialedIn));
    assert_eq!((add.from.as_str(), add.to.as_str()), (CONFERENCE, CHAT));
    stage.mcu_answers(Response::pending(&add));
    assert!(stage.look().is_empty());
    stage.mcu_succeeds(&add);
    assert_eq!(forwarded(&stage.look(), invite), Some(SERVER_URI));
    // An answer that comes twice, or to nothing that was asked, does nothing.
    stage.mcu_succeeds(&add);
    stage.mcu_answers(Response { request_id: 4711, ..Response::new(&add, Code::Success, ResultBody::Empty) });
    assert!(stage.look().is_empty());
}

#[test]
fn an_invite_is_refused_when_no_server_comes() {
    let mut stage = Stage::new();
    stage.join("ann");
    let invite = stage.invite("ann");
    stage.wait(Duration::from_secs(30));
    assert_eq!(invite_refused(&stage.look(), invite), Some(Reason::McuUnavailable));
    stage.mcu_ready();
    assert!(mcu_commands(&stage.look()).is_empty(), "it has its answer");
}

#[test]
fn an_invite_whose_sender_left_is_refused() {
    let mut stage = Stage::new();
    stage.join("ann");
    let bob = stage.join("bob");
    let invite = stage.invite("bob");
    stage.leave(bob);
    stage.mcu_ready();
    let done = stage.look();
    assert_eq!(invite_refused(&done, invite), Some(Reason::NotJoined));
    assert!(mcu_commands(&done).is_empty());
}

#[test]
fn an_invite_is_refused_when_the_server_will_not_have_it() {
    let mut stage = Stage::new();
    stage.join("ann");
    stage.mcu_ready();
    stage.look();
    let declined = stage.invite("ann");
    let add = mcu_command(&stage.look());
    stage.mcu_fails(&add, "otherFailure");
    assert_eq!(invite_refused(&stage.look(), declined), Some(Reason::McuUnavailable));

    let nowhere = stage.invite("ann");
    let add = mcu_command(&stage.look());
    stage.mcu_answers(Response::new(&add, Code::Success, ResultBody::Empty));
    assert_eq!(invite_refused(&stage.look(), nowhere), Some(Reason::McuUnavailable));
}

/// Ann and Bob chat on a server that told what its successor needs to know of Ann only.
fn chatting() -> Stage {
    chatting_with([("ann", Some("ann's session")), ("bob", None)])
}

/// Ann and Bob chat on a server that told so much for its successor.
fn chatting_with(handovers: [(&str, Option<&str>); 2]) -> Stage {
    let mut stage = Stage::new();
    for name in ["ann", "bob"] {
        stage.join(name);
    }
    stage.mcu_ready();
    let mut users = Vec::new();
    for (name, handover) in handovers {
        let mut user = User::new(format!("sip:{name}@example.test"));
        let mut leg = Endpoint::new(format!("{{{name}}}"));
        leg.status = Some(EndpointStatus::Connected);
        leg.handover = handover.map(str::to_owned);
        user.endpoints = vec![leg];
        users.push(user);
    }
    let mut document = ConferenceInfo::partial(CONFERENCE, 1);
    document.users = Some(Users { state: State::Partial, users });
    stage.hear(Event::McuNotified { media: McuType::Chat, document: Box::new(document) });
    stage.settle();
    stage.look();
    stage
}

fn chat_legs(stage: &mut Stage, name: &str) -> usize {
    let people = stage.full_document("ann").users.unwrap().users;
    let user = people.into_iter().find(|user| user.entity == format!("sip:{name}@example.test")).unwrap();
    assert!(user.endpoints.iter().all(|endpoint| endpoint.handover.is_none()), "between servers only");
    user.endpoints.iter().filter(|endpoint| endpoint.session_type.as_deref() == Some("chat")).count()
}

#[test]
fn a_lost_server_is_replaced_and_sessions_go_on() {
    let mut stage = chatting();
    assert_eq!((chat_legs(&mut stage, "ann"), chat_legs(&mut stage, "bob")), (1, 1));
    let waiting = stage.invite("bob");
    let request_id = mcu_command(&stage.look()).request_id;
    stage.hear(Event::McuUnreachable { media: McuType::AudioVideo, request_id });
    assert!(stage.look().is_empty(), "that is another server's");
    stage.hear(Event::McuUnreachable { media: McuType::Chat, request_id });
    assert_eq!(stage.look(), [REQUEST], "another is asked for, and nobody is told yet");
    assert_eq!(chat_legs(&mut stage, "bob"), 1, "nothing has changed for anybody");

    stage.hear(Event::McuReady { media: McuType::Chat, control_url: "http://next.test/".into() });
    let commands = mcu_commands(&stage.look());
    let handed: Vec<_> = commands
        .iter()
        .filter_map(|request| match &request.commands[0] {
            Command::AddUser(add) => add.user.endpoints[0].handover.clone(),
            _ => None,
        })
        .collect();
    assert_eq!(handed, ["ann's session"]);
    assert_eq!(chat_legs(&mut stage, "bob"), 0, "nobody can go on with his session");
    stage.mcu_succeeds(&commands[0]);
    let moved =
        |action: &Action| matches!(action, Action::MoveMcu { server_uri, .. } if server_uri == SERVER_URI);
    assert!(stage.look().iter().any(moved));
    assert_eq!(chat_legs(&mut stage, "ann"), 1);
    stage.mcu_succeeds(&commands[1]);
    let forwarded =
        |action: &Action| matches!(action, Action::ForwardInvite { invite, .. } if *invite == waiting);
    assert!(stage.look().iter().any(forwarded), "who came meanwhile is let in");
}

#[test]
fn dialogs_are_led_to_a_successor_that_has_them_all() {
    let mut stage = chatting_with([("ann", Some("ann's session")), ("bob", Some("bob's session"))]);
    stage.hear(Event::McuLost { media: McuType::Chat });
    stage.hear(Event::McuReady { media: McuType::Chat, control_url: "http://next.test/".into() });
    let commands = mcu_commands(&stage.look());
    let is_moved = |stage: &mut Stage| {
        let moves = |action: &Action| matches!(action, Action::MoveMcu { .. });
        stage.look().iter().any(moves)
    };
    stage.mcu_succeeds(&commands[0]);
    assert!(!is_moved(&mut stage), "Bob is not known there yet");
    stage.mcu_fails(&commands[1], "otherFailure");
    assert!(is_moved(&mut stage));
    assert_eq!((chat_legs(&mut stage, "ann"), chat_legs(&mut stage, "bob")), (1, 0));
}

/// What a successor is told of Ann's leg on the chat, and whether she is removed.
fn told_of_ann(commands: &[Request]) -> Vec<&str> {
    let of = |request: &Request| match &request.commands[0] {
        Command::AddUser(add) => {
            assert_eq!(add.user.endpoints[0].handover.as_deref(), Some("ann's session"));
            "added"
        }
        Command::DeleteUser { keys, .. } => {
            assert_eq!(keys.user, "sip:ann@example.test");
            "removed"
        }
        other => panic!("{other:?}"),
    };
    commands.iter().map(of).collect()
}

#[test]
fn whom_a_lost_server_may_not_have_removed_its_successor_removes() {
    let ejected = Command::DeleteUser { mcu_uri: None, keys: user_keys("ann") };
    let off_the_chat = Command::DeleteUser { mcu_uri: Some(CHAT.into()), keys: user_keys("ann") };
    for (command, lost_before) in [(&ejected, false), (&ejected, true), (&off_the_chat, false)] {
        let mut stage = chatting();
        let pat = stage.join("pat");
        stage.look();
        if lost_before {
            stage.hear(Event::McuLost { media: McuType::Chat });
        }
        stage.command(pat, "pat", command.clone());
        let asked = mcu_commands(&stage.look());
        assert_eq!(told_of_ann(&asked), if lost_before { &[][..] } else { &["removed"][..] });
        for place in ["http://next.test/", "http://next.test/after"] {
            stage.hear(Event::McuLost { media: McuType::Chat });
            // The second is asked for only after a while.
            stage.wait(Duration::from_secs(1));
            stage.look();
            stage.hear(Event::McuReady { media: McuType::Chat, control_url: place.into() });
            let done = mcu_commands(&stage.look());
            assert_eq!(told_of_ann(&done), ["added", "removed"], "{command:?}");
            assert_eq!(
                stage.full_document("pat").users.unwrap().users.iter().map(legs_of_ann).sum::<usize>(),
                0
            );
        }
    }
}

fn legs_of_ann(user: &User) -> usize {
    let is_hers = user.entity == "sip:ann@example.test";
    let on_chat = user.endpoints.iter().filter(|leg| leg.session_type.as_deref() == Some("chat"));
    if is_hers { on_chat.count() } else { 0 }
}

#[test]
fn whom_a_lost_server_had_removed_its_successor_never_hears_of() {
    let mut stage = chatting();
    let pat = stage.join("pat");
    stage.look();
    stage.command(pat, "pat", eject("ann"));
    let removed = mcu_command(&stage.look());
    stage.mcu_answers(Response::new(&removed, Code::Success, ResultBody::Empty));
    stage.hear(Event::McuLost { media: McuType::Chat });
    stage.look();
    stage.hear(Event::McuReady { media: McuType::Chat, control_url: "http://next.test/".into() });
    assert!(mcu_commands(&stage.look()).is_empty());
}

#[test]
fn what_ends_on_a_lost_server_ends_on_another() {
    for is_lost in [false, true] {
        let mut stage = chatting();
        if is_lost {
            stage.hear(Event::McuLost { media: McuType::Chat });
            stage.look();
        }
        stage.hear(Event::EndRequested);
        let done = stage.look();
        let ends = done.iter().filter_map(|action| match action {
            Action::EndMcu { media, control_url, heirs, request } => {
                Some((media, control_url, heirs, request))
            }
            _ => None,
        });
        let [(media, control_url, heirs, request)] = ends.collect::<Vec<_>>()[..] else {
            panic!("{done:#?}")
        };
        assert_eq!((*media, control_url.as_deref()), (McuType::Chat, (!is_lost).then_some(CONTROL_URL)));
        assert!(matches!(&request.commands[..], [Command::DeleteConference(_)]));
        let [heir] = &heirs[..] else { panic!("Ann alone can go on elsewhere: {heirs:#?}") };
        let Command::AddUser(add) = &heir.commands[0] else { panic!("{heir:#?}") };
        assert_eq!(add.user.endpoints[0].handover.as_deref(), Some("ann's session"));
    }
    let mut stage = Stage::new();
    stage.join("ann");
    stage.hear(Event::EndRequested);
    assert!(mcu_commands(&stage.look()).is_empty(), "where nobody was nothing ends");
}

#[test]
fn without_a_successor_everybody_leaves_the_medium_in_the_end() {
    let mut stage = chatting();
    stage.hear(Event::McuLost { media: McuType::Chat });
    stage.hear(Event::McuLost { media: McuType::Chat });
    assert_eq!(stage.look(), [REQUEST], "it is lost once");
    stage.hear(Event::McuUnavailable { media: McuType::Chat });
    stage.wait(Duration::from_secs(29));
    assert_eq!(chat_legs(&mut stage, "ann"), 1);
    stage.wait(Duration::from_secs(2));
    assert_eq!((chat_legs(&mut stage, "ann"), chat_legs(&mut stage, "bob")), (0, 0));
}

#[test]
fn the_factory_is_asked_again_and_ever_less_often() {
    let mut stage = Stage::new();
    stage.join("ann");
    stage.settle();
    assert!(stage.look().contains(&REQUEST));
    for seconds in [1, 2, 4, 8, 16, 30, 30, 30] {
        stage.hear(Event::McuUnavailable { media: McuType::Chat });
        stage.wait(Duration::from_secs(seconds) - Duration::from_millis(1));
        assert!(stage.look().is_empty(), "{seconds}");
        stage.wait(Duration::from_millis(1));
        assert_eq!(stage.look(), [REQUEST], "{seconds}");
    }
    stage.mcu_ready();
    stage.hear(Event::McuUnavailable { media: McuType::Chat });
    stage.hear(Event::McuReady { media: McuType::Chat, control_url: "http://other.test/".into() });
    stage.look();
    stage.invite("ann");
    let done = stage.look();
    assert!(matches!(&done[0], Action::CommandMcu { control_url, .. } if control_url == CONTROL_URL));
}

#[test]
fn the_roster_shows_who_is_on_the_server() {
    let mut stage = Stage::new();
    stage.join("ann");
    stage.join("bob");
    stage.mcu_ready();
    let subscription = stage.subscribe("ann");
    stage.mcu_tells(&[("bob", Some(EndpointStatus::Connected))]);
    stage.settle();
    let bob = stage.watchers[&subscription].user("bob").unwrap();
    let [focus, chat] = bob.endpoints.as_slice() else { panic!("{bob:?}") };
    assert_eq!((focus.entity.as_str(), focus.session_type.as_deref()), ("{bob}", Some("focus")));
    assert_eq!((chat.entity.as_str(), chat.session_type.as_deref()), ("{chat bob}", Some("chat")));
    stage.mcu_tells(&[("bob", None)]);
    stage.settle();
    assert_eq!(stage.watchers[&subscription].user("bob").unwrap().endpoints.len(), 1, "he is still in");
}

#[test]
fn ghosts_are_removed() {
    let mut stage = Stage::new();
    stage.join("ann");
    stage.mcu_ready();
    let subscription = stage.subscribe("ann");
    stage.settle();
    stage.look();
    stage.mcu_tells(&[("eve", Some(EndpointStatus::Connected)), ("bob", None)]);
    let done = stage.look();
    let command = mcu_command(&done);
    assert!(matches!(&command.commands[0], Command::DeleteUser { keys, .. } if keys.user.contains("eve")));
    stage.mcu_succeeds(&command);
    stage.settle();
    assert_eq!(stage.watchers[&subscription].users().len(), 1);
    assert!(stage.look().is_empty(), "nobody need hear of it");
}

#[test]
fn strange_notifications_do_no_harm() {
    let mut stage = Stage::new();
    stage.join("ann");
    let tell = |stage: &mut Stage, users: Vec<User>| {
        let users = Some(Users { state: State::Partial, users });
        let document = ConferenceInfo { users, ..ConferenceInfo::partial(CONFERENCE, 9) };
        stage.hear(Event::McuNotified { media: McuType::Chat, document: Box::new(document) });
    };
    let ann_with = |endpoints| User { endpoints, ..User::new("sip:ann@example.test") };
    stage.settle();
    stage.look();
    // Before it is ready a server has nobody.
    tell(&mut stage, vec![ann_with(vec![Endpoint::new("{early}")])]);
    assert!(stage.look().is_empty());
    assert_eq!(stage.full_document("ann").users.unwrap().users[0].endpoints.len(), 1);
    stage.mcu_ready();
    stage.settle();
    stage.look();
    tell(&mut stage, vec![User::new("tel:+4930555"), User::new("eve")]);
    assert!(stage.look().is_empty());
    // A server that does not say what it serves.
    tell(&mut stage, vec![ann_with(vec![Endpoint::new("{bare}")])]);
    let users = stage.full_document("ann").users.unwrap().users;
    assert_eq!(users[0].endpoints[1].session_type.as_deref(), Some("chat"));
}

#[test]
fn an_invite_under_way_is_refused_when_the_meeting_ends() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    let waiting = stage.invite("ann");
    stage.look();
    stage.mcu_ready();
    let asked = stage.invite("ann");
    let call = stage.command(ann, "ann", call("bob"));
    stage.look();
    stage.hear(Event::EndRequested);
    let done = stage.look();
    for invite in [waiting, asked] {
        assert_eq!(invite_refused(&done, invite), Some(Reason::NoSuchConference));
    }
    assert_eq!(verdict(&done, call), Some("conferenceDoesntExist"));
    assert_eq!(done.last(), Some(&Action::End));
}

#[test]
fn a_server_that_is_lost_again_at_once_is_asked_for_after_a_while() {
    let mut stage = Stage::new();
    stage.join("ann");
    stage.mcu_ready();
    stage.look();
    stage.hear(Event::McuLost { media: McuType::Chat });
    assert!(stage.look().contains(&Action::RequestMcu { media: McuType::Chat }));
    stage.mcu_ready();
    stage.hear(Event::McuLost { media: McuType::Chat });
    assert!(!stage.look().contains(&Action::RequestMcu { media: McuType::Chat }));
    stage.wait(Duration::from_secs(1));
    assert!(stage.look().contains(&Action::RequestMcu { media: McuType::Chat }));
}
