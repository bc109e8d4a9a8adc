//! A client of a person in a story, and what it has noticed.

use std::time::Duration;

use confab_client::{Command, Ending, Observation, Outcome, Refusal, Undertaking};
use confab_schema::conference_info::Role;
use confab_server::client_host::RunningClient;
use tokio::time::timeout;

use crate::{network::Wire, person::Picture};

/// A client.
pub(super) struct Seat {
    pub(super) who: &'static str,
    client: RunningClient,
    pub(super) wire: Wire,
    pub(super) by_datagrams: bool,
    /// Whether anything passes on its wire.
    pub(super) alive: bool,
    pub(super) signed_on: bool,
    /// Whether it is in, and as what it came in.
    pub(super) joined: Option<Role>,
    pub(super) on_chat: bool,
    /// Whether it was not let to follow the conference.
    pub(super) blind: bool,
    pub(super) picture: Picture,
    pub(super) ended: Option<Ending>,
    pub(super) refusals: Vec<(Undertaking, Refusal)>,
    pub(super) outcomes: Vec<(Command, Outcome)>,
    pub(super) heard: Vec<String>,
}

impl Seat {
    pub(super) fn new(who: &'static str, client: RunningClient, wire: Wire, by_datagrams: bool) -> Seat {
        Seat {
            who,
            client,
            wire,
            by_datagrams,
            alive: true,
            signed_on: false,
            joined: None,
            on_chat: false,
            blind: false,
            picture: Picture::default(),
            ended: None,
            refusals: Vec::new(),
            outcomes: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// Has the client do something; what came of the last thing is forgotten.
    pub(super) async fn wants(&mut self, command: Command) {
        self.refusals.clear();
        self.outcomes.clear();
        self.ended = None;
        // A client whose connection broke may have ended.
        let _ = self.client.command(command).await;
    }

    /// Waits for the next thing that the client notices.
    pub(super) async fn watch(&mut self, limit: Duration) -> Option<String> {
        let observation = timeout(limit, self.client.observe()).await.ok()??;
        Some(self.notice(observation))
    }

    /// Takes notice of what has happened; each in words.
    pub(super) fn look(&mut self) -> Vec<String> {
        let mut noticed = Vec::new();
        while let Some(observation) = self.client.observed() {
            noticed.push(self.notice(observation));
        }
        noticed
    }

    fn notice(&mut self, observation: Observation) -> String {
        let words = format!("{observation:?}");
        match observation {
            Observation::Registered { .. } => self.signed_on = true,
            Observation::SignedOff { .. } => self.signed_on = false,
            Observation::Joined { role, .. } => {
                self.joined = Some(role);
                self.blind = false;
            }
            Observation::Roster { version, changes } => self.picture.apply(version, &changes),
            Observation::ChatOpened => self.on_chat = true,
            Observation::ChatClosed => self.on_chat = false,
            Observation::MessageReceived { text, .. } => self.heard.push(text),
            Observation::CommandDone { command, outcome } => self.outcomes.push((command, outcome)),
            Observation::Refused { what, refusal } => {
                self.blind |= what == Undertaking::Subscribe;
                self.refusals.push((what, refusal));
            }
            Observation::Ended { reason, .. } => {
                self.joined = None;
                self.on_chat = false;
                self.picture = Picture::default();
                self.ended = Some(reason);
            }
            _ => {}
        }
        words
    }
}
