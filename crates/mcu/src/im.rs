//! Steps 7 and 8 on the IM MCU: one conference's messages (MS-CONFIM, c3p §10). It never echoes to
//! the leg that wrote, and tells each author what became of his message.

mod content;
mod relay;

use std::{collections::BTreeMap, time::Duration};

use confab_machine::{Component, Entropy, Time};
use confab_schema::{
    cccp,
    conference_info::{Endpoint, EntityMedia, EntityView, Media, MediaStatus, Role},
    uri::{McuType, UserUri},
};
use confab_sip::{
    Method, Request, Response, Sdp, ServerKey,
    sdp::body::{CONTENT_TYPE, Described},
};

use crate::{
    Action, Conference, ConferenceSpec, Mcu, Refusal,
    conference::{Answer, Asked, Leg, LegId, Medium, Room, not_allowed},
};
use content::{ACCEPT_TYPES, Accepts};
use relay::Report;

/// How long the receivers of a message have to answer before its author is told.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// The IM conferencing server.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImMcu;

impl Mcu for ImMcu {
    fn media(&self) -> McuType {
        Messages::MEDIA
    }

    fn add_conference(&mut self, spec: ConferenceSpec, entropy: Entropy) -> Result<Conference, Refusal> {
        Ok(Box::new(Room::new(spec, entropy, Messages::default())?))
    }
}

/// The messages of one conference.
#[derive(Debug, Default)]
struct Messages {
    reports: BTreeMap<u32, Report>,
    last_message: u32,
}

/// What the answer to a request is for.
#[derive(Debug)]
enum Sending {
    /// A message on its way to somebody.
    Message { leg: LegId, user: UserUri, message_id: u32 },
    /// That somebody is typing.
    Typing { leg: LegId },
}

impl Medium for Messages {
    const MEDIA: McuType = McuType::Chat;
    const COMPONENT: Component = Component::ImMcu;
    const ALLOW: &'static str = "ACK, BYE, CANCEL, INFO, INVITE, MESSAGE, OPTIONS, UPDATE";
    const SUPPORTED: &'static str = "ms-sender";

    /// What a participant takes in messages.
    type Session = Accepts;
    type Pending = Sending;
    /// The message whose receivers have had time enough.
    type Timer = u32;

    fn accept() -> String {
        format!("{CONTENT_TYPE}, {}", ACCEPT_TYPES.join(", "))
    }

    fn invited(
        room: &mut Room<Self>,
        now: Time,
        leg: LegId,
        offer: Option<Described>,
        out: &mut Vec<Action>,
    ) {
        let Some(request) = room.arriving(leg) else { return };
        // Deviation: an INVITE without an offer is refused; no client of conferences sends one.
        let Some(offer) = offer else {
            let response = Response::to(request, 488);
            return room.decline(now, leg, response, out);
        };
        match room.message_answer(request, &offer) {
            Ok(answer) => room.answer(now, leg, Accepts::of(&offer.sdp), answer, out),
            Err(refused) => room.decline(now, leg, *refused, out),
        }
    }

    /// The answer is as before; what the person takes may be new.
    fn invited_again(
        room: &mut Room<Self>,
        now: Time,
        leg: LegId,
        asked: Asked,
        offer: Option<Described>,
        out: &mut Vec<Action>,
    ) {
        let Some(offer) = offer else {
            let body = Sdp::message_offer(&room.sent_by, &ACCEPT_TYPES).to_bytes();
            return room.answer_again(now, leg, asked, Answer { body, content_id: None }, out);
        };
        match room.message_answer(&asked.request, &offer) {
            Ok(answer) => {
                if let Some(session) = room.roster.leg_mut(leg).and_then(Leg::session_mut) {
                    session.own = Accepts::of(&offer.sdp);
                }
                room.answer_again(now, leg, asked, answer, out);
            }
            Err(refused) => out.push(Action::Respond { key: asked.key, response: *refused }),
        }
    }

    fn offer_call(room: &mut Room<Self>, _: Time, leg: LegId, out: &mut Vec<Action>) {
        let offer = Sdp::message_offer(&room.sent_by, &ACCEPT_TYPES).to_bytes();
        room.place_call(leg, offer, out);
    }

    fn call_answered(
        _: &mut Room<Self>,
        _: Time,
        _: LegId,
        response: &Response,
        _: &mut Vec<Action>,
    ) -> Option<Accepts> {
        let answer = Sdp::parse(&response.body).ok().filter(|sdp| sdp.message().is_some())?;
        Some(Accepts::of(&answer))
    }

    fn request(
        room: &mut Room<Self>,
        now: Time,
        key: ServerKey,
        leg: LegId,
        request: &Request,
        out: &mut Vec<Action>,
    ) {
        match request.method {
            Method::Message => room.message(now, key, leg, request, out),
            Method::Info => room.info(key, leg, request, out),
            _ => out.push(Action::Respond { key, response: not_allowed::<Self>(request) }),
        }
    }

    fn responded(
        room: &mut Room<Self>,
        now: Time,
        pending: Sending,
        response: Option<&Response>,
        out: &mut Vec<Action>,
    ) {
        let diagnostics = response.and_then(|response| response.headers.get("ms-diagnostics"));
        let diagnostics = diagnostics.map(|value| value.to_string());
        room.answered(now, pending, response.map_or(408, |response| response.status), diagnostics, out);
    }

    fn due(room: &mut Room<Self>, now: Time, message_id: u32, out: &mut Vec<Action>) {
        room.report_timeout(now, message_id, out);
    }

    fn winds_up(room: &mut Room<Self>, _: Time, _: (u64, &cccp::Request), _: &mut Vec<Action>) -> bool {
        room.medium.reports.clear();
        false
    }

    fn describe(&self, _: LegId, _: &Leg<Accepts>, _: Option<Role>, endpoint: &mut Endpoint) {
        endpoint.media = vec![Media::new("1", Self::MEDIA.as_str())];
    }

    fn describe_view(&self, view: &mut EntityView) {
        let word = Self::MEDIA.as_str().to_owned();
        view.media =
            vec![EntityMedia { label: word.clone(), kind: word, status: Some(MediaStatus::SendRecv) }];
    }
}

impl Room<Messages> {
    fn message_answer(&self, request: &Request, offer: &Described) -> Result<Answer, Box<Response>> {
        let answer = Sdp::message_answer(&offer.sdp, &self.sent_by, &self.mcu_uri, &ACCEPT_TYPES)
            .map_err(|_| Box::new(self.refuse(request, 488, "Only instant messaging is possible here.")))?;
        Ok(Answer { body: answer.to_bytes(), content_id: offer.content_id.clone() })
    }
}
