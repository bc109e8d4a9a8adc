//! Enumerations whose values are words in a document.

/// Defines an enumeration with `as_str()`, which is the word in the document, and `parse()`, which
/// reads it in any case and yields `None` for other words.
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $value:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$doc])* $value,)*
        }

        impl $name {
            /// The word in the document.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$value => $word,)*
                }
            }

            /// Reads the word, in any case; `None` for words that are not known.
            pub fn parse(word: &str) -> Option<$name> {
                [$($name::$value),*].into_iter().find(|value| value.as_str().eq_ignore_ascii_case(word.trim()))
            }
        }
    };
}
