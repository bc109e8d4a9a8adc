//! Messages that are meant to exhaust whoever reads them: too many headers, too long, too much XML.

use super::scene::{Expected, Raw, Scene, c3p};

/// What is no C3P that can be read.
const UNREADABLE: Expected = (400, "ms-diagnostics 3006");

#[tokio::test(start_paused = true)]
async fn header_bombs_are_refused() {
    let scene = Scene::set().await;
    let invite = scene.invite();
    let with = |lines: String| Raw { lines, ..invite.clone() }.bytes();
    let via = "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1";
    let many = |count: usize, line: &str| format!("{line}\r\n").repeat(count);
    let rows = [
        ("ten thousand headers", with((0..10_000).map(|n| format!("X-{n}: {n}\r\n")).collect()), (400, "")),
        ("a header of a mebibyte", with(format!("X: {}\r\n", "x".repeat(1 << 20))), (0, "")),
        ("a header of a hundred kilobytes", with(format!("X: {}\r\n", "x".repeat(100_000))), (400, "")),
        (
            "a header folded ten thousand times, which is one of 40 kB",
            with(format!("X: x{}\r\n", "\r\n x".repeat(10_000))),
            (200, ""),
        ),
        ("two thousand Via lines", with(many(2000, &format!("Via: {via}"))), (400, "")),
        ("two thousand Vias in a line", with(format!("Via: {}\r\n", vec![via; 2000].join(", "))), (400, "")),
        ("two thousand Route lines", with(many(2000, "Route: <sip:192.0.2.1;lr>")), (400, "")),
        (
            "a URI of a hundred kilobytes",
            Raw { uri: format!("sip:{}@x", "x".repeat(100_000)), ..invite.clone() }.bytes(),
            (0, ""),
        ),
        ("ten thousand parameters", with(format!("Event: x{}\r\n", ";a=b".repeat(10_000))), (200, "")),
    ];
    for (name, bytes, expected) in rows {
        scene.check(name, &bytes, expected).await;
    }
    scene.goes_on().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_is_refused_and_cut_off() {
    let scene = Scene::set().await;
    let whole = String::from_utf8(scene.invite().bytes()).expect("the request is text");
    let length = whole.split("Content-Length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let length = format!("Content-Length: {}", length.expect("it has one"));
    let says = |value: &str| whole.replacen(&length, &format!("Content-Length: {value}"), 1).into_bytes();
    let rows = [
        ("a body of nearly four gibibytes", says("4294967295"), (513, "")),
        ("a body beyond all numbers", says("99999999999999999999999"), (400, "")),
        ("a negative body", says("-1"), (400, "")),
        ("a body shorter than it is", says("10"), UNREADABLE),
    ];
    for (name, bytes, expected) in rows {
        let mut peer = scene.deployment.peer();
        let response = peer.asks(&bytes).await;
        super::scene::compare(name, response.as_ref(), expected);
        // What follows such a message is not looked for: the connection is of no more use.
        assert!(peer.remainder().await.is_empty(), "{name}: nothing follows");
    }
    scene.goes_on().await;
}

#[tokio::test(start_paused = true)]
async fn xml_bombs_are_refused() {
    let scene = Scene::set().await;
    let focus = scene.conference.to_string();
    let rows = [
        (
            "ten thousand attributes",
            format!("<a{}/>", (0..10_000).map(|n| format!(" a{n}=''")).collect::<String>()),
        ),
        ("forty thousand commands", "<a:b/>".repeat(40_000)),
        ("two thousand namespaces at once", {
            let declared: String = (0..60).map(|n| format!(" xmlns:n{n}='urn:x'")).collect();
            let inside = "<n0:b/>".repeat(10_000);
            format!("{}{inside}{}", format!("<a{declared}>").repeat(30), "</a>".repeat(30))
        }),
        ("one namespace of ten kilobytes", format!("<a xmlns='{}'/>", "x".repeat(10_000))),
        ("forty levels", format!("{}{}", "<a>".repeat(40), "</a>".repeat(40))),
        ("a reference to nothing", "<a>&#0;</a>".to_owned()),
    ];
    for (name, command) in rows {
        let to_focus = scene.invite().with_body(c3p("sip:amy@example.test", &focus, &command));
        scene.check(name, &to_focus.bytes(), UNREADABLE).await;
        scene.check(name, &scene.service(&command).bytes(), UNREADABLE).await;
    }
    let long = format!("<a>{}</a>", "x".repeat(200_000));
    scene
        .check(
            "a command of 200 kB that nobody knows",
            &scene.service(&long).bytes(),
            (501, "ms-diagnostics-public 3004"),
        )
        .await;
    scene.goes_on().await;
}
