//! One Rust source, told apart into code, comments, strings and tests. It knows the tokens of Rust
//! that can hide others (strings, characters, comments) and counts braces; it does not parse.

use std::ops::Range;

/// A source file. All texts have the length and the lines of the file; what does not belong is
/// blank.
pub struct Source {
    /// Where it is, from the repository's root.
    pub path: String,
    /// As it is.
    pub text: String,
    /// Without comments, strings and characters.
    pub code: String,
    /// The insides of strings, nothing else.
    pub strings: String,
    /// Comments, nothing else.
    pub comments: String,
    /// Whether all of it is test code.
    pub is_test: bool,
    tests: Vec<Range<usize>>,
}

/// What a byte of a source belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Code,
    Comment,
    String,
    /// A quotation mark, its prefix, or a character: neither code nor string.
    Quote,
}

impl Source {
    /// The source at `path`.
    pub fn new(path: &str, text: String) -> Source {
        let kinds = kinds(text.as_bytes());
        let only = |wanted: Kind| -> String {
            let keep = |(index, byte): (usize, u8)| match byte {
                b'\n' => b'\n',
                byte if kinds[index] == wanted && byte.is_ascii() => byte,
                _ => b' ',
            };
            text.bytes().enumerate().map(keep).map(char::from).collect()
        };
        let code = only(Kind::Code);
        let (strings, comments) = (only(Kind::String), only(Kind::Comment));
        let is_test = path.contains("/tests/") || path.contains("/benches/");
        let tests = test_items(&code);
        Source { path: path.to_owned(), text, code, strings, comments, is_test, tests }
    }

    /// `code` without tests.
    pub fn production_code(&self) -> String {
        self.without_tests(&self.code)
    }

    /// `strings` without tests.
    pub fn production_strings(&self) -> String {
        self.without_tests(&self.strings)
    }

    /// `code` of tests only.
    pub fn test_code(&self) -> String {
        let production = self.production_code();
        let pairs = self.code.chars().zip(production.chars());
        pairs.map(|(all, production)| if all == production && all != '\n' { ' ' } else { all }).collect()
    }

    fn without_tests(&self, text: &str) -> String {
        let blank = |(index, char): (usize, char)| {
            let test = self.is_test || self.tests.iter().any(|range| range.contains(&index));
            if test && char != '\n' { ' ' } else { char }
        };
        // All of these texts are ASCII, so an index of a character is one of a byte.
        text.chars().enumerate().map(blank).collect()
    }

    /// The files that this one declares as test modules.
    pub fn test_files(&self) -> Vec<String> {
        let base = ["lib.rs", "main.rs"].iter().find_map(|name| self.path.strip_suffix(&format!("/{name}")));
        let base = base.unwrap_or_else(|| self.path.trim_end_matches(".rs"));
        let declared = self.tests.iter().filter_map(|range| {
            let item = self.code[range.clone()].trim_end().strip_suffix(';')?;
            Some(format!("{base}/{}.rs", item.rsplit_once("mod ")?.1))
        });
        declared.collect()
    }

    /// Its functions with a body: name, first line and number of lines.
    pub fn functions(&self) -> Vec<(String, usize, usize)> {
        let mut functions = Vec::new();
        for (at, _) in self.code.match_indices("fn ") {
            if self.code[..at].ends_with(is_word) {
                continue;
            }
            let name: String = self.code[at + 3..].chars().take_while(|char| is_word(*char)).collect();
            let Some(end) = item_end(&self.code, at) else { continue };
            if !name.is_empty() && self.code[..end].ends_with('}') {
                functions.push((name, line(&self.code, at), self.code[at..end].lines().count()));
            }
        }
        functions
    }

    /// The lines of `text` (one of this source's) that hold one of `words`, as `path:line: word`.
    pub fn lines_with(&self, text: &str, words: &[&str]) -> Vec<String> {
        let lines = text.lines().enumerate();
        let hits = lines.flat_map(|(number, line)| {
            let held = words.iter().filter(move |word| line.contains(**word));
            held.map(move |word| format!("{}:{}: {word}", self.path, number + 1))
        });
        hits.collect()
    }
}

/// Whether `char` can be within a name.
pub fn is_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

/// The number of the line that holds the byte `at`.
pub fn line(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// The byte after the item that begins at `at`: after its closing brace, or its semicolon.
fn item_end(code: &str, at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, byte) in code[at..].bytes().enumerate() {
        match byte {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 && byte == b'}' {
                    return Some(at + offset + 1);
                }
            }
            b';' if depth == 0 => return Some(at + offset + 1),
            _ => {}
        }
    }
    None
}

/// The items that are compiled for tests only.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let attributes = code.match_indices("#[cfg(test)]");
    attributes.filter_map(|(at, attribute)| Some(at..item_end(code, at + attribute.len())?)).collect()
}

/// What each byte of `text` belongs to.
fn kinds(text: &[u8]) -> Vec<Kind> {
    let mut kinds = Vec::with_capacity(text.len());
    while kinds.len() < text.len() {
        let at = kinds.len();
        let rest = &text[at..];
        let within_name = at > 0 && is_word(char::from(text[at - 1]));
        if rest.starts_with(b"//") {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            kinds.resize(at + end, Kind::Comment);
        } else if rest.starts_with(b"/*") {
            kinds.resize(at + block_comment(rest), Kind::Comment);
        } else if let Some(hashes) = raw_string(rest).filter(|_| !within_name) {
            let open =
                rest.iter().position(|byte| *byte == b'"').expect("a raw string has a quotation mark") + 1;
            let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
            let inside = find(&rest[open..], &close).unwrap_or(rest.len() - open);
            kinds.resize(at + open, Kind::Quote);
            kinds.resize(at + open + inside, Kind::String);
            kinds.resize((at + open + inside + close.len()).min(text.len()), Kind::Quote);
        } else if rest[0] == b'"' {
            let inside = quoted(&rest[1..], b'"');
            kinds.push(Kind::Quote);
            kinds.resize(at + 1 + inside, Kind::String);
            kinds.resize((at + 2 + inside).min(text.len()), Kind::Quote);
        } else if let Some(length) = character(rest) {
            kinds.resize(at + length, Kind::Quote);
        } else {
            kinds.push(Kind::Code);
        }
    }
    kinds
}

/// The length of the block comment that `text` begins with; they nest.
fn block_comment(text: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at < text.len() {
        if text[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// The number of hashes of the raw string that `text` begins with.
fn raw_string(text: &[u8]) -> Option<usize> {
    let rest = text.strip_prefix(b"br").or_else(|| text.strip_prefix(b"r"))?;
    let hashes = rest.iter().take_while(|byte| **byte == b'#').count();
    (rest.get(hashes) == Some(&b'"')).then_some(hashes)
}

/// How many bytes stand before the closing `mark`.
fn quoted(text: &[u8], mark: u8) -> usize {
    let mut at = 0;
    while at < text.len() && text[at] != mark {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at.min(text.len())
}

/// The length of the character literal that `text` begins with; a lifetime is none.
fn character(text: &[u8]) -> Option<usize> {
    let inside = text.strip_prefix(b"'")?;
    if inside.first() == Some(&b'\\') {
        return Some(2 + quoted(inside, b'\''));
    }
    let length =
        str::from_utf8(&inside[..inside.len().min(4)]).map_or_else(|error| error.valid_up_to(), str::len);
    let first = str::from_utf8(&inside[..length]).ok()?.chars().next()?.len_utf8();
    (inside.get(first) == Some(&b'\'')).then_some(first + 2)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

#[test]
fn tells_code_from_what_hides_in_it() {
    let text = "fn a<'x>(c: &'x str) { // \"no\n let q = '\"'; let s = \"{\\\"//\"; let r = r#\"}\"x\"#; }\n\
                #[cfg(test)]\nmod tests { fn b() {} }\n#[cfg(test)]\nmod other;\n";
    let source = Source::new("crates/x/src/lib.rs", text.to_owned());
    assert_eq!(source.functions(), [("a".to_owned(), 1, 2), ("b".to_owned(), 4, 1)]);
    assert_eq!(source.strings.split_whitespace().collect::<Vec<_>>(), ["{\\\"//", "}\"x"]);
    assert_eq!(source.comments.trim(), "// \"no");
    assert!(!source.production_code().contains("mod tests"));
    assert!(source.test_code().contains("fn b()"));
    assert!(!source.test_code().contains("fn a"));
    assert_eq!(source.test_files(), ["crates/x/src/other.rs"]);
}
