//! A saved flow: a Focus, what it heard from then on, and what it wanted done each time. It is what a
//! Focus is restored by, as a file: a bug report that runs (`confab flow --save`), or a test.
//!
//! What it heard is typed, after authentication: there is no SIP in it. Written from a live server,
//! names, phone numbers and secrets are placeholders; what the Focus wants is told as it would have been
//! with those.

mod placeholders;

use anyhow::{Context, bail, ensure};
use confab_conference::focus::{Action, Event, Focus};
use confab_machine::{Entropy, Machine, Time};
use serde::{Deserialize, Serialize};

/// A Focus, and what came after.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedFlow {
    focus: Focus,
    /// From what all follows that it drew.
    seed: [u8; 32],
    heard: Vec<Heard>,
}

/// What a Focus heard, and what it wanted done then.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Heard {
    at: Time,
    /// Nothing: its deadline had come.
    event: Option<Event>,
    wanted: Vec<Action>,
}

impl SavedFlow {
    /// What follows when `focus`, seeded with `seed`, hears `events`, each at its time.
    pub fn new(focus: Focus, seed: [u8; 32], events: Vec<(Time, Option<Event>)>) -> SavedFlow {
        let heard = events.into_iter().map(|(at, event)| Heard { at, event, wanted: Vec::new() });
        let mut flow = SavedFlow { focus, seed, heard: heard.collect() };
        let wanted = flow.run();
        for (heard, wanted) in flow.heard.iter_mut().zip(wanted) {
            heard.wanted = wanted;
        }
        flow
    }

    /// How often something was heard.
    pub fn len(&self) -> usize {
        self.heard.len()
    }

    /// Whether nothing was heard.
    pub fn is_empty(&self) -> bool {
        self.heard.is_empty()
    }

    /// Lets a Focus hear it all again.
    ///
    /// # Errors
    /// A sentence that says where it wants something else than what is written.
    pub fn replay(&self) -> anyhow::Result<()> {
        for (number, (heard, wants)) in self.heard.iter().zip(self.run()).enumerate() {
            ensure!(
                heard.wanted == wants,
                "event {number} of {}, {:?}: the Focus wanted {:#?}, and wants {wants:#?} now",
                self.heard.len(),
                heard.event,
                heard.wanted,
            );
        }
        Ok(())
    }

    fn run(&self) -> Vec<Vec<Action>> {
        let mut focus = self.focus.clone();
        focus.seed(Entropy::from_seed(self.seed));
        let heard = self.heard.iter();
        heard
            .map(|Heard { at, event, .. }| {
                let mut wants = Vec::new();
                match event.clone() {
                    Some(event) => focus.handle(*at, event, &mut wants),
                    None => focus.handle_timeout(*at, &mut wants),
                }
                wants
            })
            .collect()
    }

    /// The same flow among people without names.
    ///
    /// # Errors
    /// If placeholders do not fit where something was, which is a fault of ours.
    pub fn anonymous(&self) -> anyhow::Result<SavedFlow> {
        let events: Vec<_> = self.heard.iter().map(|heard| (heard.at, &heard.event)).collect();
        let mut all = serde_json::to_value((&self.focus, events))?;
        placeholders::put_in(&mut all);
        let (focus, events) = serde_json::from_value(all).context("the placeholders do not fit")?;
        Ok(SavedFlow::new(focus, self.seed, events))
    }

    /// The file.
    ///
    /// # Errors
    /// If there is no text for it, which is a fault of ours.
    pub fn to_json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// A sentence if it is none, or one of another version of Confab that has changed too much.
    pub fn from_json(json: &str) -> anyhow::Result<SavedFlow> {
        let flow: SavedFlow = serde_json::from_str(json).context("this is no saved flow of this version")?;
        if flow.heard.is_sorted_by_key(|heard| heard.at) {
            return Ok(flow);
        }
        bail!("the flow goes back in time");
    }
}
