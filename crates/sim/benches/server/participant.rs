//! Somebody with a connection and just enough of a client to be in conferences: he sends what a
//! client sends and counts what he is told, without reading it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use confab_schema::{
    cccp::{self, Code},
    uri::ConferenceUri,
};
use confab_sip::{
    Dialog, Message, Method, Request, Response,
    frame::{Frame, Framer},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, WriteHalf},
    sync::{Notify, mpsc},
};

use crate::caller::Caller;

/// Bytes read at once.
const READ_SIZE: usize = 16 * 1024;

/// How many notifications have come, to however many people share this.
#[derive(Default)]
pub struct Told {
    count: AtomicUsize,
    wanted: AtomicUsize,
    reached: Notify,
}

impl Told {
    /// How many have come.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until so many have come.
    pub async fn until(&self, count: usize) {
        self.wanted.store(count, Ordering::SeqCst);
        while self.count() < count {
            self.reached.notified().await;
        }
    }

    fn one_more(&self) {
        if self.count.fetch_add(1, Ordering::SeqCst) + 1 == self.wanted.load(Ordering::SeqCst) {
            self.reached.notify_one();
        }
    }
}

/// Somebody with a connection.
pub struct Participant<S> {
    caller: Caller,
    stream: WriteHalf<S>,
    answers: mpsc::UnboundedReceiver<Response>,
}

impl<S: AsyncRead + AsyncWrite + Send + 'static> Participant<S> {
    /// Somebody of this name on this connection; what he is told counts in `told`.
    pub fn new(name: &str, stream: S, told: &Arc<Told>) -> Participant<S> {
        let (reader, stream) = tokio::io::split(stream);
        let (sender, answers) = mpsc::unbounded_channel();
        tokio::spawn(listen(reader, sender, Arc::clone(told)));
        Participant { caller: Caller::new(name), stream, answers }
    }

    /// Schedules a conference for chat under this ID.
    pub async fn schedule(&mut self, id: &str) -> ConferenceUri {
        let request = self.caller.scheduling(id);
        let response = self.ask(&request).await;
        let answer = cccp::Response::parse(&response.body).expect("the factory answers with C3P");
        assert_eq!(answer.code, Code::Success, "everybody may schedule");
        self.caller.conference(id)
    }

    /// Joins the Focus.
    pub async fn join(&mut self, conference: &ConferenceUri) -> Dialog {
        let request = self.caller.joining(conference);
        let response = self.ask(&request).await;
        self.acknowledge(&request, &response).await
    }

    /// Is told of everything in the conference from now on.
    pub async fn subscribe(&mut self, conference: &ConferenceUri) {
        let request = self.caller.subscribing(conference);
        self.ask(&request).await;
    }

    /// Joins, is told everything, and enters the chat: what a client does.
    pub async fn enter(&mut self, conference: &ConferenceUri) {
        self.join(conference).await;
        self.subscribe(conference).await;
        let request = self.caller.chatting(conference);
        let response = self.ask(&request).await;
        self.acknowledge(&request, &response).await;
    }

    /// Leaves by the dialog he joined with.
    pub async fn leave(&mut self, mut dialog: Dialog) {
        let request = self.caller.signed(dialog.request(Method::Bye));
        self.ask(&request).await;
    }

    /// Says something to the server, which answers.
    pub async fn greet(&mut self) {
        let request = self.caller.greeting();
        self.ask(&request).await;
    }

    /// Sends a request and waits for its final response, which must be a good one.
    async fn ask(&mut self, request: &Request) -> Response {
        self.send(request).await;
        let response = self.answers.recv().await.expect("the server keeps the connection");
        assert!(response.status < 300, "{} {}: {response:?}", request.method, request.uri);
        response
    }

    async fn acknowledge(&mut self, request: &Request, response: &Response) -> Dialog {
        let dialog = Dialog::from_response(request, response).expect("a 2xx makes a dialog");
        let ack = self.caller.signed(dialog.ack(1));
        self.send(&ack).await;
        dialog
    }

    async fn send(&mut self, request: &Request) {
        self.stream.write_all(&request.to_bytes()).await.expect("the server keeps the connection");
    }
}

/// Hands on final responses and counts notifications.
async fn listen<R: AsyncRead + Unpin>(
    mut stream: R,
    answers: mpsc::UnboundedSender<Response>,
    told: Arc<Told>,
) {
    let mut framer = Framer::new(confab_sip::MAX_MESSAGE);
    let mut buffer = vec![0; READ_SIZE];
    while let Ok(count @ 1..) = stream.read(&mut buffer).await {
        framer.push(&buffer[..count]);
        while let Some(frame) = framer.next().expect("the server writes SIP") {
            let Frame::Message(bytes) = frame else { continue };
            if bytes.starts_with(b"BENOTIFY") {
                told.one_more();
            } else if let Ok(Message::Response(response)) = Message::parse(bytes)
                && response.status >= 200
                && answers.send(response).is_err()
            {
                return;
            }
        }
    }
}
