//! Writing messages, each attribute in the dialect's own way.

use std::net::{IpAddr, SocketAddr};

use super::{
    BINDING, CANDIDATE_IDENTIFIER, COOKIE, Class, ERROR_CODE, FINGERPRINT, HEADER, ICE_CONTROLLED,
    ICE_CONTROLLING, IMPLEMENTATION_VERSION, INTEGRITY_LEN, MAX_MESSAGE, MESSAGE_INTEGRITY, PRIORITY,
    Transaction, USE_CANDIDATE, USERNAME, XOR_MAPPED_ADDRESS, fingerprint, integrity,
};
use crate::session::IceDialect;

/// MS-ICE2, in IMPLEMENTATION-VERSION.
const VERSION: u32 = 2;

/// A message that grows. What has no room is left out, which only a user name far beyond RFC 8445's
/// limit of 256 characters brings about.
#[derive(Debug)]
pub(crate) struct Builder {
    bytes: [u8; MAX_MESSAGE],
    len: usize,
    dialect: IceDialect,
}

impl Builder {
    /// A message without attributes.
    pub fn new(dialect: IceDialect, class: Class, transaction: &Transaction) -> Builder {
        let kind = BINDING
            | match class {
                Class::Request => 0,
                Class::Indication => 0x0010,
                Class::Success => 0x0100,
                Class::Error => 0x0110,
            };
        let mut bytes = [0; MAX_MESSAGE];
        bytes[..2].copy_from_slice(&kind.to_be_bytes());
        bytes[4..HEADER].copy_from_slice(transaction);
        Builder { bytes, len: HEADER, dialect }
    }

    /// The transaction of a new check, of random bytes.
    pub fn transaction(dialect: IceDialect, mut random: Transaction) -> Transaction {
        if dialect == IceDialect::Draft6 {
            // Not by chance the cookie of the other dialects.
            random[0] |= 0x80;
        } else {
            random[..4].copy_from_slice(&COOKIE);
        }
        random
    }

    /// USERNAME. Microsoft's dialects want it filled up to whole words.
    pub fn username(&mut self, name: &[u8]) {
        self.attribute(USERNAME, name);
    }

    /// PRIORITY.
    pub fn priority(&mut self, priority: u32) {
        self.attribute(PRIORITY, &priority.to_be_bytes());
    }

    /// USE-CANDIDATE.
    pub fn use_candidate(&mut self) {
        self.attribute(USE_CANDIDATE, &[]);
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub fn role(&mut self, controlling: bool, tie_breaker: u64) {
        let kind = if controlling { ICE_CONTROLLING } else { ICE_CONTROLLED };
        self.attribute(kind, &tie_breaker.to_be_bytes());
    }

    /// CANDIDATE-IDENTIFIER: the foundation of our candidate, filled up with zeros to whole words.
    pub fn candidate_identifier(&mut self, foundation: &str) {
        let mut value = [0; 64];
        let len = foundation.len().min(value.len());
        value[..len].copy_from_slice(&foundation.as_bytes()[..len]);
        self.attribute(CANDIDATE_IDENTIFIER, &value[..len.next_multiple_of(4)]);
    }

    /// IMPLEMENTATION-VERSION.
    pub fn version(&mut self) {
        self.attribute(IMPLEMENTATION_VERSION, &VERSION.to_be_bytes());
    }

    /// XOR-MAPPED-ADDRESS. In draft 6, too, it is mixed with the first bytes of the transaction.
    pub fn mapped_address(&mut self, address: SocketAddr) {
        let mut value = [0; 20];
        value[2..4].copy_from_slice(&address.port().to_be_bytes());
        let len = match address.ip() {
            IpAddr::V4(ip) => {
                value[1] = 1;
                value[4..8].copy_from_slice(&ip.octets());
                8
            }
            IpAddr::V6(ip) => {
                value[1] = 2;
                value[4..20].copy_from_slice(&ip.octets());
                20
            }
        };
        let mask: Transaction = *self.bytes[4..].first_chunk().expect("a header was written");
        (0..2).for_each(|at| value[2 + at] ^= mask[at]);
        (4..len).for_each(|at| value[at] ^= mask[at - 4]);
        self.attribute(XOR_MAPPED_ADDRESS, &value[..len]);
    }

    /// ERROR-CODE with a reason, whose length is best a multiple of 4.
    pub fn error(&mut self, code: u16, reason: &str) {
        let mut value = [0; 4 + 32];
        let len = reason.len().min(32);
        value[2] = (code / 100) as u8;
        value[3] = (code % 100) as u8;
        value[4..4 + len].copy_from_slice(&reason.as_bytes()[..len]);
        self.attribute(ERROR_CODE, &value[..4 + len]);
    }

    /// The whole message, with MESSAGE-INTEGRITY by `password` and with FINGERPRINT where the dialect has
    /// one; with `typo`, as peers compute it that have one entry of the table wrong.
    pub fn finish(&mut self, password: &[u8], typo: bool) -> &[u8] {
        let text = self.len;
        let fingerprint_len = if self.dialect == IceDialect::Draft6 { 0 } else { 8 };
        let protected = text + 4 + INTEGRITY_LEN;
        let whole = match self.dialect {
            IceDialect::Draft19 => protected + fingerprint_len,
            IceDialect::Draft6 | IceDialect::Rfc8445 => protected,
        };
        let tag = integrity(self.dialect, &self.bytes[..text], whole, password);
        self.put(MESSAGE_INTEGRITY, tag.as_ref());
        let len = (self.len + fingerprint_len - HEADER) as u16;
        self.bytes[2..4].copy_from_slice(&len.to_be_bytes());
        if fingerprint_len > 0 {
            let sum = fingerprint(&self.bytes[..self.len], typo);
            self.put(FINGERPRINT, &sum.to_be_bytes());
        }
        let end = std::mem::replace(&mut self.len, text);
        &self.bytes[..end]
    }

    /// Appends an attribute, leaving room for those that come last.
    fn attribute(&mut self, kind: u16, value: &[u8]) {
        const LAST: usize = 4 + INTEGRITY_LEN + 8;
        if self.len + 4 + value.len().next_multiple_of(4) + LAST <= MAX_MESSAGE {
            self.put(kind, value);
        }
    }

    fn put(&mut self, kind: u16, value: &[u8]) {
        let at = self.len;
        self.bytes[at..at + 2].copy_from_slice(&kind.to_be_bytes());
        self.bytes[at + 2..at + 4].copy_from_slice(&(value.len() as u16).to_be_bytes());
        self.bytes[at + 4..at + 4 + value.len()].copy_from_slice(value);
        self.len = at + 4 + value.len();
        if self.dialect == IceDialect::Rfc8445 {
            let end = self.len.next_multiple_of(4);
            self.bytes[self.len..end].fill(0);
            self.len = end;
        }
    }
}
