//! What is said about text that cannot be read as SIP (RFC 3261 §16.3, §18.3, §21.4.1).

use std::borrow::Cow;

use super::Request;

/// The longest sentence about a fault, in bytes: it quotes what came over the wire.
const MAX_PROBLEM: usize = 240;

/// Text that cannot be read: where, and what is wrong with it, as one sentence.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct Malformed {
    place: Cow<'static, str>,
    problem: Cow<'static, str>,
    status: u16,
    partial: Option<Box<Request>>,
}

impl Malformed {
    /// A fault at `place` (a header's name, "request line", "SDP line 3").
    pub fn new(place: impl Into<Cow<'static, str>>, problem: impl Into<Cow<'static, str>>) -> Malformed {
        let mut problem = problem.into();
        if problem.len() > MAX_PROBLEM {
            // The beginning of what is quoted, and what is wrong with it at the end.
            let (start, end) =
                (problem.floor_char_boundary(100), problem.ceil_char_boundary(problem.len() - 100));
            problem = format!("{} … {}", &problem[..start], &problem[end..]).into();
        }
        Malformed { place: place.into(), problem, status: 400, partial: None }
    }

    /// The status to refuse a request with: 400, or 505 for a version of SIP that is not ours.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What could still be read, if it was a request: the headers that [`crate::Response::to`]
    /// copies, as far as they were there, and no body. A method or URI that could not be read is
    /// missing the same way: the URI is then `sip:unreadable.invalid`.
    pub fn partial(&self) -> Option<&Request> {
        self.partial.as_deref()
    }

    pub(super) fn with_status(mut self, status: u16) -> Malformed {
        self.status = status;
        self
    }

    pub(super) fn with_partial(mut self, partial: Option<Request>) -> Malformed {
        self.partial = partial.map(Box::new);
        self
    }

    /// The same problem, said of `place`: a header's name instead of the value's kind.
    pub(crate) fn at(mut self, place: impl Into<Cow<'static, str>>) -> Malformed {
        self.place = place.into();
        self
    }
}
