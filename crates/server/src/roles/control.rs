//! The front end's side of the control link to other machines: the Conferencing Server Factory and
//! the Focuses on a listener over mutual TLS.

use std::path::Path;

use anyhow::Context;
use confab_schema::mcu_control::Health;
use tokio::net::TcpListener;

use super::reachable;
use crate::{
    clock::Clock,
    config::ControlConfig,
    control_link::{self, Answer, CCCP, FACTORY_PATH, FOCUS_PATH, HEALTH, Posted},
    focus_host::FocusDirectory,
    mcu_factory_host::McuFactoryHost,
    private_ca::{PeerRole, PrivateCa},
    sip_transport::bind,
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
        let listener = bind(config.listen).with_context(taken)?;
        let place = reachable(&config.host, listener.local_addr().with_context(taken)?);
        let host = place.rsplit_once(':').map_or(place.as_str(), |(host, _)| host);
        let hosts = [host.trim_matches(['[', ']']).to_owned()];
        let trust = Trust::issued(&PrivateCa::open(data)?, PeerRole::FrontEnd, &hosts)?;
        Ok(ControlListener { listener, trust, base: format!("https://{place}") })
    }

    /// Answers on it until the process ends.
    pub(super) fn serve(self, factory: McuFactoryHost, directory: FocusDirectory, clock: Clock) {
        let connections = self.trust.listen(self.listener, clock);
        tokio::spawn(control_link::serve_remote(connections, move |role, posted| {
            let (factory, directory) = (factory.clone(), directory.clone());
            async move {
                if let Some(sentence) = forbidden(role, &posted) {
                    return Answer::Forbidden(sentence.into());
                }
                if let Some(sentence) = unprovable(&posted) {
                    return Answer::Unreadable(sentence);
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
        (FACTORY_PATH, HEALTH) => (&PeerRole::MCUS, "Only a conferencing server may report its health."),
        (FACTORY_PATH, CCCP) => {
            (&[PeerRole::FrontEnd], "Only a front end may ask for a conferencing server.")
        }
        (FOCUS_PATH, HEALTH) => (&PeerRole::ALL, "Only servers of ours may tell of one that is lost."),
        _ => (&PeerRole::MCUS, "Only a conferencing server may report to a Focus."),
    };
    let fits = role.is_some_and(|role| allowed.contains(&role));
    (!fits).then_some(sentence)
}

/// Why health cannot be taken from another process: commands to the URL in it would go to whoever
/// answers there, unless TLS says who that is. What is no health at all the factory refuses.
fn unprovable(posted: &Posted) -> Option<String> {
    let health = (posted.content_type == HEALTH).then(|| Health::parse(&posted.body).ok())??;
    (!health.url.starts_with("https://")).then(|| {
        format!(
            "The url of a conferencing server that is a process of its own begins with https://, and {} does \
             not.",
            health.url
        )
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use confab_schema::{mcu_control::ServerStatus, uri::McuType};

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
        check(FACTORY_PATH, HEALTH, &PeerRole::MCUS);
        check(FACTORY_PATH, CCCP, &[PeerRole::FrontEnd]);
        check(FOCUS_PATH, HEALTH, &PeerRole::ALL);
        check("/LiveServer/Focus/0123", CONFERENCE_INFO, &PeerRole::MCUS);
        check("/LiveServer/Focus/0123", CCCP, &PeerRole::MCUS);
    }
    #[test]
    fn only_urls_that_can_be_proved_are_taken_from_elsewhere() {
        let check = |url: &str, taken: bool| {
            let health = Health {
                url: url.into(),
                media: McuType::Chat,
                status: ServerStatus::Normal,
                conferences: 0,
                participants: 0,
                vendor: String::new(),
                instance: None,
            };
            let posted =
                Posted { path: FACTORY_PATH.into(), content_type: HEALTH.into(), body: health.to_bytes() };
            let refusal = unprovable(&posted);
            assert_eq!(refusal.is_none(), taken, "{url}");
            assert!(refusal.is_none_or(|sentence| sentence.contains(url)), "it says which");
        };
        check("https://192.0.2.20:5072/LiveServer/IMMCU/", true);
        check("http://192.0.2.20:5072/LiveServer/IMMCU/", false);
        check("http://immcu.inproc/LiveServer/IMMCU/", false);
        check("ftp://192.0.2.20/", false);
    }
}
