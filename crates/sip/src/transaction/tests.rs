//! The layer as a whole: matching, passing on, limits.

use super::{
    samples::{at, request, request_with_via, response},
    *,
};

const TCP: Flow = Flow { id: 1, transport: Transport::Tcp };
const UDP: Flow = Flow { id: 2, transport: Transport::Udp };
const OTHER: Flow = Flow { id: 3, transport: Transport::Tcp };

struct Layer(Transactions);

impl Layer {
    fn new(limit: usize) -> Layer {
        Layer(Transactions::new(Entropy::from_seed([1; 32]), limit))
    }

    fn receive(&mut self, ms: u64, flow: Flow, message: impl Into<Message>) -> Vec<TransactionOutput> {
        let mut out = Vec::new();
        self.0.receive(at(ms), flow, message.into(), &mut out);
        out
    }

    fn respond(&mut self, ms: u64, key: &ServerKey, response: Response) -> Vec<TransactionOutput> {
        let mut out = Vec::new();
        self.0.respond(at(ms), key, response, &mut out);
        out
    }

    fn request(&mut self, ms: u64, flow: Flow, request: Request) -> (ClientKey, Vec<TransactionOutput>) {
        let mut out = Vec::new();
        let key = self.0.request(at(ms), flow, "host.test", request, &mut out);
        (key, out)
    }

    /// Receives a request that must be new, and returns its key.
    fn take(&mut self, ms: u64, flow: Flow, request: &Request) -> ServerKey {
        match self.receive(ms, flow, request.clone()).as_slice() {
            [TransactionOutput::Request { key, flow: from, request: given }] => {
                assert_eq!((from, given), (&flow, request));
                key.clone()
            }
            other => panic!("not a new request: {other:?}"),
        }
    }
}

fn words(out: &[TransactionOutput]) -> Vec<String> {
    let word = |output: &TransactionOutput| match output {
        TransactionOutput::Transmit { message: Message::Request(request), .. } => {
            format!("send {}", request.method)
        }
        TransactionOutput::Transmit { message: Message::Response(response), .. } => {
            format!("send {}", response.status)
        }
        TransactionOutput::Request { request, .. } => format!("request {}", request.method),
        TransactionOutput::Ack { .. } => "ack".into(),
        TransactionOutput::Cancelled { .. } => "cancelled".into(),
        TransactionOutput::Response { response, .. } => format!("response {}", response.status),
        TransactionOutput::StrayResponse { response, .. } => format!("stray {}", response.status),
        TransactionOutput::Failed { reason, .. } => format!("failed {reason:?}"),
        TransactionOutput::ServerFailed { reason, .. } => format!("server failed {reason:?}"),
    };
    out.iter().map(word).collect()
}

/// The answer of `status` to what was sent, as the peer makes it.
fn answer_to(out: &[TransactionOutput], status: u16, tag: &str) -> Response {
    let Some(TransactionOutput::Transmit { message: Message::Request(request), .. }) = out.last() else {
        panic!("no request was sent: {out:?}");
    };
    let mut response = Response::to(request, status);
    response.set_to_tag(tag);
    response
}

#[test]
fn what_belongs_to_a_transaction() {
    let branch = "SIP/2.0/TCP Host.test:5070;branch=z9hG4bKnear";
    let bare = "SIP/2.0/tcp host.test:5070";
    /// Whether the second request is a repetition of the first.
    fn check(first: (Flow, &Request), second: (Flow, &Request), expect: bool) {
        let mut layer = Layer::new(9);
        layer.take(0, first.0, first.1);
        let out = layer.receive(1, second.0, second.1.clone());
        assert_eq!(out.is_empty(), expect, "{out:?}");
    }
    let first = request_with_via("INFO", branch);
    check(
        (UDP, &first),
        (UDP, &request_with_via("INFO", "SIP/2.0/TCP host.test:5070;branch=z9hG4bKnear")),
        true,
    );
    check(
        (UDP, &first),
        (UDP, &request_with_via("INFO", "SIP/2.0/TCP host.test:5071;branch=z9hG4bKnear")),
        false,
    );
    check(
        (UDP, &first),
        (UDP, &request_with_via("INFO", "SIP/2.0/TCP host.test:5070;branch=z9hG4bKfar")),
        false,
    );
    check((UDP, &first), (UDP, &request_with_via("BYE", branch)), false);
    check((UDP, &first), (TCP, &first), false);
    let first = request_with_via("INVITE", bare);
    let changed = |name: &str, value: &str| {
        let mut request = first.clone();
        request.headers.set(name, value);
        request
    };
    check((UDP, &first), (UDP, &first), true);
    check((UDP, &first), (UDP, &changed("Via", "SIP/2.0/tcp host.test:5070;branch=390skdjuw")), true);
    check((UDP, &first), (UDP, &changed("CSeq", "8 INVITE")), false);
    check((UDP, &first), (UDP, &changed("Call-ID", "other")), false);
    check((UDP, &first), (UDP, &changed("From", "<sip:ann@example.test>;tag=other")), false);
}

#[test]
fn acks_find_their_invite_with_and_without_branch() {
    for via in ["SIP/2.0/TCP host.test:5070;branch=z9hG4bKnear", "SIP/2.0/tcp host.test:5070"] {
        let invite = request_with_via("INVITE", via);
        let mut ack = request_with_via("ACK", via);
        ack.headers.set("To", "<sip:bob@example.test>;tag=far");

        let mut layer = Layer::new(9);
        let key = layer.take(0, UDP, &invite);
        assert_eq!(words(&layer.receive(1, UDP, ack.clone())), [""; 0], "nothing to acknowledge yet");
        assert_eq!(words(&layer.respond(10, &key, response("INVITE", "486 far"))), ["send 486"]);
        assert_eq!(words(&layer.receive(20, UDP, ack.clone())), [""; 0], "a refusal's ACK ends here");
        assert_eq!(layer.0.deadline(), Some(at(5_020)));

        let mut layer = Layer::new(9);
        let key = layer.take(0, UDP, &invite);
        assert_eq!(words(&layer.respond(10, &key, response("INVITE", "200 far"))), ["send 200"]);
        if via.contains("branch") {
            ack.headers.set("Via", "SIP/2.0/TCP host.test:5070;branch=z9hG4bKother");
        }
        assert_eq!(layer.0.deadline(), Some(at(510)));
        assert_eq!(words(&layer.receive(20, UDP, ack.clone())), ["ack"]);
        assert_eq!(layer.0.deadline(), Some(at(32_010)), "nothing is repeated any more");
        let mut out = Vec::new();
        layer.0.handle_timeout(at(32_010), &mut out);
        assert_eq!(words(&out), [""; 0]);
        assert!(layer.0.servers.is_empty() && layer.0.accepted.is_empty() && layer.0.wakes.is_empty());
    }
}

#[test]
fn cancel_is_answered_here() {
    for via in ["SIP/2.0/TCP host.test:5070;branch=z9hG4bKnear", "SIP/2.0/tcp host.test:5070"] {
        let mut layer = Layer::new(9);
        let cancel = request_with_via("CANCEL", via);
        assert_eq!(words(&layer.receive(0, TCP, cancel.clone())), ["send 481"]);
        let key = layer.take(0, TCP, &request_with_via("INVITE", via));
        assert_eq!(words(&layer.receive(5, OTHER, cancel.clone())), ["send 481"], "a stranger's");
        let out = layer.receive(10, TCP, cancel.clone());
        assert_eq!(words(&out), ["send 200", "cancelled"]);
        let TransactionOutput::Transmit { message, .. } = &out[0] else { panic!("{out:?}") };
        let tag = message.headers().to().unwrap().tag().unwrap().to_owned();
        assert_eq!(words(&layer.receive(20, TCP, cancel.clone())), ["send 200"]);
        let out = layer.respond(30, &key, response("INVITE", "487"));
        let TransactionOutput::Transmit { message, .. } = &out[0] else { panic!("{out:?}") };
        assert_eq!(message.headers().to().unwrap().tag(), Some(tag.as_str()), "both answers have one tag");
    }
}

#[test]
fn user_tags_are_kept_and_missing_ones_added() {
    let mut layer = Layer::new(9);
    let key = layer.take(0, TCP, &request("INVITE"));
    let out = layer.respond(10, &key, response("INVITE", "180 mine"));
    assert_eq!(words(&out), ["send 180"]);
    let out = layer.respond(20, &key, response("INVITE", "200"));
    let TransactionOutput::Transmit { message, .. } = &out[0] else { panic!("{out:?}") };
    assert_eq!(message.headers().to().unwrap().tag(), Some("mine"));
    assert_eq!(words(&layer.respond(30, &key, response("INVITE", "500"))), [""; 0]);
}

#[test]
fn above_the_limit_nothing_is_kept() {
    let mut layer = Layer::new(1);
    layer.take(0, UDP, &request("INFO"));
    let out = layer.receive(1, UDP, request("INVITE"));
    assert_eq!(words(&out), ["send 503"]);
    let TransactionOutput::Transmit { message, .. } = &out[0] else { panic!("{out:?}") };
    assert_eq!(message.headers().get("Retry-After").unwrap(), &"10");
    assert_eq!(layer.receive(2, UDP, request("INVITE")), out, "the same tag again");
    assert_eq!(words(&layer.receive(3, UDP, request("INFO"))), [""; 0], "known ones go on");
    assert_eq!(words(&layer.receive(4, UDP, request("BENOTIFY"))), ["request BENOTIFY"]);

    assert_eq!(words(&layer.request(5, TCP, request("INFO")).1), ["send INFO"]);
    assert_eq!(words(&layer.request(6, TCP, request("INFO")).1), ["failed Overload"]);
    assert_eq!(words(&layer.request(7, TCP, request("BENOTIFY")).1), ["send BENOTIFY"]);
}

#[test]
fn benotify_is_never_answered() {
    let mut layer = Layer::new(9);
    let key = layer.take(0, TCP, &request("BENOTIFY"));
    assert_eq!(words(&layer.respond(1, &key, response("BENOTIFY", "200"))), [""; 0]);
    let (_, out) = layer.request(2, UDP, request("BENOTIFY"));
    assert_eq!(words(&out), ["send BENOTIFY"]);
    assert_eq!(layer.0.deadline(), None);
}

#[test]
fn responses_find_their_request_and_lose_our_via() {
    let mut layer = Layer::new(9);
    let (key, out) = layer.request(0, TCP, request("INFO"));
    let answer = answer_to(&out, 202, "far");
    assert_eq!(answer.headers.vias().unwrap().len(), 2);
    assert_eq!(words(&layer.receive(5, OTHER, answer.clone())), ["stray 202"]);
    let given = layer.receive(10, TCP, answer.clone());
    let [TransactionOutput::Response { key: answered, response }] = given.as_slice() else {
        panic!("{given:?}")
    };
    assert_eq!(answered, &key);
    assert_eq!(response.headers.vias().unwrap().len(), 1);
    assert_eq!(words(&layer.receive(20, TCP, answer)), ["stray 202"], "the transaction is over");
    assert!(layer.0.wakes.is_empty());
    let (_, udp) = layer.request(30, UDP, request("INFO"));
    let TransactionOutput::Transmit { message, .. } = &udp[0] else { panic!("{udp:?}") };
    assert!(message.headers().top_via().unwrap().params.has("rport"));
}

#[test]
fn cancelling_an_invite_of_ours() {
    let mut layer = Layer::new(9);
    let (key, out) = layer.request(0, UDP, request("INVITE"));
    let (trying, refusal, answer) =
        (answer_to(&out, 100, "far"), answer_to(&out, 487, "far"), answer_to(&out, 200, "far"));
    let mut out = Vec::new();
    layer.0.cancel(at(10), &key, &mut out);
    assert_eq!(words(&out), [""; 0]);
    let out = layer.receive(20, UDP, trying);
    assert_eq!(words(&out), ["response 100", "send CANCEL"]);
    assert_eq!(
        words(&layer.receive(30, UDP, answer_to(&out, 200, "far"))),
        [""; 0],
        "its own answer stays here"
    );
    assert_eq!(words(&layer.receive(40, UDP, refusal)), ["send ACK", "response 487"]);
    assert_eq!(words(&layer.receive(50, UDP, answer)), [""; 0]);
}

#[test]
fn repeated_answers_to_invite_are_strays() {
    let mut layer = Layer::new(9);
    let (_, out) = layer.request(0, TCP, request("INVITE"));
    assert_eq!(words(&layer.receive(10, TCP, answer_to(&out, 200, "a"))), ["response 200"]);
    assert_eq!(words(&layer.receive(20, TCP, answer_to(&out, 200, "a"))), ["stray 200"]);
    assert_eq!(words(&layer.receive(30, TCP, answer_to(&out, 200, "b"))), ["response 200"]);
    let (_, out) = layer.request(40, TCP, request("ACK"));
    assert_eq!(words(&out), ["send ACK"]);
}

#[test]
fn a_closed_flow_ends_its_transactions_only() {
    let mut layer = Layer::new(9);
    layer.take(0, TCP, &request("INVITE"));
    layer.take(0, TCP, &request("INFO"));
    layer.take(0, OTHER, &request("INFO"));
    layer.request(0, TCP, request("INFO"));
    layer.request(0, OTHER, request("INFO"));
    let (_, out) = layer.request(0, TCP, request("INVITE"));
    layer.receive(0, TCP, answer_to(&out, 200, "far"));
    let mut out = Vec::new();
    layer.0.flow_closed(at(10), TCP, &mut out);
    let mut said = words(&out);
    said.sort();
    assert_eq!(said, ["failed Transport", "server failed Transport", "server failed Transport"]);
    assert_eq!((layer.0.servers.len(), layer.0.clients.len(), layer.0.wakes.len()), (1, 1, 2));
}

#[test]
fn keys_can_be_written_down() {
    let mut layer = Layer::new(9);
    let key = layer.take(0, TCP, &request_with_via("INVITE", "SIP/2.0/tcp host.test:5070"));
    let text = serde_json::to_string(&key).unwrap();
    assert_eq!(serde_json::from_str::<ServerKey>(&text).unwrap(), key);
    assert_eq!((key.flow(), key.method()), (TCP, &Method::Invite));
}
