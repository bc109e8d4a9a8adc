//! The calls of a conference: ports, then descriptions, then what the data plane is told
//! (RFC 3264 §5–8, signin-presence-media C5).

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use confab_machine::{Entropy, FlowNote, Time};
use confab_media::{
    Flow,
    session::{self, Codec, Command, Gate, Kind, LegSpec, PersonId, StreamSpec},
};
use confab_schema::conference_info::{Media, MediaFilter, MediaStatus};
use confab_sip::{
    Headers, Method, Request, Response, Sdp, dtmf,
    sdp::{
        self,
        body::{CONTENT_TYPE, Described},
        rtp::{Direction, RtpMedium},
    },
};

use super::{
    Asking, Voices, Waking,
    negotiation::{Own, Unfit, word},
};
use crate::{
    Action,
    conference::{Answer, Asked, Farewell, Leg, LegId, Medium, Pending, Room},
    trace::PARTICIPANT,
};

/// The keys of the streams of an endpoint, in the roster and in commands.
pub(super) const AUDIO_ID: &str = "1";
const VIDEO_ID: &str = "2";

/// What OCS calls an offer that it cannot take for its connectivity checks (signin-presence-media C4).
const WRONG_CHECKS: u32 = 7008;

/// How long we wait before we offer again what met an offer of the participant's: whoever was called waits up to
/// two seconds (RFC 3261 §14.1).
const GLARE_WAIT: Duration = Duration::from_secs(1);
/// How often we do. What he asked the server before us may stay unanswered for half a minute.
const MAX_GLARES: u32 = 40;

/// How long a client waits before it tries again when there are no ports, in seconds.
const RETRY_AFTER: &str = "30";

/// What somebody is told whose client answers our offer with nothing that can be used.
const NO_ANSWER: Farewell = Farewell::failed("Your answer holds nothing that can be used.");
/// What somebody is told for whom there are no ports.
const NO_PORTS: &str = "This conferencing server has no ports left.";

/// What we have and what was agreed on for one leg.
#[derive(Debug)]
pub(super) struct Call {
    person: PersonId,
    audio: Stream,
    video: Stream,
    /// By which the descriptions of one dialog are told apart (RFC 3264 §8).
    session: u32,
    version: u32,
    /// What the ports are opened for.
    opening: Option<Opening>,
    /// In what our offer's answer is awaited.
    offered: Option<AnswerIn>,
    /// How often our offer has met one of his (RFC 3261 §14.1).
    glares: u32,
    /// Since when the data plane knows it.
    since: Option<Time>,
    /// He asks to be told of the keys that others press.
    pub(super) wants_keys: bool,
}

/// What brings the answer to an offer of ours (RFC 3261 §13.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AnswerIn {
    /// The 200 to our INVITE.
    Response,
    /// The ACK of our 200.
    Ack,
}

/// One stream of a leg.
#[derive(Debug)]
struct Stream {
    own: Own,
    /// What was agreed on last; `None` while it is refused.
    spec: Option<StreamSpec>,
}

/// What is done once the ports of a leg are open.
#[derive(Debug)]
pub(super) enum Opening {
    /// An INVITE is answered, with our offer if it has none.
    Arrival(Option<Described>),
    /// The same in a session.
    Again(Box<Asked>, Option<Described>),
    /// Somebody is called.
    Calling,
    /// Somebody's session goes on here.
    Resumed,
}

impl Opening {
    fn offer(&self) -> Option<&Described> {
        match self {
            Opening::Arrival(offer) | Opening::Again(_, offer) => offer.as_ref(),
            Opening::Calling | Opening::Resumed => None,
        }
    }
}

impl Call {
    fn new(person: PersonId, entropy: &mut Entropy) -> Call {
        let session = u32::from_le_bytes(entropy.bytes()) >> 1;
        let mut stream = |kind| Stream { own: Own::new(kind, entropy.fork()), spec: None };
        Call {
            person,
            audio: stream(Kind::Audio),
            video: stream(Kind::Video),
            session,
            version: 0,
            opening: None,
            offered: None,
            glares: 0,
            since: None,
            wants_keys: false,
        }
    }

    /// Since when media could flow.
    pub(super) fn since(&self) -> Option<Time> {
        self.since
    }

    /// Whether the data plane knows it.
    pub(super) fn is_live(&self) -> bool {
        self.since.is_some()
    }

    /// What the voice is sent in.
    pub(super) fn codec(&self) -> Option<Codec> {
        self.audio.spec.as_ref().map(|spec| spec.send.codec)
    }

    /// Whether an offer is under way.
    pub(super) fn is_negotiating(&self) -> bool {
        self.opening.is_some() || self.offered.is_some()
    }

    fn stream(&mut self, kind: Kind) -> &mut Stream {
        match kind {
            Kind::Audio => &mut self.audio,
            Kind::Video => &mut self.video,
        }
    }

    /// Whether ports are missing for these streams.
    fn lacks(&mut self, kinds: &[Kind], multiplexed: bool) -> bool {
        kinds.iter().any(|kind| {
            let own = &self.stream(*kind).own;
            own.rtp.is_empty() || own.rtcp.is_empty() && !multiplexed
        })
    }

    /// What the data plane is to know; `None` while there is nothing.
    fn spec(&self) -> Option<LegSpec> {
        let (audio, video) = (self.audio.spec.clone(), self.video.spec.clone());
        (audio.is_some() || video.is_some()).then_some(LegSpec { person: self.person, audio, video })
    }

    fn describe(&mut self, address: std::net::IpAddr, media: Vec<sdp::Media>) -> Bytes {
        self.version += 1;
        Sdp::of_media(address, self.session, self.version, media).to_bytes()
    }
}

/// Audio and video lines of an offer; those that are refused are none.
fn kind_of(medium: &sdp::Media) -> Option<Kind> {
    match medium.kind() {
        _ if medium.port() == 0 => None,
        "audio" => Some(Kind::Audio),
        "video" => Some(Kind::Video),
        _ => None,
    }
}

impl Room<Voices> {
    /// Opens the ports that are missing, and goes on when they are open.
    pub(super) fn open(&mut self, now: Time, id: LegId, opening: Opening, out: &mut Vec<Action>) {
        let Some(user) = self.roster.leg(id).map(|leg| leg.user.clone()) else { return };
        let role = self.role(&user);
        let person = self.medium.person(&user, role).id;
        let pictures = self.medium.options.video;
        let offered: Option<Vec<RtpMedium>> = opening.offer().map(|offer| {
            let media = offer.sdp.media.iter().filter(|medium| kind_of(medium).is_some());
            media.map(|medium| RtpMedium::read(&offer.sdp, medium)).collect()
        });
        let multiplexed = offered.as_ref().is_some_and(|media| media.iter().all(|medium| medium.multiplexed));
        let mut kinds = vec![Kind::Audio];
        let has_video = |media: &Vec<RtpMedium>| media.iter().any(|medium| medium.kind == word(Kind::Video));
        if pictures && offered.as_ref().is_none_or(has_video) {
            kinds.push(Kind::Video);
        }
        let entropy = &mut self.entropy;
        let call = self.medium.calls.entry(id).or_insert_with(|| Box::new(Call::new(person, entropy)));
        call.opening = Some(opening);
        if call.lacks(&kinds, multiplexed) {
            out.push(Action::OpenMedia { leg: session::LegId(id.0), kinds, multiplexed });
        } else {
            self.go_on(now, id, out);
        }
    }

    /// The ports are open.
    pub(super) fn opened(
        &mut self,
        now: Time,
        id: LegId,
        addresses: &[(Kind, Flow, SocketAddr)],
        out: &mut Vec<Action>,
    ) {
        let Some(call) = self.medium.calls.get_mut(&id) else {
            // Whoever they were for is gone.
            return out.push(Action::Media(Command::Close { leg: session::LegId(id.0) }));
        };
        for kind in [Kind::Audio, Kind::Video] {
            let of = |flow| {
                let own = addresses.iter().filter(move |(of, at, _)| (*of, *at) == (kind, flow));
                own.map(|(_, _, address)| *address).collect::<Vec<_>>()
            };
            let (rtp, rtcp) = (of(Flow::Rtp), of(Flow::Rtcp));
            let own = &mut call.stream(kind).own;
            if !rtp.is_empty() {
                (own.rtp, own.rtcp) = (rtp, rtcp);
            }
        }
        self.go_on(now, id, out);
    }

    /// There is no port left.
    pub(super) fn not_opened(&mut self, now: Time, id: LegId, out: &mut Vec<Action>) {
        let Some(opening) = self.medium.calls.get_mut(&id).and_then(|call| call.opening.take()) else {
            return;
        };
        let busy = |request: &Request, room: &Room<Voices>| {
            room.refuse(request, 503, NO_PORTS).with_header("Retry-After", RETRY_AFTER)
        };
        match opening {
            Opening::Arrival(_) => {
                let Some(response) = self.arriving(id).map(|request| busy(request, self)) else { return };
                self.decline(now, id, response, out);
            }
            Opening::Again(asked, _) => {
                let response = busy(&asked.request, self);
                out.push(Action::Respond { key: asked.key, response });
            }
            Opening::Calling => self.drop_call(now, id, out),
            Opening::Resumed => self.remove_leg(now, id, Some(Farewell::failed(NO_PORTS)), out),
        }
    }

    fn go_on(&mut self, now: Time, id: LegId, out: &mut Vec<Action>) {
        let Some(opening) = self.medium.calls.get_mut(&id).and_then(|call| call.opening.take()) else {
            return;
        };
        match opening {
            Opening::Arrival(offer) => match self.respond(id, offer.as_ref()) {
                Ok(answer) => {
                    if let Some(headers) = self.arriving(id).map(|invite| invite.headers.clone()) {
                        self.tell_keys_if_asked(id, &headers);
                    }
                    self.tell_data_plane(now, id, out);
                    let session = self.voice_session(id);
                    self.answer(now, id, session, answer, out);
                }
                Err(unfit) => {
                    let Some(response) = self.arriving(id).map(|request| self.unfit(request, unfit)) else {
                        return;
                    };
                    self.decline(now, id, response, out);
                }
            },
            Opening::Again(asked, offer) => match self.respond(id, offer.as_ref()) {
                Ok(answer) => {
                    self.tell_keys_if_asked(id, &asked.request.headers);
                    self.tell_data_plane(now, id, out);
                    self.answer_again(now, id, *asked, answer, out);
                }
                Err(unfit) => {
                    let response = self.unfit(&asked.request, unfit);
                    out.push(Action::Respond { key: asked.key, response });
                }
            },
            Opening::Calling => match self.make_offer(id, AnswerIn::Response) {
                Some(offer) => self.place_call(id, offer, out),
                None => self.drop_call(now, id, out),
            },
            Opening::Resumed => self.offer_again(now, id, out),
        }
    }

    /// The answer to an offer, or our offer where there is none.
    fn respond(&mut self, id: LegId, offer: Option<&Described>) -> Result<Answer, Unfit> {
        match offer {
            Some(offer) => {
                let body = self.answer_offer(id, &offer.sdp)?;
                Ok(Answer { body, content_id: offer.content_id.clone() })
            }
            None => {
                let body = self.make_offer(id, AnswerIn::Ack).ok_or(Unfit::Address)?;
                Ok(Answer { body, content_id: None })
            }
        }
    }

    /// Takes of each kind the first line that can be; the others are refused.
    fn answer_offer(&mut self, id: LegId, offer: &Sdp) -> Result<Bytes, Unfit> {
        let options = self.medium.options;
        let call = self.medium.calls.get_mut(&id).ok_or(Unfit::Address)?;
        let mut taken: Vec<(Kind, StreamSpec)> = Vec::new();
        let (mut media, mut address, mut unfit) = (Vec::new(), None, None);
        for medium in &offer.media {
            let kind = kind_of(medium).filter(|kind| *kind == Kind::Audio || options.video);
            let kind = kind.filter(|kind| taken.iter().all(|(other, _)| other != kind));
            let agreed = kind.map(|kind| {
                let agreed = call.stream(kind).own.answer(&RtpMedium::read(offer, medium), options);
                (kind, agreed)
            });
            match agreed {
                Some((kind, Ok(agreed))) => {
                    address = address.or(agreed.answer.address);
                    taken.push((kind, agreed.spec));
                    media.push(agreed.answer.write());
                }
                Some((_, Err(why))) => {
                    unfit = unfit.or(Some(why));
                    media.push(medium.refused());
                }
                None => media.push(medium.refused()),
            }
        }
        let address = address.ok_or(unfit.unwrap_or(Unfit::Formats))?;
        for kind in [Kind::Audio, Kind::Video] {
            let spec = taken.iter().find(|(of, _)| *of == kind).map(|(_, spec)| spec.clone());
            call.stream(kind).spec = spec;
        }
        Ok(call.describe(address, media))
    }

    fn make_offer(&mut self, id: LegId, answer_in: AnswerIn) -> Option<Bytes> {
        let options = self.medium.options;
        let call = self.medium.calls.get_mut(&id)?;
        let audio = call.audio.own.offer(options)?;
        let address = audio.address?;
        let video = if options.video { call.video.own.offer(options) } else { None };
        let media = std::iter::once(audio).chain(video).map(|medium| medium.write()).collect();
        call.offered = Some(answer_in);
        Some(call.describe(address, media))
    }

    /// Each INVITE and its answer say anew what is wanted by INFO (RFC 6086 §5.2.2).
    pub(super) fn tell_keys_if_asked(&mut self, id: LegId, headers: &Headers) {
        if let Some(call) = self.medium.calls.get_mut(&id) {
            call.wants_keys = dtmf::is_wanted(headers);
        }
    }

    /// The answer to our offer came; whether it is good for a session.
    pub(super) fn take_answer(
        &mut self,
        now: Time,
        id: LegId,
        headers: &Headers,
        body: &Bytes,
        out: &mut Vec<Action>,
    ) -> bool {
        let options = self.medium.options;
        let Some(call) = self.medium.calls.get_mut(&id) else { return false };
        call.offered = None;
        let Ok(Some(answer)) = sdp::body::read(headers, body) else { return false };
        for medium in &answer.sdp.media {
            let Some(kind) = kind_of(medium) else { continue };
            let stream = call.stream(kind);
            stream.spec = stream.own.accept(&RtpMedium::read(&answer.sdp, medium), options).ok();
        }
        self.tell_data_plane(now, id, out)
    }

    /// Has the data plane do what was agreed on; `false` if that is nothing.
    fn tell_data_plane(&mut self, now: Time, id: LegId, out: &mut Vec<Action>) -> bool {
        let Some(leg) = self.roster.leg(id) else { return false };
        let user = leg.user.clone();
        let role = self.role(&user);
        let gate = self.medium.person(&user, role).gate;
        let Some(call) = self.medium.calls.get_mut(&id) else { return false };
        let Some(spec) = call.spec() else { return false };
        call.since.get_or_insert(now);
        self.changes.people.insert(user);
        out.push(Action::Media(Command::Set { leg: session::LegId(id.0), spec: Box::new(spec), gate }));
        true
    }

    /// The ACK of a 200 that held our offer brings the answer. One that comes to a successor may be of a 200
    /// that was the lost server's.
    pub(super) fn offer_acknowledged(&mut self, now: Time, id: LegId, ack: &Request, out: &mut Vec<Action>) {
        if self.medium.calls.get(&id).is_some_and(|call| call.offered == Some(AnswerIn::Ack))
            && !self.take_answer(now, id, &ack.headers, &ack.body, out)
        {
            self.remove_leg(now, id, Some(NO_ANSWER), out);
        }
    }

    /// Offers anew in a session that was another MCU's.
    fn offer_again(&mut self, now: Time, id: LegId, out: &mut Vec<Action>) {
        let Some(offer) = self.make_offer(id, AnswerIn::Response) else {
            return self.remove_leg(now, id, Some(Farewell::failed(NO_PORTS)), out);
        };
        let Some(session) = self.roster.leg_mut(id).and_then(Leg::session_mut) else { return };
        let mut invite = session.dialog.request(Method::Invite);
        let (flow, local) = (session.flow, session.dialog.local_uri().clone());
        invite.headers.push("Contact", self.contact(&local));
        invite.set_body(CONTENT_TYPE, offer);
        let Ok(number) = invite.headers.cseq().map(|cseq| cseq.number) else { return };
        let note = FlowNote::new(8, Voices::COMPONENT, PARTICIPANT, "INVITE in a session taken over");
        let request = self.send(flow, invite, Some(note), out);
        self.requests.insert(request, Pending::Own(Asking::Offer { leg: id, number }));
    }

    /// The offer that met another one is made again, unless that has led to an agreement.
    pub(super) fn offer_once_more(&mut self, now: Time, id: LegId, out: &mut Vec<Action>) {
        if self.medium.calls.get(&id).is_some_and(|call| !call.is_live() && !call.is_negotiating()) {
            self.offer_again(now, id, out);
        }
    }

    /// Our INVITE in a session was answered finally; `None` = not at all.
    pub(super) fn offer_answered(
        &mut self,
        now: Time,
        id: LegId,
        number: u32,
        response: Option<&Response>,
        out: &mut Vec<Action>,
    ) {
        let Some(session) = self.roster.leg_mut(id).and_then(Leg::session_mut) else { return };
        if response.is_some_and(|response| response.status == 491)
            && let Some(call) = self.medium.calls.get_mut(&id)
            && call.glares < MAX_GLARES
        {
            (call.offered, call.glares) = (None, call.glares + 1);
            return self.wake(now + GLARE_WAIT, Waking::Offer(id));
        }
        let response = response.filter(|response| (200..300).contains(&response.status));
        let Some(response) = response else { return self.remove_leg(now, id, Some(NO_ANSWER), out) };
        // Whoever answers from an unreadable place is where he was.
        let _ = session.dialog.refresh(response);
        let (flow, ack) = (session.flow, session.dialog.ack(number));
        self.send(flow, ack, None, out);
        self.tell_keys_if_asked(id, &response.headers);
        if !self.take_answer(now, id, &response.headers, &response.body, out) {
            self.remove_leg(now, id, Some(NO_ANSWER), out);
        }
    }

    /// Nothing comes from somebody: is he there?
    pub(super) fn ask_for_a_sign(&mut self, id: LegId, out: &mut Vec<Action>) {
        let Some(session) = self.roster.leg_mut(id).and_then(Leg::session_mut) else { return };
        let (flow, options) = (session.flow, session.dialog.request(Method::Options));
        let request = self.send(flow, options, None, out);
        self.requests.insert(request, Pending::Own(Asking::Sign { leg: id }));
    }

    /// The refusal of an offer.
    fn unfit(&self, request: &Request, unfit: Unfit) -> Response {
        match unfit {
            Unfit::Checks => self.explain(
                request,
                488,
                WRONG_CHECKS,
                "Offer connectivity checks of ICE draft 19 or RFC 8445.",
            ),
            Unfit::Protection => self.refuse(request, 488, "Encryption Levels not compatible"),
            Unfit::Formats => self.refuse(
                request,
                488,
                "This conference takes Opus, G.722 and G.711 over RTP, and the call offers none of them.",
            ),
            Unfit::Address => self.refuse(request, 488, "The call names no address that can be sent to."),
        }
    }
}

/// What the roster shows of the streams of a call, from the participant's side.
pub(super) fn describe(call: Option<&Call>, gate: Gate) -> Vec<Media> {
    let of = |number: &str, kind: Kind, stream: Option<&Stream>| {
        let word = word(kind);
        let spec = stream.and_then(|stream| stream.spec.as_ref());
        let direction = spec.map(|spec| Direction::new(spec.we_receive && gate == Gate::Open, spec.we_send));
        let filter = if gate == Gate::Open { MediaFilter::Unblock } else { MediaFilter::Block };
        Media {
            id: number.to_owned(),
            kind: word.to_owned(),
            label: Some(format!("main-{word}")),
            status: direction.map(status),
            ingress_filter: Some(filter),
            egress_filter: (gate == Gate::Waiting).then_some(MediaFilter::Block),
            ..Media::default()
        }
    };
    let video = call.map(|call| &call.video).filter(|video| video.spec.is_some());
    let mut media = vec![of(AUDIO_ID, Kind::Audio, call.map(|call| &call.audio))];
    media.extend(video.map(|video| of(VIDEO_ID, Kind::Video, Some(video))));
    media
}

fn status(direction: Direction) -> MediaStatus {
    match direction {
        Direction::SendRecv => MediaStatus::SendRecv,
        Direction::SendOnly => MediaStatus::SendOnly,
        Direction::RecvOnly => MediaStatus::RecvOnly,
        Direction::Inactive => MediaStatus::Inactive,
    }
}
