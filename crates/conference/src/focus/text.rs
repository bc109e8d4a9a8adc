//! A document in a saved flow: as text, which a person can read.

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(super) fn serialize<S: Serializer>(document: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    String::from_utf8_lossy(document).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    String::deserialize(deserializer).map(Bytes::from)
}
