//! What an INVITE without C3P offers, as media of conferences (RFC 3264, RFC 4579 §5): the seam
//! between session descriptions and the media that conferencing servers have.

use bytes::Bytes;
use confab_conference::reason::Reason;
use confab_schema::uri::McuType;
use confab_sip::{
    Request, Response, Sdp,
    sdp::body::{self, Unreadable},
};

use crate::{control_link::CCCP, refusal};

/// The type of session descriptions.
pub const SDP: &str = body::CONTENT_TYPE;
/// Warnings (RFC 3261 §20.43): a medium that is not available, and one in a form that is not.
const NOT_AVAILABLE: u16 = 304;
const INCOMPATIBLE: u16 = 305;

/// The session description of an INVITE; none if it leaves the offer to us.
pub struct Offer(Option<Sdp>);

impl Offer {
    /// Reads the body of an INVITE.
    ///
    /// # Errors
    /// The refusal of a body that is neither a readable session description nor empty.
    pub fn of(request: &Request) -> Result<Offer, Response> {
        match body::read(&request.headers, &request.body) {
            Ok(described) => Ok(Offer(described.map(|described| described.sdp))),
            Err(Unreadable::Malformed) => Err(Response::to(request, 400)),
            Err(Unreadable::WrongType) => {
                Err(Response::to(request, 415).with_header("Accept", format!("{CCCP}, {SDP}")))
            }
        }
    }

    /// Whether it holds no medium: whoever sends it only wants to be there.
    pub fn is_empty(&self) -> bool {
        self.0.iter().flat_map(|sdp| &sdp.media).all(|medium| medium.port() == 0)
    }

    /// The conferences' media among those it holds, in its order.
    pub fn media(&self) -> Vec<McuType> {
        let mut media = Vec::new();
        for medium in self.0.iter().flat_map(|sdp| &sdp.media).filter(|medium| medium.port() != 0) {
            let of = match medium.kind() {
                "message" if medium.protocol().eq_ignore_ascii_case("sip") => McuType::Chat,
                "audio" | "video" => McuType::AudioVideo,
                "applicationsharing" => McuType::ApplicationSharing,
                _ => continue,
            };
            if !media.contains(&of) {
                media.push(of);
            }
        }
        media
    }

    /// The answer of an end without media: it refuses all that is offered, or offers nothing itself.
    /// `host` is ours and `version` rises with each that is sent in one dialog.
    pub fn answer_without_media(&self, host: &str, version: u32) -> Bytes {
        Sdp::without_media(self.0.as_ref(), host, version).to_bytes()
    }

    /// The refusal of an INVITE that offers none of `media`, which it names; `source` is this server.
    pub fn refusal(&self, request: &Request, media: &[McuType], source: &str) -> Response {
        let names: Vec<&str> = media.iter().map(|media| name(*media)).collect();
        let sentence =
            format!("This conference has {}, and the call offers none of it.", names.join(" and "));
        let mut kinds = self.0.iter().flat_map(|sdp| &sdp.media);
        let other_form = kinds.any(|medium| medium.kind() == "message" && medium.port() != 0);
        let warning = if other_form { INCOMPATIBLE } else { NOT_AVAILABLE };
        refusal::explained(request, Reason::NoCommonMedium, source, warning, &sentence)
    }
}

fn name(media: McuType) -> &'static str {
    match media {
        McuType::Chat => "instant messages (m=message over sip)",
        McuType::AudioVideo => "audio and video",
        McuType::Meeting => "web conferencing",
        McuType::ApplicationSharing => "application sharing",
        McuType::PhoneConf => "telephony",
    }
}

#[cfg(test)]
mod tests {
    use confab_sip::{Method, Uri};

    use super::*;

    fn invite(media: &str) -> Request {
        let mut request = Request::new(Method::Invite, Uri::sip("ann", "example.test"));
        request.set_body(SDP, format!("v=0\r\n{media}").into());
        request
    }

    #[test]
    fn media_are_told_apart() {
        use McuType::{ApplicationSharing as Sharing, AudioVideo as Voice, Chat};
        for (media, expect, empty) in [
            ("m=message 5060 sip null\r\n", vec![Chat], false),
            (
                "m=audio 4 RTP/AVP 0\r\nm=message 5060 SIP null\r\nm=video 6 RTP/AVP 31\r\n",
                vec![Voice, Chat],
                false,
            ),
            ("m=applicationsharing 4 TCP/RTP/AVP 127\r\n", vec![Sharing], false),
            ("m=message 2855 TCP/MSRP *\r\n", vec![], false),
            ("m=audio 0 RTP/AVP 0\r\n", vec![], true),
            ("", vec![], true),
        ] {
            let offer = Offer::of(&invite(media)).unwrap();
            assert_eq!((offer.media(), offer.is_empty()), (expect, empty), "{media}");
        }
    }

    #[test]
    fn the_refusal_names_what_there_is() {
        for (media, warning) in [("m=audio 4 RTP/AVP 0\r\n", "304 "), ("m=message 9 TCP/MSRP *\r\n", "305 ")]
        {
            let request = invite(media);
            let refusal = Offer::of(&request).unwrap().refusal(&request, &[McuType::Chat], "fe");
            assert_eq!(refusal.status, 488);
            assert!(refusal.headers.get("Warning").unwrap().starts_with(warning), "{refusal:?}");
            assert!(refusal.headers.get("ms-diagnostics").unwrap().contains("has instant messages"));
        }
    }

    #[test]
    fn other_bodies_are_none() {
        let mut request = invite("");
        request.set_body(SDP, "nonsense".into());
        assert_eq!(Offer::of(&request).map(|_| ()).unwrap_err().status, 400);
        request.set_body("text/plain", "v=0\r\n".into());
        assert_eq!(Offer::of(&request).map(|_| ()).unwrap_err().status, 415);
        let kind = "multipart/alternative;boundary=b";
        request.set_body(
            kind,
            "--b\r\nContent-Type: application/sdp\r\n\r\nm=audio 4 RTP/AVP 0\r\n--b--\r\n".into(),
        );
        assert_eq!(Offer::of(&request).unwrap().media(), [McuType::AudioVideo]);
        let bare = Request::new(Method::Invite, Uri::sip("ann", "example.test"));
        assert!(Offer::of(&bare).unwrap().is_empty());
    }
}
