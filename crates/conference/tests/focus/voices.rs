//! Step 7 with the A/V MCU: who is heard, who speaks, and what became of calls.

use confab_conference::{
    focus::{Action, CommandId, Event, JoinId, Referral},
    reason::Reason,
};
use confab_machine::Time;
use confab_schema::{
    cccp::{Code, Command, MediaKeys, Request, Response, ResultBody},
    conference_info::{
        CallRecord, ConferenceInfo, ConferenceView, DisconnectionMethod, Endpoint, EndpointStatus,
        EntityView, JoiningMethod, Media, MediaFilter, MediaRules, RuleRole, State, User, Users,
    },
    uri::McuType,
};

use crate::{answers::*, stage::*};

const VOICES: &str = "sip:ann@example.test;gruu;opaque=app:conf:audio-video:id:3E1C92F04C68";

/// Ann leads, Bob attends, and the A/V MCU is there.
fn stage() -> (Stage, JoinId, JoinId) {
    let mut stage = Stage::with(|record, _| record.media = vec![McuType::AudioVideo]);
    let (ann, bob) = (stage.join("ann"), stage.join("bob"));
    ready(&mut stage);
    stage.look();
    (stage, ann, bob)
}

fn ready(stage: &mut Stage) {
    stage.hear(Event::McuReady { media: McuType::AudioVideo, control_url: CONTROL_URL.into() });
}

fn filter(who: &str, ingress: MediaFilter, egress: Option<MediaFilter>) -> Command {
    let keys = MediaKeys {
        entity: CONFERENCE.into(),
        user: user(who).to_string(),
        endpoint: format!("{{voice {who}}}"),
        media: "1".into(),
    };
    let media = Media { ingress_filter: Some(ingress), egress_filter: egress, ..Media::new("1", "audio") };
    Command::ModifyEndpointMedia { mcu_uri: Some(VOICES.into()), keys, media }
}

/// The A/V MCU tells of one endpoint of somebody.
fn tells(stage: &mut Stage, who: &str, change: impl FnOnce(&mut Endpoint)) {
    let mut leg = Endpoint::new(format!("{{voice {who}}}"));
    leg.session_type = Some("audio-video".into());
    leg.status = Some(EndpointStatus::Connected);
    leg.media = vec![Media::new("1", "audio")];
    change(&mut leg);
    let user = User { endpoints: vec![leg], ..User::new(user(who).to_string()) };
    let mut document = ConferenceInfo::partial(CONFERENCE, 1);
    document.users = Some(Users { state: State::Partial, users: vec![user] });
    stage.hear(Event::McuNotified { media: McuType::AudioVideo, document: Box::new(document) });
}

/// It tells by which rules it goes.
fn rules(stage: &mut Stage, rules: Option<MediaRules>) {
    let mut view = EntityView::new(VOICES);
    view.rules = rules;
    let mut document = ConferenceInfo::partial(CONFERENCE, 2);
    document.view = Some(ConferenceView { state: State::Partial, entity_views: vec![view] });
    stage.hear(Event::McuNotified { media: McuType::AudioVideo, document: Box::new(document) });
}

fn hard_mute() -> MediaRules {
    MediaRules {
        initial: vec![(RuleRole::Attendee, MediaFilter::Block)],
        own: vec![(RuleRole::Attendee, false)],
    }
}

fn succeeds(stage: &mut Stage, request: &Request) {
    let response = Response::new(request, Code::Success, ResultBody::Empty);
    stage.hear(Event::McuAnswered { media: McuType::AudioVideo, response });
}

#[test]
fn somebody_is_called_by_what_his_referrer_uses() {
    let mut stage = Stage::with(|record, _| record.media = vec![McuType::Chat, McuType::AudioVideo]);
    stage.join("ann");
    stage.mcu_ready();
    ready(&mut stage);
    let called_by = |stage: &mut Stage| {
        let command = CommandId(stage.next_id());
        let wanted = Referral::Call { uri: "sip:eve@example.test".into() };
        stage.look();
        stage.hear(Event::Referred { command, user: user("ann"), target: user("eve"), wanted });
        let add = mcu_command(&stage.look());
        let [Command::AddUser(add)] = add.commands.as_slice() else { panic!("{add:?}") };
        add.mcu_uri.clone()
    };
    assert_eq!(called_by(&mut stage).as_deref(), Some(CHAT), "she uses nothing yet");
    tells(&mut stage, "ann", |_| {});
    assert_eq!(called_by(&mut stage).as_deref(), Some(VOICES));
    stage.mcu_tells(&[("ann", Some(EndpointStatus::Connected))]);
    assert_eq!(called_by(&mut stage).as_deref(), Some(VOICES), "she uses both");
}

#[test]
fn a_leader_mutes_and_hears_of_it_when_the_server_has_done_it() {
    let (mut stage, ann, _) = stage();
    let command = stage.command(ann, "ann", filter("bob", MediaFilter::Block, None));
    let done = stage.look();
    assert!(accepted(&done, command));
    let request = mcu_command(&done);
    let [Command::ModifyEndpointMedia { mcu_uri, keys, media }] = &request.commands[..] else {
        panic!("{request:?}")
    };
    assert_eq!((mcu_uri.as_deref(), keys.user.as_str()), (Some(VOICES), "sip:bob@example.test"));
    assert_eq!(media.ingress_filter, Some(MediaFilter::Block));
    assert_eq!(finished(&done, command), None);
    succeeds(&mut stage, &request);
    assert_eq!(finished(&stage.look(), command).map(|response| response.code), Some(Code::Success));
}

#[test]
fn what_a_lost_server_may_not_have_done_is_not_called_done() {
    let (mut stage, ann, _) = stage();
    let command = stage.command(ann, "ann", filter("bob", MediaFilter::Block, None));
    mcu_command(&stage.look());
    stage.hear(Event::McuLost { media: McuType::AudioVideo });
    let answer = finished(&stage.look(), command).map(|response| response.code);
    assert_eq!(answer, Some(Code::Failure), "its successor does not know that Bob is to be mute");
}

#[test]
fn attendees_mute_themselves_only() {
    let (mut stage, ann, bob) = stage();
    for (join, author, whom, ingress, refused) in [
        (bob, "bob", "bob", MediaFilter::Block, None),
        (bob, "bob", "bob", MediaFilter::Unblock, None),
        (bob, "bob", "ann", MediaFilter::Block, Some(Reason::NotPresenter)),
        (ann, "ann", "bob", MediaFilter::Unblock, None),
    ] {
        let command = stage.command(join, author, filter(whom, ingress, None));
        let done = stage.look();
        assert_eq!(command_refused(&done, command), refused, "{author} {whom} {ingress:?}");
    }
    let command = stage.command(ann, "ann", filter("eve", MediaFilter::Block, None));
    assert_eq!(
        finished(&stage.look(), command).unwrap().results[0].reason.as_deref(),
        Some("userDoesntExist")
    );
}

#[test]
fn a_hard_mute_is_lifted_by_leaders_alone() {
    let (mut stage, ann, bob) = stage();
    rules(&mut stage, Some(hard_mute()));
    let own = stage.command(bob, "bob", filter("bob", MediaFilter::Unblock, None));
    assert_eq!(command_refused(&stage.look(), own), Some(Reason::HardMuted));
    assert!(Reason::HardMuted.sentence().contains("muted everybody"));
    let mute = stage.command(bob, "bob", filter("bob", MediaFilter::Block, None));
    assert_eq!(command_refused(&stage.look(), mute), None, "to be mute is his own affair");
    let lifted = stage.command(ann, "ann", filter("bob", MediaFilter::Unblock, None));
    assert_eq!(command_refused(&stage.look(), lifted), None);

    rules(&mut stage, None);
    let own = stage.command(bob, "bob", filter("bob", MediaFilter::Unblock, None));
    assert_eq!(command_refused(&stage.look(), own), None);
}

#[test]
fn whoever_waits_does_not_let_himself_in() {
    let (mut stage, ann, bob) = stage();
    tells(&mut stage, "bob", |leg| leg.media[0].egress_filter = Some(MediaFilter::Block));
    stage.look();
    for (join, author, expect) in [(bob, "bob", Some(Reason::NotPresenter)), (ann, "ann", None)] {
        let command = stage.command(join, author, filter("bob", MediaFilter::Unblock, None));
        assert_eq!(command_refused(&stage.look(), command), expect, "{author}");
    }
    let command = stage.command(bob, "bob", filter("bob", MediaFilter::Block, Some(MediaFilter::Unblock)));
    assert_eq!(command_refused(&stage.look(), command), Some(Reason::NotPresenter));
}

#[test]
fn the_rules_are_shown_and_outlive_a_server() {
    let (mut stage, _, _) = stage();
    let subscription = stage.subscribe("bob");
    rules(&mut stage, Some(hard_mute()));
    stage.settle();
    let view = stage.watchers[&subscription].known.view.clone().unwrap();
    let voices = view.entity_views.iter().find(|view| view.entity == VOICES).unwrap();
    assert_eq!((voices.rules.clone(), voices.media[0].kind.as_str()), (Some(hard_mute()), "audio"));

    stage.hear(Event::McuLost { media: McuType::AudioVideo });
    stage.look();
    ready(&mut stage);
    let told = mcu_commands(&stage.look());
    let Command::ModifyConference { info, .. } = &told[0].commands[0] else { panic!("{told:?}") };
    assert_eq!(info.view.as_ref().unwrap().entity_views[0].rules, Some(hard_mute()));
}

#[test]
fn everybody_is_told_who_speaks() {
    let (mut stage, _, _) = stage();
    let subscription = stage.subscribe("ann");
    let speaks = |stage: &Stage| {
        let bob = stage.watchers[&subscription].user("bob").unwrap();
        bob.endpoints.iter().any(|leg| leg.speaking)
    };
    tells(&mut stage, "bob", |leg| leg.speaking = true);
    stage.settle();
    assert!(speaks(&stage));
    tells(&mut stage, "bob", |_| {});
    stage.settle();
    assert!(!speaks(&stage));
}

#[test]
fn what_became_of_calls_is_written_down_and_told_to_nobody() {
    let (mut stage, _, _) = stage();
    let subscription = stage.subscribe("ann");
    stage.settle();
    stage.look();
    let call = CallRecord {
        user: "sip:bob@example.test".into(),
        endpoint: "{1}".into(),
        endpoint_uri: None,
        joining_method: JoiningMethod::DialedIn,
        from: Time::from_unix_secs(1),
        until: Time::from_unix_secs(2),
        ending: DisconnectionMethod::Departed,
        reason: None,
        codec: None,
        quality: None,
    };
    let mut document = ConferenceInfo::partial(CONFERENCE, 2);
    document.calls = vec![call.clone()];
    stage.hear(Event::McuNotified { media: McuType::AudioVideo, document: Box::new(document) });
    assert_eq!(stage.look(), [Action::SaveCalls { calls: vec![call] }]);
    stage.settle();
    assert!(stage.watchers[&subscription].known.calls.is_empty());
}
