//! "Somebody is typing": the `KeyboardActivity` document of OCS clients, sent by INFO, and its
//! successor `urn:ietf:params:xml:ns:im-iscomposing` (RFC 3994), sent by MESSAGE.

use bytes::Bytes;

use crate::xml::{Element, Malformed, Writer, quoted};

/// The media type of a `KeyboardActivity`, which has no namespace.
pub const KEYBOARD_ACTIVITY: &str = "application/xml";
/// The media type of an `isComposing`.
pub const IS_COMPOSING: &str = "application/im-iscomposing+xml";

/// Prints a `KeyboardActivity`: the sender types, or has stopped.
pub fn keyboard_activity(typing: bool) -> Bytes {
    let mut writer = Writer::new();
    writer.start("", "KeyboardActivity");
    writer.start("", "status");
    writer.attribute("status", if typing { "type" } else { "idle" });
    writer.finish()
}

/// Reads either document: whether the sender types. Words that are not known mean that he does not.
///
/// # Errors
/// If it is neither.
pub fn parse(document: &[u8]) -> Result<bool, Malformed> {
    let root = Element::parse(document)?;
    match root.name.as_str() {
        "KeyboardActivity" => {
            let status = root.any_child("status").and_then(|status| status.attr("status"));
            Ok(status.is_some_and(|word| word.eq_ignore_ascii_case("type")))
        }
        "isComposing" => {
            let state = root.any_child("state").map(Element::text).unwrap_or_default();
            Ok(state.eq_ignore_ascii_case("active"))
        }
        other => Err(Malformed::new(format!("{} does not say whether somebody types.", quoted(other)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_documents() {
        let check = |document: &[u8], expect: Option<bool>| assert_eq!(parse(document).ok(), expect);
        check(&keyboard_activity(true), Some(true));
        check(&keyboard_activity(false), Some(false));
        check(
            b"<?xml version='1.0'?><KeyboardActivity> <status status='type' /></KeyboardActivity>",
            Some(true),
        );
        let composing = |state: &str| {
            let ns = "urn:ietf:params:xml:ns:im-iscomposing";
            Element::new(ns, "isComposing").with_child(Element::new(ns, "state").with_text(state)).to_bytes()
        };
        check(&composing("active"), Some(true));
        check(&composing("idle"), Some(false));
        check(b"<a/>", None);
    }
}
