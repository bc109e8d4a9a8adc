//! STUN messages of connectivity checks, in the three dialects in the field: RFC 8489, MS-ICE2 (draft 19
//! of ICE) and MS-ICE (draft 6, in the format of RFC 3489).
//!
//! | | RFC 8445 | draft 19 | draft 6 |
//! |---|---|---|---|
//! | magic cookie | yes | yes | no, 16 free bytes |
//! | attributes | aligned to 4 bytes | not aligned | not aligned |
//! | length in the HMAC | as far as MESSAGE-INTEGRITY | of the whole message | as far as MESSAGE-INTEGRITY |
//! | text of the HMAC | as it is | filled up with zeros to 64 bytes | filled up with zeros to 64 bytes |
//! | FINGERPRINT | CRC-32 | CRC-32, or with one wrong entry in its table | none |

mod build;
mod crc;

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY},
};

use crate::session::IceDialect;
pub(crate) use build::Builder;

/// The longest message we build.
pub(crate) const MAX_MESSAGE: usize = 576;

const HEADER: usize = 20;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// HMAC-SHA1.
const INTEGRITY_LEN: usize = 20;
/// Into this the fingerprint is mixed (RFC 8489 §14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554e;
/// The only method of connectivity checks.
const BINDING: u16 = 1;

/// Attributes.
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const USE_CANDIDATE: u16 = 0x0025;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLED: u16 = 0x8029;
const ICE_CONTROLLING: u16 = 0x802a;
const CANDIDATE_IDENTIFIER: u16 = 0x8054;
const IMPLEMENTATION_VERSION: u16 = 0x8070;

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// A check.
    Request,
    /// A keep-alive that nobody answers.
    Indication,
    /// A check that was successful.
    Success,
    /// A check that was refused.
    Error,
}

/// Distinguishes a check and its answer: all that stands between length and attributes.
pub(crate) type Transaction = [u8; 16];

/// A message that is framed well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    bytes: &'a [u8],
    dialect: IceDialect,
    class: Class,
}

/// Whether a datagram may be a STUN message (RFC 7983).
pub(crate) fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram, [0..=3, ..])
}

impl<'a> Message<'a> {
    /// Reads a binding message in this dialect: any bytes at all. `None` if it is none, its attributes do
    /// not fill it exactly, or its fingerprint is wrong.
    pub fn read(dialect: IceDialect, bytes: &'a [u8]) -> Option<Message<'a>> {
        let header: &[u8; HEADER] = bytes.first_chunk()?;
        let kind = u16::from_be_bytes([header[0], header[1]]);
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let class = match kind & 0x0110 {
            0 => Class::Request,
            0x0010 => Class::Indication,
            0x0100 => Class::Success,
            _ => Class::Error,
        };
        let has_cookie = header[4..8] == COOKIE;
        if kind & !0x0110 != BINDING || HEADER + len != bytes.len() {
            return None;
        }
        if dialect != IceDialect::Draft6 && !has_cookie {
            return None;
        }
        let message = Message { bytes, dialect, class };
        let mut at = HEADER;
        while at < bytes.len() {
            at = message.value_at(at)?.1;
        }
        // A padded attribute may not reach beyond the message.
        (at == bytes.len() && message.has_right_fingerprint()).then_some(message)
    }

    /// What it is.
    pub fn class(&self) -> Class {
        self.class
    }

    /// What its answer repeats.
    pub fn transaction(&self) -> Transaction {
        *self.bytes[4..].first_chunk().expect("a header was read")
    }

    /// USERNAME, without the zeros that Microsoft's dialects fill it up with.
    pub fn username(&self) -> Option<&'a [u8]> {
        let name = self.find(USERNAME)?;
        let filled = name.iter().rev().take_while(|byte| **byte == 0).count();
        Some(&name[..name.len() - filled])
    }

    /// USERNAME as it stands there.
    pub fn whole_username(&self) -> Option<&'a [u8]> {
        self.find(USERNAME)
    }

    /// The priority of the sender's candidate, if he finds it to be a new one.
    pub fn priority(&self) -> Option<u32> {
        self.find(PRIORITY)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// Whether the controlling side wants the pair to be used.
    pub fn uses_candidate(&self) -> bool {
        self.find(USE_CANDIDATE).is_some()
    }

    /// Whether the sender is controlling, and his tie breaker; `None` if he does not say.
    pub fn role(&self) -> Option<(bool, u64)> {
        let number = |kind| self.find(kind)?.try_into().ok().map(u64::from_be_bytes);
        let controlling = number(ICE_CONTROLLING).map(|number| (true, number));
        controlling.or_else(|| number(ICE_CONTROLLED).map(|number| (false, number)))
    }

    /// Whether the sender says which of Microsoft's dialects he speaks; who does has the right table for
    /// FINGERPRINT.
    pub fn has_version(&self) -> bool {
        self.find(IMPLEMENTATION_VERSION).is_some()
    }

    /// The number of an error: 300 to 699.
    pub fn error(&self) -> Option<u16> {
        let value = self.find(ERROR_CODE)?;
        let (class, number) = (value.get(2)? & 7, *value.get(3)?);
        ((3..=6).contains(&class) && number < 100).then_some(u16::from(class) * 100 + u16::from(number))
    }

    /// Whether MESSAGE-INTEGRITY is there and made with this password.
    pub fn is_by(&self, password: &[u8]) -> bool {
        let Some((at, sent)) = self.place(MESSAGE_INTEGRITY) else { return false };
        if sent.len() != INTEGRITY_LEN || password.is_empty() {
            return false;
        }
        let whole = match self.dialect {
            IceDialect::Draft19 => self.bytes.len(),
            IceDialect::Draft6 | IceDialect::Rfc8445 => at + 4 + INTEGRITY_LEN,
        };
        let tag = integrity(self.dialect, &self.bytes[..at], whole, password);
        verify_slices_are_equal(tag.as_ref(), sent).is_ok()
    }

    fn has_right_fingerprint(&self) -> bool {
        let Some((at, sent)) = self.place(FINGERPRINT) else { return true };
        let is = |typo| sent == fingerprint(&self.bytes[..at], typo).to_be_bytes();
        match self.dialect {
            IceDialect::Draft6 => true,
            IceDialect::Rfc8445 => is(false),
            IceDialect::Draft19 => is(false) || (!self.has_version() && is(true)),
        }
    }

    fn find(&self, kind: u16) -> Option<&'a [u8]> {
        self.place(kind).map(|(_, value)| value)
    }

    /// Where an attribute begins, and its value. What stands behind MESSAGE-INTEGRITY is not protected
    /// by it and does not count, but FINGERPRINT (RFC 8489 §14.5).
    fn place(&self, kind: u16) -> Option<(usize, &'a [u8])> {
        let mut at = HEADER;
        let mut protected = true;
        while at < self.bytes.len() {
            let found = u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]);
            let (value, next) = self.value_at(at)?;
            if found == kind && (protected || kind == FINGERPRINT) {
                return Some((at, value));
            }
            protected &= found != MESSAGE_INTEGRITY;
            at = next;
        }
        None
    }

    /// The value of the attribute at `at`, and where the next begins.
    fn value_at(&self, at: usize) -> Option<(&'a [u8], usize)> {
        let header = self.bytes.get(at..at + 4)?;
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let value = self.bytes.get(at + 4..at + 4 + len)?;
        let next = at + 4 + if self.dialect == IceDialect::Rfc8445 { len.next_multiple_of(4) } else { len };
        Some((value, next))
    }
}

/// MESSAGE-INTEGRITY of a message whose first bytes are `text` and whose length, with header, is to be
/// thought as `whole`.
fn integrity(dialect: IceDialect, text: &[u8], whole: usize, password: &[u8]) -> hmac::Tag {
    const ZEROS: [u8; 64] = [0; 64];
    let key = hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, password);
    let mut context = hmac::Context::with_key(&key);
    context.update(&text[..2]);
    context.update(&((whole - HEADER) as u16).to_be_bytes());
    context.update(&text[4..]);
    if dialect != IceDialect::Rfc8445 {
        context.update(&ZEROS[..text.len().next_multiple_of(64) - text.len()]);
    }
    context.sign()
}

/// FINGERPRINT of what stands before it; with `typo`, as peers compute it that have one entry of the table
/// wrong (MS-ICE2 §3.1.4.8.2).
fn fingerprint(text: &[u8], typo: bool) -> u32 {
    crc::crc32(text, typo) ^ FINGERPRINT_XOR
}

#[cfg(test)]
mod tests;
