//! Placeholders for what a saved flow must not tell: the same thing has the same one throughout, and it
//! has the form of what it stands for.

use std::collections::BTreeMap;

use confab_schema::xml::Element;
use serde_json::Value;

/// Names and texts of people.
const TEXTS: [&str; 4] = ["display_name", "display_text", "subject", "description"];
/// What only its owners know.
const SECRETS: [&str; 5] = ["handover", "key", "conference_key", "password", "pin"];
/// What clients put in for each other.
const OPAQUE: [&str; 4] = ["notification_data", "organizer_data", "element", "whole"];
/// Of its URL the last part is unguessable.
const CONTROL_URL: &str = "control_url";

/// Replaces everything personal in `value`.
pub(super) fn put_in(value: &mut Value) {
    let mut book = Book::default();
    walk(value, "", &mut book);
}

#[derive(Default)]
struct Book(BTreeMap<(&'static str, String), usize>);

impl Book {
    /// The number of `what` among its kind.
    fn number(&mut self, kind: &'static str, what: &str) -> usize {
        let next = self.0.keys().filter(|(of, _)| *of == kind).count() + 1;
        *self.0.entry((kind, what.to_owned())).or_insert(next)
    }
}

fn walk(value: &mut Value, key: &str, book: &mut Book) {
    match value {
        Value::Object(fields) => {
            let was = std::mem::take(fields);
            // People are keys too, and may be reached by phone.
            fields.extend(was.into_iter().map(|(name, mut field)| {
                walk(&mut field, &name, book);
                (without_phone(&name, book), field)
            }));
        }
        // Sealed, and still nobody's business.
        Value::Array(bytes) if SECRETS.contains(&key) => bytes.clear(),
        Value::Array(elements) => {
            for element in elements {
                walk(element, key, book);
            }
        }
        Value::String(text) if !text.is_empty() => *text = placeholder(text, key, book),
        _ => {}
    }
}

fn placeholder(text: &str, key: &str, book: &mut Book) -> String {
    if TEXTS.contains(&key) {
        return format!("Name {}", book.number("name", text));
    }
    if SECRETS.contains(&key) {
        return format!("secret{}", book.number("secret", text));
    }
    if OPAQUE.contains(&key) {
        let element = Element { name: "placeholder".into(), ..Element::default() };
        let written = serde_json::to_value(element).ok();
        return written.and_then(|written| written.as_str().map(str::to_owned)).unwrap_or_default();
    }
    if key == CONTROL_URL {
        let number = book.number("secret", text);
        return text.rsplit_once('/').map_or(String::new(), |(place, _)| format!("{place}/secret{number}"));
    }
    without_phone(text, book)
}

/// An address that is a phone number gets another number, with as many digits.
fn without_phone(text: &str, book: &mut Book) -> String {
    let address = text.split_once(':').filter(|(scheme, _)| matches!(*scheme, "tel" | "sip" | "sips"));
    let Some((scheme, rest)) = address else { return text.to_owned() };
    let end = rest.find(['@', ';']).unwrap_or(rest.len());
    let (number, others) = rest.split_at(end);
    let digits = number.chars().filter(char::is_ascii_digit).count();
    let is_number = digits >= 3 && number.chars().all(|char| char.is_ascii_digit() || "+-.()".contains(char));
    if !is_number {
        return text.to_owned();
    }
    let plus = if number.starts_with('+') { "+" } else { "" };
    let stands_for: String = number.chars().filter(char::is_ascii_digit).collect();
    format!("{scheme}:{plus}{:0digits$}{others}", book.number("phone", &stands_for))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_thing_has_the_same_placeholder_and_its_form() {
        let mut value = json!({
            "display_name": "Ann",
            "people": { "sip:+14255550123@example.test;user=phone": { "display_text": "Ann" } },
            "called": ["tel:+1-425-555-0123", "sip:bob@example.test", "tel:911"],
            "display_text": ["Bob", ""],
            "handover": "{\"dialog\":1}",
            "conference_key": [1, 2, 254],
            "control_url": "http://immcu.inproc/LiveServer/IMMCU/0123456789abcdef",
            "when": 7,
        });
        put_in(&mut value);
        let expect = json!({
            "display_name": "Name 1",
            "people": { "sip:+00000000001@example.test;user=phone": { "display_text": "Name 1" } },
            "called": ["tel:+00000000001", "sip:bob@example.test", "tel:002"],
            "display_text": ["Name 2", ""],
            "handover": "secret2",
            "conference_key": [],
            "control_url": "http://immcu.inproc/LiveServer/IMMCU/secret1",
            "when": 7,
        });
        assert_eq!(value, expect);
    }
}
