//! Plain SIP phones in conferences with clients that speak C3P (RFC 4579, RFC 4575, RFC 4028).

use std::time::Duration;

use confab_sim::{deployment::Deployment, person::Person, phone::Phone};
use confab_sip::Method;

const CHAT: &str = "m=message 5060 sip null\r\na=accept-types:text/plain\r\n";
const VOICE: &str = "m=audio 4000 RTP/AVP 0\r\n";

/// Vivian's conference with her in it, and its URI.
async fn meeting(deployment: &Deployment) -> (Person, String) {
    let mut vivian = deployment.sign_on("vivian").await;
    let conference = vivian.schedules("The harbour", vec![]).await;
    vivian.joins(&conference).await;
    (vivian, conference.to_string())
}

async fn sees_on_chat(person: &mut Person, names: &[&str]) {
    person.sees_that("who is on the chat", |picture| picture.on_chat() == names).await;
}

#[tokio::test(start_paused = true)]
async fn a_phone_joins_by_one_invite_and_chats() {
    let deployment = Deployment::open().await;
    let (mut vivian, conference) = meeting(&deployment).await;
    let mut bob = deployment.phone("bob");
    // He offers voice too, which this conference has not.
    let invite = bob.invite(&conference, &format!("{VOICE}{CHAT}"));
    let mut call = bob.calls(&invite).await.expect("he is let in");
    let contact = &call.answer.headers.contacts().expect("it has one")[0];
    assert_eq!((contact.uri.to_string(), contact.params.has("isfocus")), (conference.clone(), true));
    let answer = String::from_utf8_lossy(&call.answer.body).into_owned();
    assert!(answer.contains("m=audio 0 RTP/AVP 0\r\nm=message 5"), "{answer}");
    sees_on_chat(&mut vivian, &["bob", "vivian"]).await;
    assert_eq!(vivian.picture().people.len(), 2, "one entry a person");

    assert_eq!(bob.within(&mut call, Method::Message, "hello vivian").await.status / 100, 2);
    assert_eq!(vivian.hears().await, ("bob".to_owned(), "hello vivian".to_owned()));
    vivian.says("hello bob").await;
    assert_eq!(bob.hears(Method::Message).await.body, "hello bob");

    bob.watches(&conference).await.expect("who is in may watch");
    let state = bob.is_notified(&["state=\"full\"", "sip:vivian@", "sip:bob@"]).await;
    assert!(!state.contains("confinfoextensions"), "RFC 4575 and nothing else: {state}");

    assert_eq!(bob.within(&mut call, Method::Bye, "").await.status, 200);
    sees_on_chat(&mut vivian, &["vivian"]).await;
    assert_eq!(vivian.picture().people.len(), 1);
    let last = bob.hears(Method::Notify).await;
    assert!(last.headers.get("Subscription-State").is_some_and(|state| state.starts_with("terminated")));
}

#[tokio::test(start_paused = true)]
async fn phones_alone_make_a_meeting_of_a_scheduled_conference() {
    let deployment = Deployment::open().await;
    let mut vivian = deployment.sign_on("vivian").await;
    let conference = vivian.schedules("The harbour", vec![]).await;
    let uri = conference.to_string();
    let (mut ann, mut bob) = (deployment.phone("ann"), deployment.phone("bob"));
    let mut calls = Vec::new();
    for phone in [&mut ann, &mut bob] {
        let invite = phone.invite(&uri, CHAT);
        calls.push(phone.calls(&invite).await.expect("the server is waited for"));
    }
    ann.within(&mut calls[0], Method::Message, "anybody here?").await;
    assert_eq!(bob.hears(Method::Message).await.body, "anybody here?");
    // They count as people: the meeting lasts while they are in, and ends ten minutes after.
    for _ in 0..4 {
        vivian.waits(Duration::from_secs(250)).await;
        // A connection on which nothing is said for long is closed.
        ann.within(&mut calls[0], Method::Message, "still here").await;
        bob.hears(Method::Message).await;
    }
    assert!(deployment.server.directory.is_active(&conference));
    ann.within(&mut calls[0], Method::Bye, "").await;
    bob.within(&mut calls[1], Method::Bye, "").await;
    vivian.waits(Duration::from_secs(601)).await;
    assert!(!deployment.server.directory.is_active(&conference));
}

#[tokio::test(start_paused = true)]
async fn a_phone_without_a_common_medium_is_told_what_there_is() {
    let deployment = Deployment::open().await;
    let (vivian, conference) = meeting(&deployment).await;
    let mut bob = deployment.phone("bob");
    let invite = bob.invite(&conference, VOICE);
    let refused = bob.calls(&invite).await.map(|_| ()).expect_err("there is no voice");
    assert_eq!(refused.status, 488);
    assert!(refused.headers.get("Warning").is_some_and(|warning| warning.contains("instant messages")));
    assert_eq!(vivian.picture().people.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_phone_without_media_watches() {
    let deployment = Deployment::open().await;
    let (mut vivian, conference) = meeting(&deployment).await;
    let mut bob = deployment.phone("bob");
    let invite = bob.invite(&conference, "");
    let mut call = bob.calls(&invite).await.expect("he is let in");
    vivian.sees_that("bob", |picture| picture.people.len() == 2).await;
    bob.watches(&conference).await.expect("who is in may watch");
    bob.is_notified(&["sip:vivian@"]).await;
    vivian.leaves().await;
    bob.is_notified(&["sip:vivian@example.test\" state=\"deleted\""]).await;
    assert_eq!(bob.within(&mut call, Method::Update, "").await.status, 200);
    assert_eq!(bob.within(&mut call, Method::Bye, "").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_phone_that_is_cut_off_is_out() {
    let deployment = Deployment::open().await;
    let (mut vivian, conference) = meeting(&deployment).await;
    let mut bob: Phone = deployment.phone("bob");
    let invite = bob.invite(&conference, CHAT);
    bob.calls(&invite).await.expect("he is let in");
    sees_on_chat(&mut vivian, &["bob", "vivian"]).await;
    drop(bob);
    sees_on_chat(&mut vivian, &["vivian"]).await;
    vivian.sees_that("nobody else", |picture| picture.people.len() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_phone_that_falls_silent_is_out_when_its_session_ends() {
    let deployment = Deployment::open().await;
    let (mut vivian, conference) = meeting(&deployment).await;
    let mut bob = deployment.phone("bob");
    let invite = bob
        .invite(&conference, CHAT)
        .with_header("Supported", "timer")
        .with_header("Session-Expires", "600;refresher=uac");
    let mut call = bob.calls(&invite).await.expect("he is let in");
    let timer = call.answer.headers.get("Session-Expires").map(ToString::to_string);
    assert_eq!(timer.as_deref(), Some("600;refresher=uac"));
    sees_on_chat(&mut vivian, &["bob", "vivian"]).await;
    vivian.waits(Duration::from_secs(500)).await;
    let update = call.dialog.request(Method::Update).with_header("Supported", "timer");
    let refreshed = bob.asks(&update.with_header("Session-Expires", "600;refresher=uac")).await;
    assert_eq!(refreshed.status, 200);
    vivian.waits(Duration::from_secs(500)).await;
    assert_eq!(vivian.picture().people.len(), 2, "he has refreshed");
    vivian.waits(Duration::from_secs(100)).await;
    assert_eq!(vivian.picture().people.len(), 1, "he has not any more");
    bob.hears(Method::Bye).await;
}

#[tokio::test(start_paused = true)]
async fn a_phone_makes_a_conference_by_calling_and_brings_others_in() {
    let deployment = Deployment::open().await;
    for factory in ["sip:conference@example.test", "sip:ann@example.test;gruu;opaque=app:conf:focusfactory"] {
        let mut ann = deployment.phone("ann");
        let mut vivian = deployment.sign_on("vivian").await;
        let invite = ann.invite(factory, CHAT);
        let call = ann.calls(&invite).await.expect("she has a conference now");
        let contact = &call.answer.headers.contacts().expect("it has one")[0];
        assert!(contact.params.has("isfocus"));
        let conference = contact.uri.to_string();
        let uri = confab_schema::uri::ConferenceUri::parse(&conference).expect("it is a conference's");
        let record = deployment.server.store.conference(&uri).await.expect("the store answers");
        assert_eq!(record.expect("it is durable").organizer().user(), "ann");

        // Others join it as they join any, and she leads.
        vivian.joins(&uri).await;
        let mut bob = deployment.phone("bob");
        let register = bob.request(Method::Register, "sip:bob@example.test").with_header("Expires", "600");
        assert_eq!(bob.asks(&register).await.status, 200);
        let refer = ann.request(Method::Refer, &conference).with_header("Refer-To", "<sip:bob@example.test>");
        let rings = async {
            bob.hears(Method::Invite).await;
            bob.hears(Method::Ack).await;
            bob
        };
        let (answer, mut bob) = tokio::join!(ann.asks(&refer), rings);
        assert_eq!(answer.status, 202);
        ann.is_notified(&["SIP/2.0 100 Trying"]).await;
        ann.is_notified(&["SIP/2.0 200 OK"]).await;
        sees_on_chat(&mut vivian, &["ann", "bob", "vivian"]).await;
        vivian.says("welcome").await;
        assert_eq!(bob.hears(Method::Message).await.body, "welcome");

        let out = ann
            .request(Method::Refer, &conference)
            .with_header("Refer-To", "<sip:bob@example.test;method=BYE>")
            .with_header("Refer-Sub", "false");
        assert_eq!(ann.asks(&out).await.status, 202);
        bob.hears(Method::Bye).await;
        sees_on_chat(&mut vivian, &["ann", "vivian"]).await;
        let mine = vivian.picture().roles();
        assert!(mine.contains(&("ann", confab_schema::conference_info::Role::Presenter)), "{mine:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_for_a_call_that_cannot_be() {
    let deployment = Deployment::open().await;
    let mut ann = deployment.phone("ann");
    for (uri, media, status) in [
        ("sip:conference@example.test", VOICE, 488),
        ("sip:vivian@example.test;gruu;opaque=app:conf:focusfactory", CHAT, 400),
    ] {
        let invite = ann.invite(uri, media);
        let refused = ann.calls(&invite).await.map(|_| ()).expect_err("it cannot be");
        assert_eq!(refused.status, status, "{uri}");
    }
    let all = deployment.server.store.conferences(None, 10).await.expect("the store answers");
    assert!(all.is_empty());
}
