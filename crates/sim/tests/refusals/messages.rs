//! SIP that cannot be read, or cannot be done.

use super::scene::{Raw, Scene};

/// The size of the body in the issue: two megabytes.
const TWO_MEGABYTES: usize = 2 * 1024 * 1024;

#[tokio::test(start_paused = true)]
async fn malformed_sip_is_answered_or_cut_off() {
    let scene = Scene::set().await;
    let whole = String::from_utf8(scene.invite().bytes()).expect("the request is text");
    let without = |header: &str| {
        let lines = whole.split_inclusive("\r\n").filter(|line| !line.starts_with(header));
        lines.collect::<String>()
    };
    let with = |from: &str, to: &str| {
        assert!(whole.contains(from), "{from}");
        whole.replacen(from, to, 1)
    };
    let rows = [
        ("no From", without("From"), 400),
        ("no To", without("To"), 400),
        ("no Call-ID", without("Call-ID"), 400),
        ("no CSeq", without("CSeq"), 400),
        ("a CSeq that is no number", with("CSeq: 1 ", "CSeq: one "), 400),
        ("a CSeq of another method", with("CSeq: 1 INVITE", "CSeq: 1 BYE"), 400),
        ("a From that is no address", with("From: <sip:amy@", "From: <\"sip:amy@"), 400),
        ("a Contact that is no address", with("Contact: <sip:", "Contact: <<<sip:"), 400),
        ("a Request-URI in brackets", with("INVITE sip:", "INVITE <sip:"), 400),
        ("another version of SIP", with("SIP/2.0\r\nVia", "SIP/7.0\r\nVia"), 505),
        ("no hops left", with("Max-Forwards: 70", "Max-Forwards: 0"), 483),
        ("hops that are no number", with("Max-Forwards: 70", "Max-Forwards: many"), 400),
        ("an unknown extension", with("Max-Forwards", "Require: teleport\r\nMax-Forwards"), 420),
        ("no Content-Length", without("Content-Length"), 400),
        ("a negative Content-Length", with("Content-Length: ", "Content-Length: -"), 400),
        (
            "a sender of another domain",
            with("From: <sip:amy@example.test>", "From: <sip:amy@other.test>"),
            403,
        ),
        ("no SIP at all", "hello, is anybody there?\r\n\r\n".to_owned(), 0),
        ("HTTP", "POST / HTTP/1.1\r\nHost: sip.example.test\r\nContent-Length: 0\r\n\r\n".to_owned(), 0),
        ("a line without end", "a".repeat(300_000), 0),
        ("a message that never ends", with("Content-Length: ", "Content-Length: 9"), 0),
    ];
    for (name, bytes, status) in rows {
        let mut peer = scene.deployment.peer();
        peer.send(bytes.as_bytes()).await;
        // What lacks a header is answered without it, so the answer is no whole message either.
        let answer = peer.remainder().await;
        let first = String::from_utf8_lossy(answer.split(|byte| *byte == b'\r').next().unwrap_or_default());
        match status {
            0 => assert_eq!(first, "", "{name}"),
            _ => assert!(first.starts_with(&format!("SIP/2.0 {status} ")), "{name}: {first}"),
        }
    }
    scene.goes_on().await;
}

#[tokio::test(start_paused = true)]
async fn methods_and_content_that_do_not_fit_are_refused() {
    let scene = Scene::set().await;
    let invite = scene.invite();
    let rows = [
        ("an unknown method", Raw { method: "DANCE", ..invite.clone() }, (405, "")),
        ("MESSAGE to the Focus", Raw { method: "MESSAGE", ..invite.clone() }, (405, "")),
        // A plain client makes a conference by INVITE, with an offer of media and no command.
        (
            "a command by INVITE to the factory",
            Raw { method: "INVITE", ..scene.service("<getConferences/>") },
            (415, ""),
        ),
        (
            "MESSAGE to the factory",
            Raw { method: "MESSAGE", ..scene.service("<getConferences/>") },
            (405, ""),
        ),
        ("another content type", Raw { content_type: "text/plain", ..invite.clone() }, (415, "")),
        ("no content type", Raw { content_type: "", ..invite.clone() }, (415, "")),
        (
            "another content type to the factory",
            Raw { content_type: "application/xml", ..scene.service("<getConferences/>") },
            (415, ""),
        ),
        ("a body of two megabytes", invite.with_body(vec![b' '; TWO_MEGABYTES]), (513, "")),
    ];
    for (name, raw, expected) in rows {
        scene.check(name, &raw.bytes(), expected).await;
    }
    let response = scene.deployment.peer().asks(&Raw { method: "DANCE", ..invite }.bytes()).await;
    let allow = response.and_then(|response| response.headers.get("Allow").cloned());
    assert!(allow.is_some_and(|allow| allow.contains("INVITE")), "405 names the methods there are");
    scene.goes_on().await;
}
