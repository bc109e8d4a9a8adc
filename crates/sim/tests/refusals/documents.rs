//! C3P that cannot be read, or contradicts its envelope.

use super::scene::{Expected, Scene, c3p};

/// How deep a document is nested that is meant to exhaust its reader.
const DEEP: usize = 10_000;

const UNREADABLE: Expected = (400, "ms-diagnostics 3006");

#[tokio::test(start_paused = true)]
async fn documents_that_cannot_be_read() {
    let scene = Scene::set().await;
    let bomb = format!(
        "<?xml version=\"1.0\"?><!DOCTYPE request [<!ENTITY a \"aaaaaaaaaa\">{}]><request>&e9;</request>",
        (1..10)
            .map(|n| format!("<!ENTITY e{n} \"{}\">", format!("&e{};", n - 1).repeat(10)))
            .collect::<String>()
    );
    let file = "<?xml version=\"1.0\"?><!DOCTYPE r [<!ENTITY f SYSTEM \"file:///etc/hostname\">]><r>&f;</r>";
    let good = c3p("sip:amy@example.test", &scene.conference.to_string(), "<getConferences/>");
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", Vec::new()),
        ("text", b"join, please".to_vec()),
        ("an element without end", good.replace("</request>", "").into()),
        ("another namespace", good.replace("xml:ns:cccp\"", "xml:ns:xcon\"").into()),
        ("no namespace", good.replace("xmlns=\"urn:ietf:params:xml:ns:cccp\"", "").into()),
        ("a response", good.replace("request", "response").into()),
        ("no command", good.replace("<getConferences/>", "").into()),
        ("no requestId", good.replace("requestId=\"1\"", "").into()),
        ("a requestId that is no number", good.replace("requestId=\"1\"", "requestId=\"one\"").into()),
        ("a DTD that explodes", bomb.into()),
        ("a DTD that reads a file", file.into()),
        (
            "an entity that nobody declared",
            good.replace("<getConferences/>", "<getConferences>&x;</getConferences>").into(),
        ),
        ("bytes that are no UTF-8", [good.as_bytes(), b"\xff\xfe"].concat()),
        ("too deep", ["<a>".repeat(DEEP), "</a>".repeat(DEEP)].concat().into()),
        ("addUser without anybody", good.replace("<getConferences/>", "<addUser/>").into()),
    ];
    for (name, body) in rows {
        scene.check(name, &scene.invite().with_body(body.clone()).bytes(), UNREADABLE).await;
        scene.check(name, &scene.service("").with_body(body).bytes(), UNREADABLE).await;
    }
    scene.goes_on().await;
}

#[tokio::test(start_paused = true)]
async fn envelopes_that_contradict_their_letter() {
    let scene = Scene::set().await;
    let focus = scene.conference.to_string();
    let (amy, bob) = ("sip:amy@example.test", "sip:bob@example.test");
    let other = focus.replace("focus:id:", "focus:id:A");
    let join = scene.add_user(amy, "{E1}");
    let to_mcu = join.replace("<addUser>", &format!("<addUser mscp:mcuUri=\"{}\">", scene.mcu("chat")));
    let rows = [
        ("another sender", c3p(bob, &focus, &join), (400, "ms-diagnostics 3000")),
        ("a sender that is no address", c3p("amy", &focus, &join), (400, "ms-diagnostics 3000")),
        ("another addressee", c3p(amy, &other, &join), (400, "ms-diagnostics 3001")),
        ("somebody else joins", c3p(amy, &focus, &scene.add_user(bob, "{E1}")), (400, "ms-diagnostics 3002")),
        (
            "another conference within",
            c3p(amy, &focus, &join.replace(&focus, &other)),
            (400, "ms-diagnostics 3003"),
        ),
        ("to a server, not the Focus", c3p(amy, &focus, &to_mcu), (400, "ms-diagnostics 3005")),
        ("no addUser", c3p(amy, &focus, "<getConferences/>"), (400, "ms-diagnostics 3007")),
        ("two joins in one", c3p(amy, &focus, &join.repeat(2)), (400, "ms-diagnostics 3007")),
        (
            "no endpoint",
            c3p(amy, &focus, &join.replace("<ci:endpoint entity=\"{E1}\"/>", "")),
            (400, "ms-diagnostics 3007"),
        ),
        (
            "an endpoint without name",
            c3p(amy, &focus, &join.replace("{E1}", "")),
            (400, "ms-diagnostics 3009"),
        ),
        (
            "an endpoint with an endless name",
            c3p(amy, &focus, &join.replace("{E1}", &"E".repeat(5000))),
            (400, "ms-diagnostics 3009"),
        ),
    ];
    for (name, body, expected) in rows {
        scene.check(name, &scene.invite().with_body(body).bytes(), expected).await;
    }
    let factory = scene.service("").uri;
    let capabilities = "<getConferencingCapabilities/>";
    let rows = [
        ("another sender", c3p(bob, &factory, capabilities), (400, "ms-diagnostics 3000")),
        ("another addressee", c3p(amy, &focus, capabilities), (400, "ms-diagnostics 3001")),
    ];
    for (name, body, expected) in rows {
        scene.check(name, &scene.service("").with_body(body).bytes(), expected).await;
    }
    scene.goes_on().await;
}

#[tokio::test(start_paused = true)]
async fn conferences_that_do_not_exist() {
    let scene = Scene::set().await;
    let unknown = "sip:vivian@example.test;gruu;opaque=app:conf:focus:id:NOSUCHCONFERENCE";
    let mut invite = scene.invite();
    invite.body = String::from_utf8(invite.body)
        .expect("the body is text")
        .replace(&scene.conference.to_string(), unknown)
        .into_bytes();
    let to =
        |raw: super::scene::Raw| super::scene::Raw { uri: unknown.into(), to: format!("<{unknown}>"), ..raw };
    let absent = (404, "ms-diagnostics 3012");
    scene.check("INVITE", &to(invite).bytes(), absent).await;
    scene.check("SUBSCRIBE", &to(scene.subscribe()).bytes(), absent).await;
    let chat = unknown.replace("focus:", "chat:");
    scene.check("INVITE to its chat", &scene.request("INVITE", chat).bytes(), absent).await;
    scene.goes_on().await;
}
