//! Registrar and presence under any requests. The input is requests, one behind another, each ended
//! by a line of equals signs; what a body is long is left to us, so that damage reaches what it says.

use std::time::Duration;

use bytes::Bytes;
use confab_machine::{Entropy, Time};
use confab_schema::uri::UserUri;
use confab_sip::{Flow, Message, Transport};
use confab_users::{MeetingPolicy, Users, UsersAction, UsersSettings};

/// Requests taken at most.
const REQUESTS: usize = 16;
/// How many connections they come by.
const FLOWS: u64 = 3;
/// What ends a request.
const END: &[u8] = b"\n====\n";
/// When they come.
const START: Time = Time::from_unix_secs(1_795_232_729);
/// Longer than anything is kept that is not refreshed.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// See [`super::USERS`].
pub fn users(bytes: &[u8]) {
    let meeting_policy = MeetingPolicy {
        meeting_size: 250,
        audio: false,
        video: false,
        data_collaboration: false,
        application_sharing: false,
    };
    let settings = UsersSettings { host: "sip.example.test".into(), meeting_policy };
    let mut users = Users::new(settings, Entropy::from_seed([7; 32]));
    let mut now = START;
    for (number, request) in (0..).zip(split(bytes).into_iter().take(REQUESTS)) {
        now = now + Duration::from_secs(1);
        one(&mut users, now, Flow { id: number % FLOWS, transport: Transport::Tcp }, request);
    }
    let mut out = Vec::new();
    users.flow_closed(now, Flow { id: 0, transport: Transport::Tcp }, &mut out);
    let end = now + LONG;
    while let Some(at) = users.deadline().filter(|at| *at <= end) {
        users.handle_timeout(at, &mut out);
        assert!(users.deadline().is_none_or(|next| next > at), "a deadline moves");
    }
    assert!(!out.iter().any(|action| matches!(action, UsersAction::Respond(_))), "nobody has asked");
    for action in out {
        readable(action);
    }
}

/// The requests in it, each up to the line that ends it.
fn split(bytes: &[u8]) -> Vec<&[u8]> {
    let mut requests = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(END.len()).position(|window| window == END) {
        requests.push(&rest[..at]);
        rest = &rest[at + END.len()..];
    }
    requests.push(rest);
    requests
}

/// Hands one request over, from whoever it says sent it; it has one answer, which comes first.
fn one(users: &mut Users, now: Time, flow: Flow, request: &[u8]) {
    let end = request.windows(4).position(|window| window == b"\r\n\r\n").map_or(request.len(), |at| at + 2);
    let (head, body) = request.split_at(end);
    let body = body.get(2..).unwrap_or_default();
    let whole = [head, format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
    let Ok(Message::Request(request)) = Message::parse(Bytes::from(whole)) else { return };
    let from = request.headers.from().map(|from| from.uri.aor());
    let Ok(user) = UserUri::parse(&from.unwrap_or_default()) else { return };
    let names = |user: &UserUri| (user.user() != "nobody").then(|| user.user().to_uppercase());
    assert!(Users::people_in(&request).len() <= confab_users::MAX_WATCHED, "not everybody is looked up");
    let mut out = Vec::new();
    users.handle_request(now, flow, &user, &request, &names, &mut out);
    let mut answers = out.into_iter();
    match answers.next() {
        Some(UsersAction::Respond(response)) => {
            assert!((200..700).contains(&response.status), "an answer is final");
            Message::parse(Message::from(response).to_bytes()).expect("an answer can be read");
        }
        other => panic!("the answer comes first, not {other:?}"),
    }
    answers.for_each(readable);
}

/// What is sent can be read.
fn readable(action: UsersAction) {
    let UsersAction::Send { mut request, .. } = action else { panic!("a request has one answer") };
    request.headers.push_front("Via", "SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bKfuzz");
    Message::parse(Message::from(request).to_bytes()).expect("a notification can be read");
}
