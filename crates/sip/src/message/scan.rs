//! The lexical pieces of header values: tokens, quoted strings, lists (RFC 3261 §7.3.1, §25.1).

use std::borrow::Cow;

/// Whether `text` is one or more token characters.
pub(crate) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_byte)
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte)
}

/// `text` without the blanks around it.
pub(crate) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The pieces of `text` between `separator`s that stand neither in a quoted string nor in angle
/// brackets, with the blanks around each taken off. There is always at least one.
pub(crate) fn split(text: &str, separator: u8) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = find(rest, separator) {
        pieces.push(trim(&rest[..at]));
        rest = &rest[at + 1..];
    }
    pieces.push(trim(rest));
    pieces
}

/// Where the ASCII character `wanted` first stands outside quoted strings and angle brackets.
///
/// A quotation mark or bracket that is never closed reaches to the end. To find a bracket, ask for
/// it: it is compared before it opens.
pub(crate) fn find(text: &str, wanted: u8) -> Option<usize> {
    let mut quoted = false;
    let mut bracketed = false;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' if quoted => {
                bytes.next();
            }
            b'"' => quoted = !quoted,
            _ if quoted => {}
            _ if byte == wanted && !bracketed => return Some(at),
            b'<' => bracketed = true,
            b'>' => bracketed = false,
            _ => {}
        }
    }
    None
}

/// The length of the quoted string `text` begins with, both quotation marks counted; `None` if it
/// does not begin with one or the string is not closed.
pub(crate) fn quoted_len(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate();
    if bytes.next() != Some((0, b'"')) {
        return None;
    }
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Whether `text` is exactly one quoted string.
pub(crate) fn is_quoted(text: &str) -> bool {
    quoted_len(text) == Some(text.len())
}

/// What a quoted string means: without its marks and with each escape resolved. Text that is not
/// one quoted string is returned as it is.
pub(crate) fn unquote(text: &str) -> Cow<'_, str> {
    if !is_quoted(text) {
        return Cow::Borrowed(text);
    }
    let inner = &text[1..text.len() - 1];
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(char) = chars.next() {
        plain.extend(if char == '\\' { chars.next() } else { Some(char) });
    }
    Cow::Owned(plain)
}

/// `text` as a quoted string.
pub(crate) fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        if matches!(char, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(char);
    }
    quoted.push('"');
    quoted
}

/// A number of digits only, leading zeros allowed (`0068`); `None` if it is anything else or
/// greater than a `u64`.
pub(crate) fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_outside_quotes_and_brackets() {
        let check = |text: &str, expect: &[&str]| assert_eq!(split(text, b','), expect, "{text}");
        check("", &[""]);
        check("a, b ,c", &["a", "b", "c"]);
        check(r#""x, \", y" <sip:a@b;m=1,2>, <sip:c@d>"#, &[r#""x, \", y" <sip:a@b;m=1,2>"#, "<sip:c@d>"]);
        check(r#"a, "open, b"#, &["a", r#""open, b"#]);
        check("a,,", &["a", "", ""]);
    }

    #[test]
    fn quotes_and_unquotes() {
        let check = |text: &str, expect: &str| assert_eq!(unquote(text), expect, "{text}");
        check(r#""plain""#, "plain");
        check(r#""a \"b\" \\c""#, r#"a "b" \c"#);
        check(r#""open"#, r#""open"#);
        check(r#""open\""#, r#""open\""#);
        check(r#""two" "strings""#, r#""two" "strings""#);
        check("token", "token");
        assert_eq!(unquote(&quote(r#"a "b" \c"#)), r#"a "b" \c"#);
    }

    #[test]
    fn numbers_are_digits_only() {
        let check = |text: &str, expect: Option<u64>| assert_eq!(number(text), expect, "{text}");
        check("0068", Some(68));
        check("", None);
        check("+1", None);
        check("-999", None);
        check("36893488147419103232", None);
    }
}
