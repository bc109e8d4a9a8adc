//! The stage: a conference of Ann's, newly scheduled, led by Ann and Pat, in which Bob and a guest who
//! has not signed in take part and Eve does not.

use confab_schema::cccp;
use confab_server::config::ConferencesConfig;
use confab_sim::deployment::{DOMAIN, Deployment};
use confab_sip::Response;

use super::{
    commands,
    line::{Ask, Line, PASSWORD, header, route},
};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Asker {
    /// Says he is Bob and proves nothing.
    Unauthenticated,
    /// Eve, signed in, who says she is Bob and answers challenges with her own password.
    Another,
    /// Eve, signed in, not in the conference.
    Stranger,
    /// A guest who has not signed in, and joined by the conference's key.
    Anonymous,
    /// Bob.
    Attendee,
    /// Pat.
    Presenter,
    /// Ann.
    Organizer,
}

impl Asker {
    pub const ALL: [Asker; 7] = [
        Asker::Unauthenticated,
        Asker::Another,
        Asker::Stranger,
        Asker::Anonymous,
        Asker::Attendee,
        Asker::Presenter,
        Asker::Organizer,
    ];

    /// Whether he is in the conference, and says who he is.
    pub const fn is_in(self) -> bool {
        matches!(self, Asker::Anonymous | Asker::Attendee | Asker::Presenter | Asker::Organizer)
    }

    /// Whom the request names as its sender.
    fn sender(self) -> String {
        let name = match self {
            Asker::Anonymous => return "sip:guest@anonymous.invalid".into(),
            Asker::Stranger => "eve",
            Asker::Unauthenticated | Asker::Another | Asker::Attendee => "bob",
            Asker::Presenter => "pat",
            Asker::Organizer => "ann",
        };
        format!("sip:{name}@{DOMAIN}")
    }
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// To the server itself.
    Server,
    /// To Dan, who is signed in.
    User,
    /// To Ann's Focus Factory.
    Factory,
    /// To the Focus, in no dialog.
    Focus,
    /// To the conferencing server for chat, in no dialog.
    Mcu,
    /// Within the sender's dialog with the Focus; who has none writes Bob's.
    InFocus,
    /// Within the sender's dialog with the conferencing server for chat, or Bob's.
    InMcu,
}

/// What is asked: the text of a request, still without sender and conference.
pub struct Asks {
    pub method: String,
    pub target: Target,
    pub lines: &'static str,
    pub content_type: &'static str,
    pub body: Body,
}

/// What a request carries.
pub enum Body {
    Nothing,
    Text(&'static str),
    /// A C3P command, by what it says for this scene.
    Command(fn(&Scene) -> String),
}

/// What a command may name.
#[derive(Clone)]
pub struct Scene {
    pub focus: String,
    pub id: String,
    /// Who sends it.
    pub sender: String,
    /// An ID for another conference.
    pub fresh: String,
}

impl Scene {
    /// The chat's address.
    pub fn mcu(&self) -> String {
        self.focus.replace(":focus:", ":chat:")
    }
}

/// A conference that has begun, and the dialogs of those who are in it.
pub struct Begun {
    scene: Scene,
    ann: Dialog,
    pat: Dialog,
    bob: Dialog,
    /// A connection speaks for a guest in a few conferences only, so each has a guest of its own.
    guest_line: Line,
    guest: Dialog,
}

/// One dialog of somebody's.
struct Dialog {
    from: String,
    to: String,
    call_id: String,
    route: String,
}

/// A server, and everybody's connection.
pub struct Stage {
    deployment: Deployment,
    ann: Line,
    pat: Line,
    bob: Line,
    eve: Line,
    begun: u32,
}

impl Stage {
    pub async fn set() -> Stage {
        let conferences = ConferencesConfig { allow_anonymous: true, ..ConferencesConfig::default() };
        let deployment = Deployment::closed_with(conferences).await;
        let mut lines = Vec::new();
        for name in ["ann", "pat", "bob", "eve", "dan"] {
            deployment.add_account(name, PASSWORD).await;
            let mut line = Line::open(&deployment, name);
            line.signs_in().await;
            lines.push(line);
        }
        let dan = lines.pop().unwrap();
        tokio::spawn(dan.answers_for_ever());
        let [ann, pat, bob, eve] = lines.try_into().ok().unwrap();
        Stage { deployment, ann, pat, bob, eve, begun: 0 }
    }

    /// A new conference, with everybody in it who is to be, and in its chat if that is asked.
    pub async fn begin(&mut self, asks: &Asks) -> Begun {
        self.begun += 1;
        let id = format!("SCENE{:05}", self.begun);
        let focus = format!("sip:ann@{DOMAIN};gruu;opaque=app:conf:focus:id:{id}");
        let scene = Scene { focus, sender: format!("sip:ann@{DOMAIN}"), fresh: format!("{id}NEW"), id };
        self.schedule(&scene).await;
        let in_mcu = asks.target == Target::InMcu;
        let ann = join(&mut self.ann, &scene, in_mcu).await;
        let pat = join(&mut self.pat, &scene, in_mcu).await;
        let bob = join(&mut self.bob, &scene, in_mcu).await;
        let mut guest_line = Line::of_guest(&self.deployment);
        let guest = join(&mut guest_line, &scene, in_mcu).await;
        Begun { scene, ann, pat, bob, guest_line, guest }
    }

    /// What one asker is told.
    pub async fn answer(&mut self, begun: &mut Begun, asker: Asker, asks: &Asks) -> String {
        let scene = Scene { sender: asker.sender(), ..begun.scene.clone() };
        let dialog = match asker {
            Asker::Anonymous => &begun.guest,
            Asker::Organizer => &begun.ann,
            Asker::Presenter => &begun.pat,
            _ => &begun.bob,
        };
        let ask = request(asks, &scene, dialog);
        let mut nobody = Line::open(&self.deployment, "bob");
        let line = match asker {
            Asker::Unauthenticated => &mut nobody,
            Asker::Anonymous => &mut begun.guest_line,
            Asker::Another | Asker::Stranger => &mut self.eve,
            Asker::Attendee => &mut self.bob,
            Asker::Presenter => &mut self.pat,
            Asker::Organizer => &mut self.ann,
        };
        told(line, &ask, asker != Asker::Unauthenticated).await
    }

    /// Deletes what is left.
    pub async fn end(&mut self, begun: Begun) {
        for id in [&begun.scene.id, &begun.scene.fresh] {
            let delete = commands::delete_conference(id);
            // Most have only the one, and some not even that any more.
            self.ann.asks(&to_factory(&begun.scene, &format!("delete-{id}"), &delete)).await.unwrap();
        }
    }

    async fn schedule(&mut self, scene: &Scene) {
        let create = commands::add_conference(&scene.id);
        let response = self.ann.asks(&to_factory(scene, "create", &create)).await.unwrap();
        assert!(verdict(&response) == "200 success", "{} is scheduled: {}", scene.id, verdict(&response));
    }
}

/// Ann's SERVICE to her factory.
fn to_factory(scene: &Scene, what: &str, command: &str) -> Ask {
    let factory = factory();
    Ask {
        method: "SERVICE".into(),
        uri: factory.clone(),
        from: format!("<sip:ann@{DOMAIN}>;tag=s"),
        to: format!("<{factory}>"),
        call_id: format!("{what}-{}", scene.id),
        cseq: 1,
        content_type: "application/cccp+xml",
        body: commands::request(&format!("sip:ann@{DOMAIN}"), &factory, command),
        ..Ask::default()
    }
}

/// Ann's Focus Factory.
fn factory() -> String {
    format!("sip:ann@{DOMAIN};gruu;opaque=app:conf:focusfactory")
}

/// Somebody joins the Focus, and the chat if that is wanted; the dialog with the one or the other.
async fn join(line: &mut Line, scene: &Scene, in_mcu: bool) -> Dialog {
    let sender = line.address();
    let own = Scene { sender: sender.clone(), ..scene.clone() };
    let from = format!("<{sender}>;tag={}j", line.name);
    let invite = |uri: String, call_id: String, content_type, body| Ask {
        method: "INVITE".into(),
        to: format!("<{uri}>"),
        uri,
        from: from.clone(),
        call_id,
        cseq: 1,
        content_type,
        body,
        ..Ask::default()
    };
    let body = commands::request(&sender, &scene.focus, &commands::join(&own));
    let call_id = format!("focus-{}-{}", scene.id, line.name);
    let mut ask = invite(scene.focus.clone(), call_id, "application/cccp+xml", body);
    let mut response = line.asks_with_password(&ask).await.unwrap();
    assert_eq!(response.status, 200, "{} joins: {:?}", line.name, response.headers);
    if in_mcu {
        let call_id = format!("chat-{}-{}", scene.id, line.name);
        ask = invite(scene.mcu(), call_id, "application/sdp", commands::SDP.into());
        response = line.asks_with_password(&ask).await.unwrap();
        assert_eq!(response.status, 200, "{} enters the chat: {:?}", line.name, response.headers);
    }
    Dialog { from, to: header(&response.headers, "To"), call_id: ask.call_id, route: route(&response) }
}

/// The request of a cell.
fn request(asks: &Asks, scene: &Scene, dialog: &Dialog) -> Ask {
    let uri = match asks.target {
        Target::Server => format!("sip:{DOMAIN}"),
        Target::User => format!("sip:dan@{DOMAIN}"),
        Target::Factory => factory(),
        Target::Focus | Target::InFocus => scene.focus.clone(),
        Target::Mcu | Target::InMcu => scene.mcu(),
    };
    let body = match &asks.body {
        Body::Nothing => String::new(),
        Body::Text(text) => (*text).to_owned(),
        Body::Command(command) => commands::request(&scene.sender, &uri, &command(scene)),
    };
    let outside = Ask {
        method: asks.method.clone(),
        from: format!("<{}>;tag=q", scene.sender),
        to: if asks.method == "REGISTER" { format!("<{}>", scene.sender) } else { format!("<{uri}>") },
        uri,
        call_id: format!("asks-{}", scene.id),
        cseq: 1,
        lines: asks.lines.to_owned(),
        content_type: asks.content_type,
        body,
    };
    if !matches!(asks.target, Target::InFocus | Target::InMcu) {
        return outside;
    }
    // The stranger knows all of Bob's dialog, but signs with her own name.
    let sender = format!("<{}>", scene.sender);
    let from = match dialog.from.split_once('>') {
        Some((owner, tag)) if format!("{owner}>") != sender => format!("{sender}{tag}"),
        _ => dialog.from.clone(),
    };
    Ask {
        from,
        to: dialog.to.clone(),
        call_id: dialog.call_id.clone(),
        // A challenge may have used up two.
        cseq: 3,
        lines: [&dialog.route, asks.lines].concat(),
        ..outside
    }
}

/// Asks, and says in a few words what came of it.
async fn told(line: &mut Line, ask: &Ask, answers_challenges: bool) -> String {
    let response = if answers_challenges { line.asks_with_password(ask).await } else { line.asks(ask).await };
    let Some(response) = response else { return "–".into() };
    let verdict = verdict(&response);
    if response.status != 202 || !verdict.ends_with("pending") {
        return verdict;
    }
    match line.final_answer(&ask.call_id).await {
        Some(answer) => format!("202, {}", outcome(&answer)),
        None => "202, no final answer".into(),
    }
}

/// The status, and the number or the C3P verdict with it.
fn verdict(response: &Response) -> String {
    let status = response.status;
    if header(&response.headers, "Server") == "a phone" {
        return "passed on".into();
    }
    let number = ["ms-diagnostics", "ms-diagnostics-public"]
        .map(|name| header(&response.headers, name))
        .into_iter()
        .find_map(|value| value.split(';').next().filter(|number| !number.is_empty()).map(str::to_owned));
    match (number, cccp::Response::parse(&response.body)) {
        (Some(number), _) => format!("{status} {number}"),
        (None, Ok(answer)) => format!("{status} {}", outcome(&answer)),
        (None, Err(_)) => status.to_string(),
    }
}

fn outcome(answer: &cccp::Response) -> String {
    match answer.failure_reason() {
        Some(reason) => format!("{}: {reason}", answer.code.as_str()),
        None => answer.code.as_str().to_owned(),
    }
}
