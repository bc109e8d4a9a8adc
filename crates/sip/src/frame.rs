//! Finding messages in a stream of bytes, by Content-Length (RFC 3261 §18.3, RFC 5626 §4.4.1).

use std::borrow::Cow;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr_iter;

use crate::message::{MAX_START_LINE, head, parse::content_length};

/// A decoder of one connection's bytes. It holds at most one unfinished message.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    max_message: usize,
    /// Whether the first line of the message at hand has been seen to be one of SIP.
    start_checked: bool,
    /// How far the search for the end of the head has come.
    searched: usize,
    /// Head and body of the message at hand, once its head is complete.
    expected: Option<usize>,
    /// A single line end was just told as a pong; a second one makes both a ping.
    half_ping: bool,
    failed: Option<FrameError>,
}

/// What a stream consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One message, for [`crate::Message::parse`].
    Message(Bytes),
    /// Two line ends: a sign of life, which a peer of RFC 5626 wants answered by one line end.
    KeepAlive,
    /// One line end: the answer to a keep-alive. When the two of a keep-alive arrive apart, the
    /// first is told as this, before the keep-alive.
    Pong,
}

/// Why a stream is of no more use. The connection must be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Someone speaks HTTP to us: a browser that was led here by a foreign page.
    #[error("the peer speaks HTTP")]
    Http,
    /// The first line is not of SIP.
    #[error("the peer does not speak SIP")]
    NotSip,
    /// A message that is longer than we take.
    #[error("a message is longer than {max} bytes")]
    TooLong {
        /// The longest we take.
        max: usize,
        /// Its head, if that was complete, for a refusal with 513.
        head: Option<Bytes>,
    },
    /// Content-Length is missing, no number, or there twice with different values.
    #[error("a message does not tell the length of its body")]
    NoLength {
        /// Its head, for a refusal with 400.
        head: Bytes,
    },
}

impl Framer {
    /// A decoder that refuses messages of more than `max_message` bytes.
    pub fn new(max_message: usize) -> Framer {
        Framer {
            buffer: BytesMut::new(),
            max_message,
            start_checked: false,
            searched: 0,
            expected: None,
            half_ping: false,
            failed: None,
        }
    }

    /// Takes bytes in, as they came. Call [`Framer::next`] until it yields nothing before more
    /// are pushed: that keeps what is held within the limit and one read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next thing in the stream, or `None` until more bytes come.
    ///
    /// # Errors
    /// When the stream cannot be read on; from then on always the same.
    #[expect(
        clippy::should_implement_trait,
        reason = "unlike an iterator it goes on after None, and its errors are final"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        self.advance().inspect_err(|error| {
            self.failed = Some(error.clone());
            self.buffer = BytesMut::new();
        })
    }

    /// How many bytes of an unfinished message are held.
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Whether a message has begun that is not complete.
    pub fn is_within_message(&self) -> bool {
        !self.buffer.is_empty()
    }

    fn advance(&mut self) -> Result<Option<Frame>, FrameError> {
        if self.expected.is_none() {
            if let Some(frame) = self.line_ends() {
                return Ok(Some(frame));
            }
            if matches!(self.buffer[..], [] | [b'\r'] | [b'\r', b'\n', b'\r']) {
                return Ok(None);
            }
            self.check_start()?;
            self.expected = self.find_length()?;
        }
        let Some(expected) = self.expected.filter(|expected| *expected <= self.buffer.len()) else {
            return Ok(None);
        };
        self.expected = None;
        self.searched = 0;
        self.start_checked = false;
        Ok(Some(Frame::Message(self.buffer.split_to(expected).freeze())))
    }

    /// Takes line ends from before a message.
    fn line_ends(&mut self) -> Option<Frame> {
        if self.buffer.starts_with(b"\r\n\r\n") {
            self.half_ping = false;
            self.buffer.advance(4);
            return Some(Frame::KeepAlive);
        }
        if self.buffer.starts_with(b"\r\n") && self.buffer[2..] != b"\r"[..] {
            self.buffer.advance(2);
            self.half_ping = !self.half_ping;
            return Some(if self.half_ping { Frame::Pong } else { Frame::KeepAlive });
        }
        if !self.buffer.is_empty() && self.buffer[0] != b'\r' {
            self.half_ping = false;
        }
        None
    }

    /// Refuses what is plainly not SIP as soon as its first line is there.
    fn check_start(&mut self) -> Result<(), FrameError> {
        if self.start_checked {
            return Ok(());
        }
        let start = &self.buffer[..self.buffer.len().min(MAX_START_LINE + 2)];
        let Some(end) = head::line_end(start) else {
            let too_long = start.len() > MAX_START_LINE;
            return if too_long { Err(FrameError::NotSip) } else { Ok(()) };
        };
        let words = memchr_iter(b'/', &start[..end]).map(|slash| &start[..slash]);
        let has = |name: &[u8]| words.clone().any(|word| ends_in(word, name));
        match (has(b"SIP"), has(b"HTTP")) {
            (false, true) => Err(FrameError::Http),
            (false, false) => Err(FrameError::NotSip),
            _ => {
                self.start_checked = true;
                Ok(())
            }
        }
    }

    /// The length of head and body, once the head is complete.
    fn find_length(&mut self) -> Result<Option<usize>, FrameError> {
        let max = self.max_message;
        let Some(end) = head::end(&self.buffer, self.searched) else {
            self.searched = self.buffer.len();
            return if self.searched > max { Err(FrameError::TooLong { max, head: None }) } else { Ok(None) };
        };
        let head = &self.buffer[..end];
        let length =
            body_length(head).ok_or_else(|| FrameError::NoLength { head: Bytes::copy_from_slice(head) })?;
        match end.checked_add(length).filter(|whole| *whole <= max) {
            Some(whole) => Ok(Some(whole)),
            None => Err(FrameError::TooLong { max, head: Some(Bytes::copy_from_slice(head)) }),
        }
    }
}

/// Whether these bytes end in this word, case aside.
fn ends_in(bytes: &[u8], word: &[u8]) -> bool {
    bytes.len().checked_sub(word.len()).is_some_and(|at| bytes[at..].eq_ignore_ascii_case(word))
}

/// What the Content-Length of this head says, if it says one thing.
fn body_length(head: &[u8]) -> Option<usize> {
    // As a rule it is UTF-8, and to see that is quicker than to mend it.
    let head = std::str::from_utf8(head).map_or_else(|_| String::from_utf8_lossy(head), Cow::Borrowed);
    let (_, lines) = head::start_line(&head);
    let mut lengths = head::values(lines, "Content-Length").map(|value| content_length(&value).ok());
    let length = lengths.next()??;
    lengths.all(|other| other == Some(length)).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: &str = "OPTIONS sip:example.test SIP/2.0\r\nContent-Length: 2\r\n\r\nhi";
    const BYE: &str = "BYE sip:example.test SIP/2.0\r\nl:\r\n 0\r\n\r\n";

    fn message(text: &str) -> Frame {
        Frame::Message(Bytes::copy_from_slice(text.as_bytes()))
    }

    /// Frames of `stream` when it comes in pieces of `size` bytes, and how it ended.
    fn frames(stream: &[u8], size: usize, max: usize) -> (Vec<Frame>, Option<FrameError>) {
        let mut framer = Framer::new(max);
        let mut frames = Vec::new();
        for piece in stream.chunks(size) {
            framer.push(piece);
            loop {
                match framer.next() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => {
                        assert_eq!(framer.next(), Err(error.clone()), "an error is final");
                        return (frames, Some(error));
                    }
                }
            }
        }
        (frames, None)
    }

    #[test]
    fn messages_however_they_are_cut() {
        let stream = format!("{OPTIONS}{BYE}\r\n\r\n{OPTIONS}\r\n{BYE}");
        for size in 1..stream.len() + 1 {
            let (read, error) = frames(stream.as_bytes(), size, 100);
            let messages: Vec<_> = read.iter().filter(|frame| matches!(frame, Frame::Message(_))).collect();
            assert_eq!(
                messages,
                [&message(OPTIONS), &message(BYE), &message(OPTIONS), &message(BYE)],
                "{size}"
            );
            assert_eq!(read.iter().filter(|frame| **frame == Frame::KeepAlive).count(), 1, "{size}");
            assert_eq!(error, None);
        }
        let (read, _) = frames(stream.as_bytes(), stream.len(), 100);
        let whole =
            [message(OPTIONS), message(BYE), Frame::KeepAlive, message(OPTIONS), Frame::Pong, message(BYE)];
        assert_eq!(read, whole);
    }

    #[test]
    fn signs_of_life() {
        let check = |pieces: &[&str], expect: &[Frame]| {
            let mut framer = Framer::new(100);
            let mut read = Vec::new();
            for piece in pieces {
                framer.push(piece.as_bytes());
                while let Some(frame) = framer.next().unwrap() {
                    read.push(frame);
                }
            }
            assert_eq!(read, expect, "{pieces:?}");
        };
        check(&["\r\n\r\n"], &[Frame::KeepAlive]);
        check(&["\r\n"], &[Frame::Pong]);
        check(&["\r\n", "\r\n"], &[Frame::Pong, Frame::KeepAlive]);
        check(&["\r", "\n\r", "\n"], &[Frame::KeepAlive]);
        check(&["\r\n", OPTIONS, "\r\n"], &[Frame::Pong, message(OPTIONS), Frame::Pong]);
        check(&["\r\n\r\n\r\n\r\n"], &[Frame::KeepAlive, Frame::KeepAlive]);
    }

    #[test]
    fn what_ends_a_connection() {
        let check = |stream: &str, max: usize, expect: FrameError| {
            for size in [1, 7, stream.len()] {
                assert_eq!(
                    frames(stream.as_bytes(), size, max).1,
                    Some(expect.clone()),
                    "{stream:?} by {size}"
                );
            }
        };
        let head = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        check("GET / HTTP/1.1\r\nHost: example.test\r\n", 100, FrameError::Http);
        check("\u{16}\u{3}\u{1}\r\n", 100, FrameError::NotSip);
        check(&"x".repeat(MAX_START_LINE + 1), 100_000, FrameError::NotSip);
        check("\r\r\n\r\n", 100, FrameError::NotSip);
        for length in ["", "l: 1\r\nContent-Length: 2\r\n", "l: -999\r\n", "l: 99999999999999999999\r\n"] {
            let text = format!("BYE sip:example.test SIP/2.0\r\n{length}\r\n");
            check(&text, 200, FrameError::NoLength { head: head(&text) });
        }
        let (text, _) = OPTIONS.split_at(OPTIONS.len() - 2);
        check(
            OPTIONS,
            OPTIONS.len() - 1,
            FrameError::TooLong { max: OPTIONS.len() - 1, head: Some(head(text)) },
        );
        let endless = format!("BYE sip:example.test SIP/2.0\r\nA: {}", "x".repeat(100));
        check(&endless, 100, FrameError::TooLong { max: 100, head: None });
    }

    #[test]
    fn the_same_length_twice_is_one_length() {
        let text = "BYE sip:example.test SIP/2.0\r\nl: 0\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(frames(text.as_bytes(), 9, 100), (vec![message(text)], None));
    }
}
