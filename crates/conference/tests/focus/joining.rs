//! Steps 3 to 5: joining, subscribing, leaving.

use std::time::Duration;

use confab_conference::{
    focus::{Action, Ending, Event},
    reason::Reason,
};
use confab_machine::Machine;
use confab_schema::{
    cccp::{Command, ResultBody},
    conference_info::{AdmissionPolicy, EXTENSIONS, EndpointStatus, JoiningMethod, Role, State, View},
    uri::McuType,
    xml::Element,
};

use crate::{answers::*, stage::*};

#[test]
fn the_organizer_leads_and_others_attend() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    let done = stage.look();
    // The answer leaves before anything else is set going.
    assert_eq!(granted(&done, ann), Some(Role::Presenter));
    assert!(matches!(done[0], Action::Admit { .. }), "{done:#?}");
    assert!(done.contains(&Action::RequestMcu { media: McuType::Chat }));
    assert!(done.contains(&Action::CountPeople { count: 1 }));

    for (who, role) in [("bob", Role::Attendee), ("pat", Role::Presenter), ("eve", Role::Attendee)] {
        let join = stage.join(who);
        let done = stage.look();
        assert_eq!(granted(&done, join), Some(role), "{who}");
        assert!(!done.contains(&Action::RequestMcu { media: McuType::Chat }), "one server is enough");
    }
}

#[test]
fn the_answer_repeats_the_question() {
    let mut stage = Stage::new();
    stage.join("bob");
    let done = stage.look();
    let Action::Admit { response, .. } = &done[0] else { panic!("{done:?}") };
    assert_eq!((response.from.as_str(), response.to.as_str()), (CONFERENCE, "sip:bob@example.test"));
    let [result] = response.results.as_slice() else { panic!("{response:?}") };
    let ResultBody::AddUser { keys, user, connection_info } = &result.body else { panic!("{result:?}") };
    assert_eq!(keys.entity.as_deref(), Some(CONFERENCE));
    assert_eq!(user.entity, "sip:bob@example.test");
    assert!(user.endpoints.is_empty() && connection_info.is_empty());
}

#[test]
fn the_first_document_is_whole() {
    let mut stage = Stage::with(|record, _| {
        record.notification_data = Some(Element::new(EXTENSIONS, "notification-data"));
        record.organizer_data = Some(Element::new(EXTENSIONS, "organizer-roaming-data"));
    });
    stage.join("ann");
    stage.join("bob");
    stage.settle();
    let subscription = stage.subscribe("bob");
    let watcher = &stage.watchers[&subscription];
    assert_eq!((watcher.known.entity.as_str(), watcher.known.state), (CONFERENCE, State::Full));
    let ann = watcher.user("ann").unwrap();
    assert_eq!((ann.roles.as_slice(), ann.display_text.as_deref()), (&[Role::Presenter][..], Some("ANN")));
    let [endpoint] = ann.endpoints.as_slice() else { panic!("{ann:?}") };
    assert_eq!(endpoint.entity, "{ann}");
    assert_eq!(endpoint.session_type.as_deref(), Some("focus"));
    assert_eq!(endpoint.status, Some(EndpointStatus::Connected));
    assert_eq!(endpoint.joining_method, Some(JoiningMethod::DialedIn));
    assert_eq!(watcher.user("bob").unwrap().roles, [Role::Attendee]);
    assert_eq!(watcher.users().len(), 2);

    let description = watcher.description();
    let [chat] = description.conf_uris.as_slice() else { panic!("{description:?}") };
    assert_eq!((chat.uri.as_str(), chat.purpose.as_deref()), (CHAT, Some("chat")));
    assert_eq!(description.subject.as_deref(), Some("Plans"));
    assert_eq!(description.conference_id.as_deref(), Some("3E1C92F04C68"));
    assert_eq!(description.admission, Some(AdmissionPolicy::OpenAuthenticated));
    let organizer = description.organizer.as_ref().unwrap();
    assert_eq!(organizer.uri.as_deref(), Some("sip:ann@example.test"));
    assert!(description.notification_data.is_some());
    assert_eq!(description.organizer_data, None, "that is for the organizer's scheduling client alone");
    // No conferencing server is up yet, so the Focus alone has a view.
    assert_eq!(watcher.locks(), [(CONFERENCE, Some(false))]);
}

#[test]
fn the_plain_view_has_no_extensions() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    let plain = stage.subscribe_for("ann", View::Rfc4575);
    let rich = stage.subscribe("ann");
    stage.settle();
    stage.look();
    stage.command(ann, "ann", lock(true));
    stage.settle();
    for action in stage.look() {
        let (document, subscriptions) = match &action {
            Action::Notify { document, subscriptions, .. } => (document, subscriptions),
            _ => continue,
        };
        let text = std::str::from_utf8(document).unwrap();
        assert_eq!(text.contains("schemas.microsoft.com"), subscriptions == &[rich], "{text}");
        assert!(text.contains("locked>true<"), "{text}");
        assert!(subscriptions == &[rich] || subscriptions == &[plain]);
    }
    assert_eq!(stage.watchers[&plain].known.version, stage.watchers[&rich].known.version);
}

#[test]
fn only_who_has_joined_may_watch() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.mcu_ready();
    stage.command(ann, "ann", call("bob"));
    stage.mcu_tells(&[("bob", Some(EndpointStatus::Connected))]);
    stage.look();
    // Bob is in by a call, which is no dialog with the Focus.
    for who in ["bob", "eve"] {
        let subscription = stage.subscribe(who);
        assert_eq!(subscription_refused(&stage.look(), subscription), Some(Reason::NotJoined), "{who}");
    }
    let subscription = stage.subscribe("ann");
    stage.hear(Event::Unsubscribed { subscription });
    stage.hear(Event::Refresh { subscription });
    assert_eq!(subscription_refused(&stage.look(), subscription), Some(Reason::NotJoined));
}

#[test]
fn a_refresh_brings_everything_again() {
    let mut stage = Stage::new();
    stage.join("ann");
    let subscription = stage.subscribe("ann");
    stage.join("bob");
    stage.settle();
    let known = stage.watchers[&subscription].known.clone();
    stage.hear(Event::Refresh { subscription });
    let refreshed = &stage.watchers[&subscription].known;
    assert_eq!((refreshed.version, &refreshed.users), (known.version, &known.users));
}

#[test]
fn one_person_with_two_endpoints_is_one_entry() {
    let mut stage = Stage::new();
    stage.join("ann");
    let desk = stage.join_with("bob", "{desk}");
    let phone = stage.join_with("bob", "{phone}");
    assert!(stage.look().contains(&Action::CountPeople { count: 2 }));
    let entities = |stage: &mut Stage| -> Vec<String> {
        let document = stage.full_document("ann");
        let users = document.users.unwrap().users;
        let bobs: Vec<_> = users.iter().filter(|user| user.entity.contains("bob")).collect();
        assert!(bobs.len() < 2, "one entry, not {bobs:?}");
        bobs.iter().flat_map(|bob| &bob.endpoints).map(|endpoint| endpoint.entity.clone()).collect()
    };
    assert_eq!(entities(&mut stage), ["{desk}", "{phone}"]);
    stage.leave(desk);
    assert!(mcu_commands(&stage.look()).is_empty(), "he is still in");
    assert_eq!(entities(&mut stage), ["{phone}"]);
    stage.leave(phone);
    assert!(stage.look().contains(&Action::CountPeople { count: 1 }));
    assert!(entities(&mut stage).is_empty());
}

#[test]
fn the_same_endpoint_replaces_itself() {
    let mut stage = Stage::new();
    stage.join("ann");
    let old = stage.join("bob");
    stage.look();
    let new = stage.join("bob");
    let done = stage.look();
    assert_eq!(granted(&done, new), Some(Role::Attendee));
    assert_eq!(ended(&done, old), Some(Ending::Replaced));
    assert_eq!(stage.full_document("ann").users.unwrap().users[1].endpoints.len(), 1);
    // The old dialog is no longer his: neither its end nor a command in it means anything.
    stage.leave(old);
    let command = stage.command(old, "bob", Command::GetConference(keys()));
    let done = stage.look();
    assert_eq!(command_refused(&done, command), Some(Reason::NotJoined));
    assert_eq!(stage.full_document("ann").users.unwrap().users.len(), 2);
}

#[test]
fn who_leaves_is_gone_everywhere() {
    let mut stage = Stage::new();
    stage.join("ann");
    stage.mcu_ready();
    let bob = stage.join("bob");
    let anns = stage.subscribe("ann");
    let bobs = stage.subscribe("bob");
    stage.mcu_tells(&[("ann", Some(EndpointStatus::Connected)), ("bob", Some(EndpointStatus::Connected))]);
    stage.settle();
    assert_eq!(stage.watchers[&anns].user("bob").unwrap().endpoints.len(), 2);
    stage.look();
    stage.leave(bob);
    let done = stage.look();
    assert!(
        matches!(&mcu_command(&done).commands[0], Command::DeleteUser { keys, .. } if keys.user.contains("bob"))
    );
    assert!(done.contains(&Action::EndSubscription { subscription: bobs }));
    assert_eq!(ended(&done, bob), None, "he has ended it himself");
    stage.settle();
    assert_eq!(stage.watchers[&anns].user("bob"), None);
    let [document] = notified(&stage.look()).try_into().unwrap();
    assert_eq!(document.users.unwrap().users[0].state, State::Deleted);
}

#[test]
fn an_empty_conference_ends_after_ten_minutes() {
    let minutes = |n: u64| Duration::from_secs(60 * n);
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.mcu_ready();
    stage.leave(ann);
    stage.wait(minutes(9));
    // Whoever comes in time finds it as it was, and the ten minutes begin anew when he goes.
    let pat = stage.join("pat");
    assert!(!stage.look().contains(&Action::End));
    stage.wait(minutes(60));
    stage.leave(pat);
    stage.wait(minutes(9));
    assert!(!stage.look().contains(&Action::End));
    stage.wait(minutes(1));
    let done = stage.look();
    assert!(matches!(mcu_command(&done).commands[0], Command::DeleteConference(_)));
    assert_eq!(done.last(), Some(&Action::End));
    assert_eq!(stage.focus.deadline(), None);
    stage.join("ann");
    assert!(stage.look().is_empty(), "nothing happens to what has ended");
}

#[test]
fn a_conference_nobody_may_join_ends_too() {
    let mut stage = Stage::with(|record, _| record.admission = AdmissionPolicy::ClosedAuthenticated);
    let eve = stage.join("eve");
    let done = stage.look();
    assert_eq!(join_refused(&done, eve), Some(Reason::NotInvited));
    assert!(!done.contains(&Action::RequestMcu { media: McuType::Chat }), "strangers cost no server");
    stage.wait(Duration::from_secs(600));
    assert_eq!(stage.look(), [Action::End]);
}

#[test]
fn a_guest_who_is_called_keeps_his_endpoints_apart_from_his_own() {
    let mut stage = Stage::new();
    let ann = stage.join("ann");
    stage.mcu_ready();
    stage.command(ann, "ann", call("pat"));
    stage.mcu_tells(&[("pat", Some(EndpointStatus::Connected))]);
    stage.look();
    let pat = stage.join("pat");
    assert_eq!(granted(&stage.look(), pat), Some(Role::Presenter), "as she was listed");
    let users = stage.full_document("ann").users.unwrap().users;
    assert_eq!(
        users[1].endpoints.iter().map(|leg| leg.session_type.as_deref().unwrap()).collect::<Vec<_>>(),
        ["focus", "chat"]
    );
}
