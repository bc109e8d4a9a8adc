//! Text that shares the memory of the message it was read from.

use std::{
    borrow::{Borrow, Cow},
    cmp::Ordering,
    fmt, hash,
    ops::Deref,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A piece of UTF-8 text. Cloning it and taking a part of it copy no characters.
///
/// All values read from one message share one copy of its head, so a `Text` that is kept keeps
/// that head (some kilobytes) alive; [`Text::detached`] frees it.
#[derive(Clone)]
pub struct Text {
    whole: Whole,
    /// Half as wide as a length can be, for a dialog keeps many of these.
    start: u32,
    end: u32,
}

/// What a text is a part of.
#[derive(Clone)]
enum Whole {
    /// Words of the program, such as the names of headers: most of what a message is made of.
    Fixed(&'static str),
    Shared(Arc<str>),
}

impl Deref for Whole {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Whole::Fixed(whole) => whole,
            Whole::Shared(whole) => whole,
        }
    }
}

impl Text {
    /// A word of the program, which takes no memory.
    pub const fn fixed(text: &'static str) -> Text {
        Text { whole: Whole::Fixed(text), start: 0, end: text.len() as u32 }
    }

    /// The characters.
    pub fn as_str(&self) -> &str {
        &self.whole[self.start as usize..self.end as usize]
    }

    /// `part` as a text of its own. It shares memory if `part` was sliced from this text, and is
    /// copied otherwise.
    pub fn part(&self, part: &str) -> Text {
        let offset = (part.as_ptr() as usize).wrapping_sub(self.whole.as_ptr() as usize);
        let end = offset.wrapping_add(part.len());
        if self.start as usize <= offset && offset <= end && end <= self.end as usize {
            Text { whole: self.whole.clone(), start: length(offset), end: length(end) }
        } else {
            Text::from(part)
        }
    }

    /// These texts side by side in one piece of memory: what is used together is found together.
    pub fn packed<const N: usize>(texts: [&str; N]) -> [Text; N] {
        let whole = Text::from(texts.concat());
        let mut end = 0;
        texts.map(|text| {
            let start = end;
            end += text.len();
            whole.part(&whole[start..end])
        })
    }

    /// The same characters in memory of their own, for what outlives its message.
    pub fn detached(&self) -> Text {
        Text::from(self.as_str())
    }
}

/// How long a text is, or where in another it begins.
fn length(length: usize) -> u32 {
    u32::try_from(length).expect("no message is taken that is longer than four gigabytes")
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Text {
        Text { whole: Whole::Shared(Arc::from(text)), start: 0, end: length(text.len()) }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Text {
        Text { end: length(text.len()), whole: Whole::Shared(Arc::from(text)), start: 0 }
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Text {
        Text::from(text.as_str())
    }
}

impl From<Cow<'_, str>> for Text {
    fn from(text: Cow<'_, str>) -> Text {
        match text {
            Cow::Borrowed(text) => Text::from(text),
            Cow::Owned(text) => Text::from(text),
        }
    }
}

impl From<&Text> for Text {
    fn from(text: &Text) -> Text {
        text.clone()
    }
}

impl Default for Text {
    fn default() -> Text {
        Text::fixed("")
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text {}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Text) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Text) -> Ordering {
        self.as_str().cmp(other)
    }
}

impl hash::Hash for Text {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        String::deserialize(deserializer).map(Text::from)
    }
}

/// Serializes a type as its `Display` form and reads it back with `FromStr`.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use serde_as_text;

#[cfg(test)]
mod tests {
    use super::*;

    fn share(one: &Text, two: &Text) -> bool {
        std::ptr::eq(one.whole.as_ptr(), two.whole.as_ptr())
    }

    #[test]
    fn words_of_the_program_take_no_memory() {
        const VIA: Text = Text::fixed("Via");
        assert_eq!((VIA, Text::from("Via").cmp(&VIA)), (Text::from("Via"), Ordering::Equal));
        let part = VIA.part(&VIA[1..]);
        assert!(share(&VIA, &part) && part == "ia");
    }

    #[test]
    fn packed_texts_share_memory() {
        let [one, none, two] = Text::packed(["one", "", "two"]);
        assert_eq!((one.as_str(), none.as_str(), two.as_str()), ("one", "", "two"));
        assert!(share(&one, &two));
    }

    #[test]
    fn parts_share_memory_and_strangers_are_copied() {
        let whole = Text::from("From: sip:ann@example.test");
        let value = whole.part(&whole[6..]);
        assert_eq!(value, "sip:ann@example.test");
        assert!(share(&whole, &value));
        let host = value.part(&value[8..]);
        assert_eq!((host.as_str(), host.start), ("example.test", 14));
        assert!(!share(&whole, &host.detached()));
        let stranger = value.part("sip:bob@example.test");
        assert!(!share(&whole, &stranger));
        assert_eq!(value.part(""), "");
        // Outside of the part, though inside of what it shares: copied, still right.
        assert_eq!(value.part(&whole[..4]), "From");
    }
}
