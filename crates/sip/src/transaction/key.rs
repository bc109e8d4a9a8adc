//! By what a message finds its transaction (RFC 3261 §17.1.3, §17.2.3).

use serde::{Deserialize, Serialize};

use crate::{Flow, Method, Request, Response, Text};

/// Names one server transaction.
///
/// The flow is part of it: whoever is further down the path knows a branch too, and must not be
/// able to cancel or acknowledge from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServerKey {
    pub(super) flow: Flow,
    identity: Identity,
    pub(super) method: Method,
}

/// What is the same in all messages of one transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Identity {
    /// The top Via's branch and sent-by.
    Branch { branch: Text, sent_by: Text },
    /// For a Via without a unique branch. Request-URI and To tag, which RFC 2543 compares too, are
    /// left out: they differ between an INVITE and its ACK or CANCEL in some clients, and Call-ID,
    /// From tag and number suffice, because only a proxy forks and proxies do write branches.
    // Deviation: matching without a branch ignores Request-URI and To tag.
    Fields { call_id: Text, from_tag: Text, number: u32, sent_by: Text },
}

impl ServerKey {
    /// The key of the transaction that `request` belongs to, an ACK or a CANCEL to that of its
    /// INVITE. `None` if a header that every request must have is not there.
    pub(super) fn of(flow: Flow, request: &Request) -> Option<ServerKey> {
        let via = request.headers.top_via().ok()?;
        let sent_by = Text::from(via.sent_by().to_ascii_lowercase());
        let identity = match via.unique_branch() {
            Some(branch) => Identity::Branch { branch: branch.into(), sent_by },
            None => Identity::Fields {
                call_id: request.headers.call_id().ok()?.detached(),
                from_tag: request.headers.from().ok()?.tag().unwrap_or_default().into(),
                number: request.headers.cseq().ok()?.number,
                sent_by,
            },
        };
        let method = match &request.method {
            Method::Ack | Method::Cancel => Method::Invite,
            Method::Other(name) => Method::Other(name.detached()),
            known => known.clone(),
        };
        Some(ServerKey { flow, identity, method })
    }

    /// The least key of `flow`, to find all of them.
    pub(super) fn first_of(flow: Flow) -> ServerKey {
        let identity = Identity::Branch { branch: Text::default(), sent_by: Text::default() };
        ServerKey { flow, identity, method: Method::Ack }
    }

    /// The flow that the request came on.
    pub fn flow(&self) -> Flow {
        self.flow
    }

    /// The request's method.
    pub fn method(&self) -> &Method {
        &self.method
    }
}

/// Names one client transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientKey {
    pub(super) branch: Text,
    pub(super) method: Method,
}

impl ClientKey {
    /// The least key there is.
    pub(super) fn first() -> ClientKey {
        ClientKey { branch: Text::default(), method: Method::Ack }
    }

    /// The key of the transaction that `response` answers. `None` if its top Via has no branch:
    /// we never send such a request.
    pub(super) fn of(response: &Response) -> Option<ClientKey> {
        let branch = response.headers.top_via().ok()?.branch()?.into();
        Some(ClientKey { branch, method: response.headers.cseq().ok()?.method })
    }

    /// The request's method.
    pub fn method(&self) -> &Method {
        &self.method
    }
}

/// What the ACK of a 2xx has in common with it: such an ACK is a transaction of its own, and finds
/// the INVITE by the dialog and the number (RFC 3261 §13.2.2.4).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AckKey {
    call_id: Text,
    from_tag: Text,
    to_tag: Text,
    number: u32,
}

impl AckKey {
    pub(super) fn of(headers: &crate::Headers) -> Option<AckKey> {
        Some(AckKey {
            call_id: headers.call_id().ok()?.detached(),
            from_tag: headers.from().ok()?.tag().unwrap_or_default().into(),
            to_tag: headers.to().ok()?.tag().unwrap_or_default().into(),
            number: headers.cseq().ok()?.number,
        })
    }
}
