//! `endpoint` and `media`: by what a person is in a conference (RFC 4575 §5.7, §5.8).

use confab_machine::Time;
use serde::{Deserialize, Serialize};

use super::{
    AV, EXTENSIONS, Form, NAMESPACE, State, call::write_separator, part, part_text, parts, required, state,
};
use crate::{
    date, mcu_control,
    xml::{Element, Malformed, Writer},
};

words! {
    /// How far an endpoint is in (RFC 4575 §5.7.3).
    pub enum EndpointStatus {
        /// Not yet.
        Pending = "pending",
        /// Being called.
        DialingOut = "dialing-out",
        /// Calling in.
        DialingIn = "dialing-in",
        /// Ringing.
        Alerting = "alerting",
        /// In, and put on hold.
        OnHold = "on-hold",
        /// In.
        Connected = "connected",
        /// In, and not heard.
        MutedViaFocus = "muted-via-focus",
        /// On the way out.
        Disconnecting = "disconnecting",
        /// Out.
        Disconnected = "disconnected",
    }
}

words! {
    /// How an endpoint came in (RFC 4575 §5.7.4).
    pub enum JoiningMethod {
        /// It called the conference.
        DialedIn = "dialed-in",
        /// The conference called it.
        DialedOut = "dialed-out",
        /// It is where the Focus is.
        FocusOwner = "focus-owner",
    }
}

words! {
    /// How an endpoint went out (RFC 4575 §5.7.6).
    pub enum DisconnectionMethod {
        /// It left.
        Departed = "departed",
        /// It was ejected.
        Booted = "booted",
        /// It was lost or could not be reached.
        Failed = "failed",
        /// It was busy.
        Busy = "busy",
    }
}

words! {
    /// Which way a medium flows, as the participant sees it (RFC 4575 §5.8.5).
    pub enum MediaStatus {
        /// Both ways.
        SendRecv = "sendrecv",
        /// From him only.
        SendOnly = "sendonly",
        /// To him only.
        RecvOnly = "recvonly",
        /// Not at all.
        Inactive = "inactive",
    }
}

words! {
    /// Whether a conferencing server lets a medium through (MS-CONFAV §3.2.5.4).
    pub enum MediaFilter {
        /// It does not.
        Block = "block",
        /// It does.
        Unblock = "unblock",
    }
}

/// One program or phone of a person at one server of the conference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// A GUID in braces, made by the client; the key.
    pub entity: String,
    /// Whether this is all about it, a change, or its end.
    pub state: State,
    /// Where it is: `focus`, or the word of an MCU type.
    pub session_type: Option<String>,
    /// What to call, if not the person: a `sip:` or `tel:` URI.
    pub endpoint_uri: Option<String>,
    /// The Request-URI for calling it.
    pub refer_to_uri: Option<String>,
    /// What it is called.
    pub display_text: Option<String>,
    /// How far it is in. A word that is not known is read as none, as with the methods below.
    pub status: Option<EndpointStatus>,
    /// How it came in, or is to.
    pub joining_method: Option<JoiningMethod>,
    /// When, why and by whom it came in.
    pub joining_info: Option<JoiningInfo>,
    /// How it went out.
    pub disconnection_method: Option<DisconnectionMethod>,
    /// What flows.
    pub media: Vec<Media>,
    /// How the person proved who he is: `enterprise`, `federated` or `anonymous`.
    pub auth_method: Option<String>,
    /// From where he came: `internal` or `external`.
    pub access_method: Option<String>,
    /// Whether he is among those who are heard now; our own extension.
    pub speaking: bool,
    /// Between servers only: what another conferencing server of this medium needs to go on with
    /// this endpoint in place of the one that wrote it. It means nothing to anybody else.
    pub handover: Option<String>,
}

/// When, why and by whom an endpoint came in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoiningInfo {
    /// When.
    pub when: Option<Time>,
    /// Why.
    pub reason: Option<String>,
    /// The SIP URI of the person who called it in.
    pub by: Option<String>,
}

/// One medium of an endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    /// The key within its endpoint.
    pub id: String,
    /// `audio`, `video`, `chat`, `applicationsharing`; empty = not said.
    pub kind: String,
    /// Which of the conference's media: `main-audio`, `main-video` …
    pub label: Option<String>,
    /// The stream's name on the wire: an RTP source.
    pub src_id: Option<String>,
    /// Which way it flows.
    pub status: Option<MediaStatus>,
    /// Whether the conference hears and sees him.
    pub ingress_filter: Option<MediaFilter>,
    /// Whether he hears and sees the conference.
    pub egress_filter: Option<MediaFilter>,
}

impl Endpoint {
    /// An endpoint of which no more is known.
    pub fn new(entity: impl Into<String>) -> Endpoint {
        Endpoint { entity: entity.into(), ..Endpoint::default() }
    }

    pub(super) fn read(element: &Element) -> Result<Endpoint, Malformed> {
        let attribute = |name| element.attr(name).map(str::to_owned);
        let word = |name| part(element, name).map(Element::text);
        Ok(Endpoint {
            entity: required(element, "entity")?,
            state: state(element)?,
            session_type: attribute("session-type"),
            endpoint_uri: attribute("endpoint-uri"),
            refer_to_uri: attribute("refer-to-uri"),
            display_text: part_text(element, "display-text"),
            status: word("status").and_then(|word| EndpointStatus::parse(&word)),
            joining_method: word("joining-method").and_then(|word| JoiningMethod::parse(&word)),
            joining_info: part(element, "joining-info").map(JoiningInfo::read),
            disconnection_method: word("disconnection-method")
                .and_then(|word| DisconnectionMethod::parse(&word)),
            media: parts(element, "media").map(Media::read).collect(),
            auth_method: part_text(element, "authMethod"),
            access_method: part_text(element, "accessMethod"),
            speaking: element.child(AV, "speaking").is_some(),
            handover: element.child(mcu_control::NAMESPACE, "handover").map(|text| text.text().into_owned()),
        })
    }

    pub(super) fn write(&self, writer: &mut Writer, form: Form) {
        writer.start(NAMESPACE, "endpoint");
        writer.attribute("entity", &self.entity);
        form.state(writer, self.state);
        if form.microsoft {
            // Deviation: printed as msci:session-type and so on; the extension's schema was not to be had.
            let attributes = [
                ("session-type", &self.session_type),
                ("endpoint-uri", &self.endpoint_uri),
                ("refer-to-uri", &self.refer_to_uri),
            ];
            for (name, value) in attributes {
                if let Some(value) = value {
                    writer.attribute_ns(EXTENSIONS, name, value);
                }
            }
        }
        writer.optional(NAMESPACE, "display-text", self.display_text.as_deref());
        writer.optional(NAMESPACE, "status", self.status.map(EndpointStatus::as_str));
        writer.optional(NAMESPACE, "joining-method", self.joining_method.map(JoiningMethod::as_str));
        if let Some(info) = &self.joining_info {
            info.write(writer);
        }
        let method = self.disconnection_method.map(DisconnectionMethod::as_str);
        writer.optional(NAMESPACE, "disconnection-method", method);
        self.media.iter().for_each(|media| media.write(writer, form));
        if form.microsoft {
            // Deviation: these follow the media, for extensions follow all elements of RFC 4575.
            writer.optional(EXTENSIONS, "authMethod", self.auth_method.as_deref());
            writer.optional(EXTENSIONS, "accessMethod", self.access_method.as_deref());
            writer.optional(mcu_control::NAMESPACE, "handover", self.handover.as_deref());
            if self.speaking {
                write_separator(writer);
                writer.start(AV, "speaking");
                writer.end();
            }
        }
        writer.end();
    }
}

impl JoiningInfo {
    fn read(element: &Element) -> JoiningInfo {
        JoiningInfo {
            when: part(element, "when").and_then(|when| date::parse(&when.text()).ok()),
            reason: part_text(element, "reason"),
            by: part_text(element, "by"),
        }
    }

    fn write(&self, writer: &mut Writer) {
        writer.start(NAMESPACE, "joining-info");
        writer.optional(NAMESPACE, "when", self.when.map(date::format).as_deref());
        writer.optional(NAMESPACE, "reason", self.reason.as_deref());
        writer.optional(NAMESPACE, "by", self.by.as_deref());
        writer.end();
    }
}

impl Media {
    /// A medium that flows both ways.
    pub fn new(id: impl Into<String>, kind: impl Into<String>) -> Media {
        Media { id: id.into(), kind: kind.into(), status: Some(MediaStatus::SendRecv), ..Media::default() }
    }

    pub(crate) fn read(element: &Element) -> Media {
        let filter = |name| part(element, name).and_then(|filter| MediaFilter::parse(&filter.text()));
        Media {
            id: element.attr("id").unwrap_or_default().to_owned(),
            kind: part_text(element, "type").unwrap_or_default(),
            label: part_text(element, "label"),
            src_id: part_text(element, "src-id"),
            status: part(element, "status").and_then(|status| MediaStatus::parse(&status.text())),
            ingress_filter: filter("media-ingress-filter"),
            egress_filter: filter("media-egress-filter"),
        }
    }

    pub(crate) fn write(&self, writer: &mut Writer, form: Form) {
        writer.start(NAMESPACE, "media");
        writer.attribute("id", &self.id);
        writer.optional(NAMESPACE, "type", Some(self.kind.as_str()).filter(|kind| !kind.is_empty()));
        writer.optional(NAMESPACE, "label", self.label.as_deref());
        writer.optional(NAMESPACE, "src-id", self.src_id.as_deref());
        writer.optional(NAMESPACE, "status", self.status.map(MediaStatus::as_str));
        if form.microsoft {
            let filter = |filter: Option<MediaFilter>| filter.map(MediaFilter::as_str);
            writer.optional(EXTENSIONS, "media-ingress-filter", filter(self.ingress_filter));
            writer.optional(EXTENSIONS, "media-egress-filter", filter(self.egress_filter));
        }
        writer.end();
    }
}
