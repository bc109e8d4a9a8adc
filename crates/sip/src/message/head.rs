//! The head of a message as lines, before anything is known about them (RFC 3261 §7.3.1).

use std::borrow::Cow;

use memchr::{memchr_iter, memchr2, memmem};

use super::{headers::same_name, scan};

/// One header line, unfolded.
#[derive(Debug, PartialEq)]
pub(crate) struct HeaderLine<'a> {
    pub(crate) name: &'a str,
    pub(crate) value: Cow<'a, str>,
}

/// Where the head of the message at the start of `bytes` ends, the empty line included; `None` if
/// its end has not come. `from` is where an earlier search ended.
pub(crate) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    let from = from.saturating_sub(3);
    let at = memmem::find(bytes.get(from..)?, b"\r\n\r\n")?;
    Some(from + at + 4)
}

/// Where the first line of `bytes` ends, its line end not included.
pub(crate) fn line_end(bytes: &[u8]) -> Option<usize> {
    memchr_iter(b'\r', bytes).find(|at| bytes.get(at + 1) == Some(&b'\n'))
}

/// The first line of `head`, without its line end, and what follows.
pub(crate) fn start_line(head: &str) -> (&str, &str) {
    line_end(head.as_bytes()).map_or((head, ""), |end| (&head[..end], &head[end + 2..]))
}

/// The header lines in `lines`, what follows the start line; faulty ones as what is wrong with
/// them. Reading goes on behind a fault.
pub(crate) fn header_lines(lines: &str) -> impl Iterator<Item = Result<HeaderLine<'_>, &'static str>> {
    folded_lines(lines).map(|(line, folds)| header_line(line, &folds))
}

/// The values of the headers in `lines` that have this name, without those that are faulty.
pub(crate) fn values<'a>(lines: &'a str, name: &'a str) -> impl Iterator<Item = Cow<'a, str>> {
    let is_it = move |line: &str| {
        let named = line.split_once(':').map(|(named, _)| named.trim_end_matches([' ', '\t']));
        named.is_some_and(|named| same_name(named, name))
    };
    let of_it = folded_lines(lines).filter(move |(line, _)| is_it(line));
    of_it.filter_map(|(line, folds)| Some(header_line(line, &folds).ok()?.value))
}

/// The lines of headers, each with the lines on which it goes on.
fn folded_lines(lines: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    let mut rest = lines;
    std::iter::from_fn(move || {
        let (line, mut tail) = start_line(rest);
        if line.is_empty() {
            return None;
        }
        let mut folds = Vec::new();
        while tail.starts_with([' ', '\t']) {
            let (fold, after) = start_line(tail);
            folds.push(fold);
            tail = after;
        }
        rest = tail;
        Some((line, folds))
    })
}

fn header_line<'a>(line: &'a str, folds: &[&'a str]) -> Result<HeaderLine<'a>, &'static str> {
    if line.starts_with([' ', '\t']) {
        return Err("begins with a blank but continues no header");
    }
    let is_cut = |line: &str| memchr2(b'\r', b'\n', line.as_bytes()).is_some();
    if is_cut(line) || folds.iter().any(|fold| is_cut(fold)) {
        return Err("holds a carriage return or line feed that ends no line");
    }
    let (name, value) = line.split_once(':').ok_or("has no colon")?;
    let name = name.trim_end_matches([' ', '\t']);
    if !scan::is_token(name) {
        return Err("has a name that is not a token");
    }
    let value = scan::trim(value);
    let value = match folds {
        [] => Cow::Borrowed(value),
        // The usual fold: all of the value on the second line.
        [fold] if value.is_empty() => Cow::Borrowed(scan::trim(fold)),
        _ => {
            let mut unfolded = value.to_owned();
            for fold in folds {
                unfolded.push(' ');
                unfolded.push_str(scan::trim(fold));
            }
            Cow::Owned(scan::trim(&unfolded).to_owned())
        }
    };
    Ok(HeaderLine { name, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_end_also_across_searches() {
        assert_eq!(end(b"A: 1\r\n\r\nbody", 0), Some(8));
        assert_eq!(end(b"A: 1\r\n\r\nbody", 7), Some(8));
        assert_eq!(end(b"A: 1\r\n\r", 0), None);
        assert_eq!(end(b"", 9), None);
    }

    #[test]
    fn unfolds_and_names_faults() {
        let check = |lines: &str, expect: &[Result<(&str, &str), &str>]| {
            let read: Vec<_> = header_lines(lines).collect();
            let read: Vec<_> = read
                .iter()
                .map(|line| line.as_ref().map(|l| (l.name, l.value.as_ref())).map_err(|f| *f))
                .collect();
            assert_eq!(read, expect, "{lines:?}");
        };
        check("", &[]);
        check("A: 1\r\nb :2 \r\n", &[Ok(("A", "1")), Ok(("b", "2"))]);
        check("A:\r\n 1\r\nB: 1\r\n\t2\r\n 3\r\n", &[Ok(("A", "1")), Ok(("B", "1 2 3"))]);
        check("s :\r\nA:\r\n\r\n", &[Ok(("s", "")), Ok(("A", ""))]);
        check("x\r\nA: 1\r\n", &[Err("has no colon"), Ok(("A", "1"))]);
        check(" x\r\nA: 1", &[Err("begins with a blank but continues no header"), Ok(("A", "1"))]);
        check("A b: 1\r\n", &[Err("has a name that is not a token")]);
        check("A: 1\n2\r\n", &[Err("holds a carriage return or line feed that ends no line")]);
    }
}
