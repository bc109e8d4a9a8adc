//! Commands of those who are in but may not, and commands that do not exist.

use confab_sip::{Message, Method};

use super::scene::{Expected, Raw, Scene, c3p, compare};

const FORBIDDEN: Expected = (403, "ms-diagnostics 3014");

#[tokio::test(start_paused = true)]
async fn an_attendee_does_not_lead() {
    let scene = Scene::set().await;
    let (mut amy, mut info) = scene.joined().await;
    let focus = scene.conference.to_string();
    let vivian = format!(r#"<userKeys confEntity="{focus}" userEntity="sip:vivian@example.test"/>"#);
    let oneself = format!(r#"<userKeys confEntity="{focus}" userEntity="sip:amy@example.test"/>"#);
    let roles =
        "<user-roles xmlns=\"urn:ietf:params:xml:ns:conference-info\"><entry>presenter</entry></user-roles>";
    let call = format!(
        r#"<addUser mscp:mcuUri="{}"><conferenceKeys confEntity="{focus}"/><ci:user entity="sip:bob@example.test"><ci:endpoint entity="{{E2}}"><ci:joining-method>dialed-out</ci:joining-method></ci:endpoint></ci:user></addUser>"#,
        scene.mcu("chat")
    );
    let rows = [
        ("ejects the leader", format!("<deleteUser>{vivian}</deleteUser>"), FORBIDDEN),
        ("promotes himself", format!("<modifyUserRoles>{oneself}{roles}</modifyUserRoles>"), FORBIDDEN),
        (
            "demotes the leader",
            format!("<modifyUserRoles>{vivian}{}</modifyUserRoles>", roles.replace("presenter", "attendee")),
            FORBIDDEN,
        ),
        (
            "locks",
            format!(
                r#"<modifyConferenceLock><conferenceKeys confEntity="{focus}"/><locked>true</locked></modifyConferenceLock>"#
            ),
            FORBIDDEN,
        ),
        (
            "ends",
            format!(r#"<deleteConference><conferenceKeys confEntity="{focus}"/></deleteConference>"#),
            FORBIDDEN,
        ),
        ("calls somebody in", call, (403, "ms-diagnostics 3015")),
        ("makes a command up", "<mscp:teleport/>".to_owned(), (501, "ms-diagnostics-public 3004")),
        ("schedules here", "<getConferencingCapabilities/>".to_owned(), (501, "ms-diagnostics-public 3004")),
    ];
    for (name, command, expected) in rows {
        info.cseq += 1;
        let asked = info.with_body(c3p("sip:amy@example.test", &focus, &command));
        compare(name, amy.asks(&asked.bytes()).await.as_ref(), expected);
    }
    scene.goes_on().await;
}

#[tokio::test(start_paused = true)]
async fn a_command_in_a_dialog_must_be_right_too() {
    let scene = Scene::set().await;
    let (mut amy, mut info) = scene.joined().await;
    let focus = scene.conference.to_string();
    let get = format!(r#"<getConference><conferenceKeys confEntity="{focus}"/></getConference>"#);
    let other = focus.replace("focus:id:", "focus:id:A");
    let rows = [
        ("no XML", "get".to_owned(), (400, "ms-diagnostics 3006")),
        ("another sender", c3p("sip:vivian@example.test", &focus, &get), (400, "ms-diagnostics 3000")),
        ("another addressee", c3p("sip:amy@example.test", &other, &get), (400, "ms-diagnostics 3001")),
        (
            "another conference within",
            c3p("sip:amy@example.test", &focus, &get.replace(&focus, &other)),
            (400, "ms-diagnostics 3003"),
        ),
    ];
    for (name, body, expected) in rows {
        info.cseq += 1;
        compare(name, amy.asks(&info.with_body(body).bytes()).await.as_ref(), expected);
    }
    info.cseq += 1;
    let text = Raw { content_type: "text/plain", ..info.clone() };
    compare("another content type", amy.asks(&text.bytes()).await.as_ref(), (415, ""));
    info.cseq -= 3;
    let stale = info.with_body(c3p("sip:amy@example.test", &focus, &get));
    compare("a CSeq that goes back", amy.asks(&stale.bytes()).await.as_ref(), (500, ""));

    // She has been a nuisance but is in, and what is right is done: accepted, and answered later.
    info.cseq += 10;
    let right = info.with_body(c3p("sip:amy@example.test", &focus, &get));
    compare("what is right", amy.asks(&right.bytes()).await.as_ref(), (202, ""));
    loop {
        match amy.receive().await.expect("the final answer comes") {
            Message::Request(request) if request.method == Method::Info => {
                assert!(String::from_utf8_lossy(&request.body).contains("code=\"success\""));
                break;
            }
            _ => {}
        }
    }
    scene.goes_on().await;
}
