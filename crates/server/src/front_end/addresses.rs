//! Where a front end can be reached.

use std::collections::BTreeMap;

use confab_sip::{Transport, Uri};

/// Where this front end can be reached, as it writes in Via and Record-Route.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Name of this server in diagnostics.
    pub name: String,
    /// `host:port` by transport, for each transport that is listened on.
    pub sent_by: BTreeMap<Transport, String>,
}

impl Addresses {
    pub(super) fn sent_by(&self, transport: Transport) -> &str {
        let any = || self.sent_by.values().next();
        self.sent_by.get(&transport).or_else(any).map_or("confab.invalid", String::as_str)
    }

    /// Whether a URI is one of ours: a name or address with a port that we listen on.
    pub(super) fn is_ours(&self, uri: &Uri) -> bool {
        let port = |transport: &Transport| match uri.port {
            Some(port) => port,
            None if *transport == Transport::Tls => 5061,
            None => 5060,
        };
        self.sent_by.iter().any(|(transport, sent_by)| {
            *sent_by == format!("{}:{}", uri.host.to_ascii_lowercase(), port(transport))
        })
    }
}
