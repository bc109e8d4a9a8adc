//! SIP as text and as machines (RFC 3261, 3264, 6665 and the dialect of OCS 2007 R2).
//!
//! The text layer reads and prints what crosses a wire: [`Message`] and the typed values of its
//! headers, [`sdp`], [`multipart`] bodies, and [`frame`], which finds messages in a byte stream.
//! Header values are kept as they came; typed access parses them when asked. No input makes it
//! panic: what cannot be read is [`Malformed`], which holds what a server needs to answer 400.
//!
//! The state layer stands on it: [`Transactions`] makes each request and its outcome happen once,
//! [`Dialog`], [`InviteUsage`] and [`Subscription`] are what two ends remember between requests,
//! [`Forward`] decides what a proxy passes on, and [`auth`] proves who someone is.
//!
//! Nothing here owns a socket or a clock.

pub mod auth;
mod dialog;
pub mod dtmf;
mod flow;
pub mod frame;
mod message;
pub mod multipart;
mod proxy;
pub mod sdp;
mod text;
mod transaction;

pub use dialog::{
    Acceptance, Dialog, DialogId, EndReason, InviteUsage, SessionDue, SessionTimer, Subscription, Upkeep,
};
pub use flow::{Flow, Transport};
pub use message::{
    CSeq, Headers, MAX_HEADER_LINE, MAX_HEADERS, MAX_MESSAGE, MAX_START_LINE, Malformed, MediaType, Message,
    Method, NameAddr, Params, Request, Response, Scheme, Uri, Via, reason_phrase, sipfrag,
};
pub use proxy::{Forward, ForwardOutput, forwardable};
pub use sdp::Sdp;
pub use text::Text;
pub use transaction::{ClientKey, Failure, ServerKey, Timers, TransactionOutput, Transactions};
