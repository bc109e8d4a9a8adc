//! Who has not joined, and who has not proved who he is.

use confab_sim::deployment::Deployment;

use super::scene::{Expected, Raw, Scene, c3p, compare};

const FORBIDDEN: Expected = (403, "ms-diagnostics 3014");

#[tokio::test(start_paused = true)]
async fn who_has_not_joined_gets_nothing() {
    let scene = Scene::set().await;
    let focus = scene.conference.to_string();
    let end = format!(r#"<deleteConference><conferenceKeys confEntity="{focus}"/></deleteConference>"#);
    let command = scene.request("INFO", focus.clone()).with_body(c3p("sip:amy@example.test", &focus, &end));
    let made_up = Raw { to: format!("<{focus}>;tag=made-up"), ..command.clone() };
    let subscribe = scene.subscribe();
    let presence =
        Raw { lines: subscribe.lines.replace("Event: conference", "Event: presence"), ..subscribe.clone() };
    let no_event = Raw { lines: subscribe.lines.replace("Event: conference\r\n", ""), ..subscribe.clone() };
    let accept = subscribe.lines.replace("application/conference-info+xml", "text/plain");
    let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=session\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=message 5060 sip null\r\n";
    let chat =
        |media: &str| Raw { content_type: "application/sdp", ..scene.request("INVITE", scene.mcu(media)) };
    let rows = [
        ("a command without a dialog", command.clone(), (481, "")),
        ("a command in a dialog that is made up", made_up.clone(), (481, "")),
        ("BYE in a dialog that is made up", Raw { method: "BYE", ..made_up }, (481, "")),
        ("SUBSCRIBE without a join", subscribe.clone(), FORBIDDEN),
        ("SUBSCRIBE for another event", presence, (489, "")),
        ("SUBSCRIBE for no event", no_event, (489, "")),
        ("SUBSCRIBE for another document", Raw { lines: accept, ..subscribe }, (406, "")),
        ("INVITE to the chat", chat("chat").with_body(sdp), FORBIDDEN),
        ("MESSAGE to the chat", Raw { method: "MESSAGE", ..chat("chat") }, (481, "")),
    ];
    for (name, raw, expected) in rows {
        scene.check(name, &raw.bytes(), expected).await;
    }
    let (mut amy, _) = scene.joined().await;
    let unscheduled = chat("audio-video").with_body(sdp);
    compare(
        "a medium that is not there",
        amy.asks(&unscheduled.bytes()).await.as_ref(),
        (404, "ms-diagnostics 3013"),
    );
    scene.goes_on().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_acts_in_the_dialog_of_another() {
    let scene = Scene::set().await;
    let (mut amy, info) = scene.joined().await;
    let focus = scene.conference.to_string();
    let get = format!(r#"<getConference><conferenceKeys confEntity="{focus}"/></getConference>"#);
    let body = c3p("sip:amy@example.test", &focus, &get);
    // Even if he knew all the tags of her dialog.
    let bob = Raw { from: "bob@example.test", cseq: 5, ..info.with_body(body.clone()) };
    scene.check("a command as Amy", &bob.bytes(), (481, "")).await;
    let bye = Raw { method: "BYE", cseq: 6, content_type: "", body: Vec::new(), ..bob };
    scene.check("BYE as Amy", &bye.bytes(), (481, "")).await;
    let own = Raw { cseq: 7, ..info.with_body(body) };
    compare("she is in still", amy.asks(&own.bytes()).await.as_ref(), (202, ""));
    scene.goes_on().await;
}

#[tokio::test(start_paused = true)]
async fn without_credentials_nothing_is_done() {
    let deployment = Deployment::closed().await;
    deployment.add_account("amy", "correct horse").await;
    let mut amy = deployment.person("amy", Some("correct horse"));
    amy.signs_on().await;
    let conference = amy.schedules("The harbour", vec![]).await.to_string();

    let request = |method, uri: &str, lines: &str| {
        let raw = Raw {
            method,
            uri: uri.to_owned(),
            from: "amy@example.test",
            from_tag: "a1",
            to: format!("<{uri}>"),
            call_id: "raw".into(),
            cseq: 1,
            lines: lines.into(),
            content_type: "",
            body: Vec::new(),
        };
        raw.bytes()
    };
    let factory = "sip:amy@example.test;gruu;opaque=app:conf:focusfactory";
    let wrong = "Authorization: Digest username=\"amy\", realm=\"example.test\", nonce=\"made-up\", uri=\"sip:example.test\", response=\"00000000000000000000000000000000\"\r\n";
    let rows = [
        ("REGISTER", request("REGISTER", "sip:amy@example.test", ""), 401),
        ("SERVICE", request("SERVICE", factory, ""), 401),
        ("SUBSCRIBE", request("SUBSCRIBE", &conference, "Event: conference\r\n"), 401),
        ("INVITE", request("INVITE", &conference, ""), 407),
        ("INFO", request("INFO", &conference, ""), 407),
        ("MESSAGE", request("MESSAGE", "sip:amy@example.test", ""), 407),
        ("an answer to no challenge", request("REGISTER", "sip:amy@example.test", wrong), 401),
        (
            "an answer that is none",
            request("REGISTER", "sip:amy@example.test", "Authorization: Digest what\r\n"),
            401,
        ),
    ];
    for (name, bytes, status) in rows {
        let response = deployment.peer().asks(&bytes).await;
        compare(name, response.as_ref(), (status, ""));
        let headers = response.expect("compared").headers;
        let challenge = if status == 401 { "WWW-Authenticate" } else { "Proxy-Authenticate" };
        let challenge = headers.get(challenge).unwrap_or_else(|| panic!("{name} is challenged"));
        assert!(challenge.starts_with("Digest realm=\"example.test\""), "{name}: {challenge}");
    }

    let mut guesser = deployment.person("amy", Some("correct cow"));
    guesser.wants(confab_client::Command::Register).await;
    let refusal = guesser.is_refused(confab_client::Undertaking::Register).await;
    assert_eq!(refusal.status, 401);
    let mut nobody = deployment.person("nobody", Some("correct horse"));
    nobody.wants(confab_client::Command::Register).await;
    let unknown = nobody.is_refused(confab_client::Undertaking::Register).await;
    assert_eq!(unknown, refusal, "who is unknown is told what one with a wrong password is");
}
