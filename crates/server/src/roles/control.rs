//! The front end's side of the control link to other machines: the Conferencing Server Factory and
//! the Focuses on a listener over mutual TLS.

use std::path::Path;

use anyhow::Context;
use tokio::net::TcpListener;

use super::reachable;
use crate::{
    config::ControlConfig,
    control_link::{self, Answer, CCCP, FACTORY_PATH, FOCUS_PATH, HEALTH, Posted},
    focus_host::FocusDirectory,
    mcu_factory_host::McuFactoryHost,
    private_ca::{PeerRole, PrivateCa},
    trust::Trust,
};

/// A listener for the processes of other machines.
pub(super) struct ControlListener {
    listener: TcpListener,
    /// With what we prove to be a front end.
    pub(super) trust: Trust,
    /// Scheme, host and port of its URLs.
    pub(super) base: String,
}

impl ControlListener {
    /// Opens it, making the private authority in `data` at the first start. The front end's own
    /// certificate is issued anew at each.
    pub(super) async fn open(config: &ControlConfig, data: &Path) -> anyhow::Result<ControlListener> {
        let taken = || format!("{} cannot be listened on", config.listen);
        let listener = TcpListener::bind(config.listen).await.with_context(taken)?;
        let place = reachable(&config.host, listener.local_addr().with_context(taken)?);
        let host = place.rsplit_once(':').map_or(place.as_str(), |(host, _)| host);
        let hosts = [host.trim_matches(['[', ']']).to_owned()];
        let trust = Trust::issued(&PrivateCa::open(data)?, PeerRole::FrontEnd, &hosts)?;
        Ok(ControlListener { listener, trust, base: format!("https://{place}") })
    }

    /// Answers on it until the process ends.
    pub(super) fn serve(self, factory: McuFactoryHost, directory: FocusDirectory) {
        let connections = self.trust.listen(self.listener);
        tokio::spawn(control_link::serve_remote(connections, move |role, posted| {
            let (factory, directory) = (factory.clone(), directory.clone());
            async move {
                if let Some(sentence) = forbidden(role, &posted) {
                    return Answer::Forbidden(sentence.into());
                }
                if posted.path.starts_with(FACTORY_PATH) {
                    return factory.posted(posted).await;
                }
                directory.posted(posted).await
            }
        }));
    }
}

/// Why a process of this role may not post this: MCUs report, front ends ask for conferences and
/// tell of MCUs that are lost.
fn forbidden(role: Option<PeerRole>, posted: &Posted) -> Option<&'static str> {
    let (allowed, sentence): (&[PeerRole], _) = match (posted.path.as_str(), posted.content_type.as_str()) {
        (FACTORY_PATH, HEALTH) => (&[PeerRole::ImMcu], "Only a conferencing server may report its health."),
        (FACTORY_PATH, CCCP) => {
            (&[PeerRole::FrontEnd], "Only a front end may ask for a conferencing server.")
        }
        (FOCUS_PATH, HEALTH) => (&PeerRole::ALL, "Only servers of ours may tell of one that is lost."),
        _ => (&[PeerRole::ImMcu], "Only a conferencing server may report to a Focus."),
    };
    let fits = role.is_some_and(|role| allowed.contains(&role));
    (!fits).then_some(sentence)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::control_link::CONFERENCE_INFO;

    #[test]
    fn each_role_posts_its_own() {
        let check = |path: &str, content_type: &str, wanted: &[PeerRole]| {
            let posted = Posted { path: path.into(), content_type: content_type.into(), body: Bytes::new() };
            for role in PeerRole::ALL {
                let allowed = forbidden(Some(role), &posted).is_none();
                assert_eq!(allowed, wanted.contains(&role), "{role} posts {content_type} to {path}");
            }
            assert!(forbidden(None, &posted).is_some(), "who has no role posts nothing");
        };
        check(FACTORY_PATH, HEALTH, &[PeerRole::ImMcu]);
        check(FACTORY_PATH, CCCP, &[PeerRole::FrontEnd]);
        check(FOCUS_PATH, HEALTH, &PeerRole::ALL);
        check("/LiveServer/Focus/0123", CONFERENCE_INFO, &[PeerRole::ImMcu]);
        check("/LiveServer/Focus/0123", CCCP, &[PeerRole::ImMcu]);
    }
}
