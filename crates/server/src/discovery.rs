//! Step 1 on the client's side: finding the server of a SIP domain by DNS, in the order of the
//! original's clients, or by a configured address.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, bail};
use confab_client::discovery::{Lookup, SrvRecord, in_order_of_trial, lookups};
use confab_sip::Transport;
use hickory_resolver::{Resolver, TokioResolver, proto::rr::RData};
use tracing::debug;

use crate::{clock, config::Listen};

/// A place where a domain's server may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// How to speak to it.
    pub transport: Transport,
    /// Where.
    pub address: SocketAddr,
    /// By which name it was found; what a certificate must be for.
    pub host: String,
}

/// The places that a configured address such as `tcp:192.0.2.1:5060` stands for: just it.
pub fn configured(listen: Listen, domain: &str) -> Candidate {
    Candidate { transport: listen.transport.into(), address: listen.address, host: domain.to_owned() }
}

/// Where the DNS says that the server of `domain` is: the places behind the first name that has
/// any, in the order to try them.
///
/// # Errors
/// A sentence if the DNS cannot be asked or knows no server.
pub async fn discover(domain: &str) -> anyhow::Result<Vec<Candidate>> {
    let resolver = Resolver::builder_tokio()
        .and_then(|builder| builder.build())
        .context("the system's DNS settings cannot be read")?;
    for lookup in lookups(domain) {
        let found = match lookup {
            Lookup::Srv { name, transport } => by_srv(&resolver, &name, transport).await,
            Lookup::Host { host, port, transport } => by_host(&resolver, &host, port, transport).await,
        };
        if !found.is_empty() {
            return Ok(found);
        }
    }
    bail!("the DNS knows no SIP server of {domain}; name it with --server, like --server tcp:192.0.2.1:5060")
}

async fn by_srv(resolver: &TokioResolver, name: &str, transport: Transport) -> Vec<Candidate> {
    let answer = match resolver.srv_lookup(format!("{name}.")).await {
        Ok(answer) => answer,
        Err(error) => {
            debug!(%name, %error, "no SRV answer");
            return Vec::new();
        }
    };
    let records = answer.answers().iter().filter_map(|record| match &record.data {
        RData::SRV(srv) => Some(SrvRecord {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: srv.target.to_utf8().trim_end_matches('.').to_owned(),
        }),
        _ => None,
    });
    let mut found = Vec::new();
    for record in in_order_of_trial(records.collect(), &mut clock::entropy()) {
        found.extend(by_host(resolver, &record.target, record.port, transport).await);
    }
    found
}

async fn by_host(resolver: &TokioResolver, host: &str, port: u16, transport: Transport) -> Vec<Candidate> {
    let addresses: Vec<IpAddr> = match resolver.lookup_ip(format!("{host}.")).await {
        Ok(answer) => answer.iter().collect(),
        Err(error) => {
            debug!(%host, %error, "no address");
            return Vec::new();
        }
    };
    let candidate = |ip| Candidate { transport, address: SocketAddr::new(ip, port), host: host.to_owned() };
    addresses.into_iter().map(candidate).collect()
}
