//! Who is to be removed from an MCU and may not have been. If it is lost its successor does that, or his phone would
//! stay in a call with nobody.

use std::collections::BTreeMap;

use confab_schema::{
    cccp::Command,
    uri::{McuType, UserUri},
};
use serde::{Deserialize, Serialize};

/// Those whom no MCU has confirmed to have removed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct PutOuts {
    of: BTreeMap<McuType, BTreeMap<UserUri, Vec<PutOut>>>,
    /// The commands that await their answers.
    awaited: BTreeMap<u32, (McuType, UserUri)>,
}

/// Somebody, removed once.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct PutOut {
    /// The command that awaits its answer; `None` while there is no MCU.
    request_id: Option<u32>,
    /// What has a successor go on with his endpoints.
    heirs: Vec<Command>,
}

impl PutOuts {
    /// Somebody is to be removed, by this command if there is an MCU; `heirs` is what has a successor go on with him.
    pub(super) fn add(
        &mut self,
        media: McuType,
        user: &UserUri,
        request_id: Option<u32>,
        heirs: Vec<Command>,
    ) {
        let people = self.of.entry(media).or_default();
        people.entry(user.clone()).or_default().push(PutOut { request_id, heirs });
        self.awaited.extend(request_id.map(|request_id| (request_id, (media, user.clone()))));
    }

    /// This command was answered, or never sent: nobody is to be removed for it any more.
    pub(super) fn confirm(&mut self, request_id: u32) {
        let Some((media, user)) = self.awaited.remove(&request_id) else { return };
        let Some(people) = self.of.get_mut(&media) else { return };
        let Some(of_him) = people.get_mut(&user) else { return };
        of_him.retain(|one| one.request_id != Some(request_id));
        if of_him.is_empty() {
            people.remove(&user);
        }
    }

    /// Whether this endpoint is not to go on, but to be removed.
    pub(super) fn has(&self, media: McuType, user: &UserUri, endpoint: &str) -> bool {
        let is_it = |heir: &Command| {
            let Command::AddUser(add) = heir else { return false };
            add.user.endpoints.iter().any(|leg| leg.entity == endpoint)
        };
        let of_him = self.of.get(&media).and_then(|people| people.get(user));
        of_him.is_some_and(|of_him| of_him.iter().any(|one| one.heirs.iter().any(is_it)))
    }

    /// Takes out all of a medium: each with what has a successor go on with him.
    pub(super) fn take(&mut self, media: McuType) -> Vec<(UserUri, Vec<Command>)> {
        let people = self.of.remove(&media).unwrap_or_default();
        self.awaited.retain(|_, (awaited, _)| *awaited != media);
        let each = people
            .into_iter()
            .flat_map(|(user, of_him)| of_him.into_iter().map(move |one| (user.clone(), one.heirs)));
        each.collect()
    }
}
