//! `calls`: what became of each leg of a conference's voices, as the A/V MCU tells the Focus and the database
//! keeps it. An extension of our own, behind the separator (`docs/protocol/av.md`).

use confab_machine::Time;
use serde::{Deserialize, Serialize};

use super::{DisconnectionMethod, JoiningMethod, parse_number, required};
use crate::{
    date,
    xml::{Element, Malformed, Writer, quoted},
};

/// The namespace of what the A/V MCU says beyond RFC 4575 and OCS.
pub const NAMESPACE: &str = "urn:confab:params:xml:ns:av";

/// The namespace of the element behind which anything may stand (draft-levin-xcon-conference-package-ext).
const SEPARATOR: &str = "urn:ietf:params:xml:ns:conference-info-separator";

/// What became of one leg.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Whose it was: a SIP URI.
    pub user: String,
    /// The endpoint's entity.
    pub endpoint: String,
    /// What was called, if not the person.
    pub endpoint_uri: Option<String>,
    /// How it came in.
    pub joining_method: JoiningMethod,
    /// Since when media could flow.
    pub from: Time,
    /// Until when.
    pub until: Time,
    /// How it went out.
    pub ending: DisconnectionMethod,
    /// Why, in a sentence, unless the person simply left.
    pub reason: Option<String>,
    /// What the voice was sent in, as SDP calls it.
    pub codec: Option<String>,
    /// How the voice was, if the data plane said so.
    pub quality: Option<CallQuality>,
}

/// How the voice of one leg was, over the whole time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallQuality {
    /// Packets that came and were taken.
    pub received: u64,
    /// Packets that did not come.
    pub lost: u64,
    /// Packets that came too late to be played.
    pub late: u64,
    /// Packets that were dropped: not verified, unknown, from elsewhere.
    pub rejected: u64,
    /// Packets that were sent to it.
    pub sent: u64,
    /// What it reported lost of them.
    pub sent_lost: Option<u64>,
    /// Interarrival jitter, in microseconds.
    pub jitter_us: u64,
    /// The latest round trip, in microseconds.
    pub round_trip_us: Option<u64>,
    /// The mean opinion score estimated by the E-model, in hundredths.
    pub mos: u64,
}

impl CallRecord {
    pub(super) fn read(element: &Element) -> Result<CallRecord, Malformed> {
        let optional = |name| element.attr(name).map(str::to_owned);
        let word = |name: &str, word: &str| Malformed::new(format!("{} is no {name}.", quoted(word)));
        let (method, ending) =
            (required(element, "joining-method")?, required(element, "disconnection-method")?);
        Ok(CallRecord {
            user: required(element, "user")?,
            endpoint: required(element, "endpoint")?,
            endpoint_uri: optional("endpoint-uri"),
            joining_method: JoiningMethod::parse(&method).ok_or_else(|| word("joining-method", &method))?,
            from: date::parse(&required(element, "from")?)?,
            until: date::parse(&required(element, "until")?)?,
            ending: DisconnectionMethod::parse(&ending)
                .ok_or_else(|| word("disconnection-method", &ending))?,
            reason: optional("reason"),
            codec: optional("codec"),
            quality: element.child(NAMESPACE, "quality").map(CallQuality::read).transpose()?,
        })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.start(NAMESPACE, "call");
        let attributes = [
            ("user", Some(self.user.clone())),
            ("endpoint", Some(self.endpoint.clone())),
            ("endpoint-uri", self.endpoint_uri.clone()),
            ("joining-method", Some(self.joining_method.as_str().to_owned())),
            ("from", Some(date::format(self.from))),
            ("until", Some(date::format(self.until))),
            ("disconnection-method", Some(self.ending.as_str().to_owned())),
            ("reason", self.reason.clone()),
            ("codec", self.codec.clone()),
        ];
        for (name, value) in attributes {
            if let Some(value) = value {
                writer.attribute(name, &value);
            }
        }
        if let Some(quality) = &self.quality {
            quality.write(writer);
        }
        writer.end();
    }
}

impl CallQuality {
    fn read(element: &Element) -> Result<CallQuality, Malformed> {
        let optional = |name: &str| {
            let text = element.attr(name);
            text.map(|text| parse_number(text, name).map(u64::from)).transpose()
        };
        let number = |name| Ok::<u64, Malformed>(optional(name)?.unwrap_or_default());
        Ok(CallQuality {
            received: number("received")?,
            lost: number("lost")?,
            late: number("late")?,
            rejected: number("rejected")?,
            sent: number("sent")?,
            sent_lost: optional("sent-lost")?,
            jitter_us: number("jitter-us")?,
            round_trip_us: optional("round-trip-us")?,
            mos: number("mos")?,
        })
    }

    fn write(&self, writer: &mut Writer) {
        writer.start(NAMESPACE, "quality");
        let attributes = [
            ("received", Some(self.received)),
            ("lost", Some(self.lost)),
            ("late", Some(self.late)),
            ("rejected", Some(self.rejected)),
            ("sent", Some(self.sent)),
            ("sent-lost", self.sent_lost),
            ("jitter-us", Some(self.jitter_us)),
            ("round-trip-us", self.round_trip_us),
            ("mos", Some(self.mos)),
        ];
        for (name, value) in attributes {
            if let Some(value) = value {
                writer.attribute(name, &value.min(u32::MAX.into()).to_string());
            }
        }
        writer.end();
    }
}

/// Behind this anything may stand: a reader of an older schema stops here.
pub(super) fn write_separator(writer: &mut Writer) {
    writer.start(SEPARATOR, "separator");
    writer.end();
}
