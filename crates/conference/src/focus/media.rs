//! Step 7: what participants want of one medium: who is heard (c3p §8.6), and the settings of its conferencing
//! server (c3p §8.7). The policy judges, the server does it.

use std::collections::BTreeMap;

use confab_machine::Time;
use confab_schema::{
    cccp::{Command, MediaKeys, ResultBody},
    conference_info::{
        CallRecord, ConferenceInfo, ConferenceView, EntityView, Media, MediaFilter, MediaRules, MediaStatus,
        State,
    },
    uri::{McuType, UserUri},
};
use serde::{Deserialize, Serialize};

use super::{Action, Focus, command::Incoming, mcu_session::Purpose};
use crate::{
    policy::{self, Filtering, Permission, Right},
    reason::Reason,
};

/// The longest `modifyConference` that is relayed to a conferencing server, in bytes.
const SETTINGS_LIMIT: usize = 16 * 1024;

/// The rules that conferencing servers go by, as they said last.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Rules(BTreeMap<McuType, MediaRules>);

impl Rules {
    /// Those of the server of this medium, if it has any.
    pub(super) fn of(&self, media: McuType) -> Option<&MediaRules> {
        self.0.get(&media)
    }
}

impl Focus {
    /// `modifyEndpointMedia`: to be heard, or not (c3p §8.6).
    pub(super) fn filter(
        &mut self,
        incoming: &Incoming<'_>,
        mcu: Option<&str>,
        keys: &MediaKeys,
        wanted: &Media,
        out: &mut Vec<Action>,
    ) -> Result<(), Reason> {
        let media = self.this_mcu(mcu.ok_or(Reason::InvalidMcu)?)?;
        let target = UserUri::parse(&keys.user).map_err(|_| Reason::InvalidTargetUser)?;
        let filtering = Filtering {
            oneself: target == incoming.user,
            heard: is_heard(wanted),
            held: wanted.egress_filter.is_some() || self.roster.is_held(&target, media),
        };
        let role = self.roster.role(&incoming.user);
        if let Permission::Refuse(reason) = policy::may_filter(role, filtering, self.rules.of(media)) {
            return Err(reason);
        }
        if self.mcus.control_url(media).is_none() {
            return Err(Reason::McuUnavailable);
        }
        self.accept(incoming, out);
        if self.roster.role(&target).is_none() {
            self.finish_failed(incoming, "userDoesntExist", out);
            return Ok(());
        }
        // Only what is understood is relayed, so that nothing passes that was not judged.
        let keys =
            MediaKeys { entity: self.record.uri.to_string(), user: target.to_string(), ..keys.clone() };
        let command = Command::ModifyEndpointMedia {
            mcu_uri: Some(self.record.uri.mcu(media).to_string()),
            keys,
            media: wanted.clone(),
        };
        let purpose = Purpose::Setting(incoming.command);
        let waits = self.command_mcu(media, command, purpose, out).into_iter().collect();
        self.finish(incoming, ResultBody::Empty, waits, out);
        Ok(())
    }

    /// `modifyConference` to one MCU (c3p §8.7): whether it has such settings is for it to say. It is
    /// kept until the MCU has answered, so it has a limit of its own.
    pub(super) fn configure_mcu(
        &mut self,
        incoming: &Incoming<'_>,
        command: &Command,
        mcu: &str,
        out: &mut Vec<Action>,
    ) -> Result<(), Reason> {
        let media = self.this_mcu(mcu)?;
        self.allow(incoming, Right::ConfigureMcu)?;
        if self.mcus.control_url(media).is_none() {
            return Err(Reason::McuUnavailable);
        }
        self.accept(incoming, out);
        if incoming.request.to_bytes().len() > SETTINGS_LIMIT {
            self.finish_failed(incoming, "requestTooLarge", out);
            return Ok(());
        }
        let purpose = Purpose::Setting(incoming.command);
        let waits = self.command_mcu(media, command.clone(), purpose, out).into_iter().collect();
        self.finish(incoming, ResultBody::Empty, waits, out);
        Ok(())
    }

    /// What a server says beyond people: the rules it goes by, and what became of legs that are over.
    pub(super) fn take_news(
        &mut self,
        now: Time,
        media: McuType,
        document: &mut ConferenceInfo,
        out: &mut Vec<Action>,
    ) {
        let own = self.record.uri.mcu(media).to_string();
        let views = document.view.iter().flat_map(|view| &view.entity_views);
        if let Some(view) = views.into_iter().find(|view| view.entity == own)
            && view.rules.as_ref() != self.rules.of(media)
        {
            match &view.rules {
                Some(rules) => drop(self.rules.0.insert(media, rules.clone())),
                None => drop(self.rules.0.remove(&media)),
            }
            self.changes.view(now);
        }
        let calls: Vec<CallRecord> = std::mem::take(&mut document.calls);
        if !calls.is_empty() {
            out.push(Action::SaveCalls { calls });
        }
    }

    /// A server that is new to the conference goes by the rules of the one before.
    pub(super) fn rule(&mut self, media: McuType, out: &mut Vec<Action>) {
        let Some(rules) = self.rules.of(media).cloned() else { return };
        let mut view = EntityView::new(self.record.uri.mcu(media).to_string());
        view.rules = Some(rules);
        let mut info = ConferenceInfo { entity: self.record.uri.to_string(), ..ConferenceInfo::default() };
        info.view = Some(ConferenceView { state: State::Full, entity_views: vec![view] });
        let mcu_uri = Some(self.record.uri.mcu(media).to_string());
        let command = Command::ModifyConference { mcu_uri, info: Box::new(info), whole: None };
        self.command_mcu(media, command, Purpose::Nothing, out);
    }
}

/// Whether somebody is to be heard; a status alone says so too.
fn is_heard(wanted: &Media) -> bool {
    match wanted.ingress_filter {
        Some(filter) => filter == MediaFilter::Unblock,
        None => matches!(wanted.status, Some(MediaStatus::SendRecv | MediaStatus::SendOnly)),
    }
}
