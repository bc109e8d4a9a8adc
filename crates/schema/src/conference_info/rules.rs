//! `mediaFiltersRules`: who is heard when he comes in, and who may change that for himself (c3p §8.7).

use serde::{Deserialize, Serialize};

use super::{EXTENSIONS, MediaFilter, Role, boolean, flag, part, parts};
use crate::xml::{Element, Malformed, Writer};

words! {
    /// Whom a rule is about.
    pub enum RuleRole {
        /// Everybody.
        Default = "default",
        /// Attendees.
        Attendee = "attendee",
        /// Presenters.
        Presenter = "presenter",
    }
}

/// The rules of one conferencing server. What is said of a role goes before what is said of everybody.
// Deviation: names and meaning are those of later products; R2's own way to mute all is not published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaRules {
    /// Whether the voices of a role are heard: now, and of whoever comes in later.
    pub initial: Vec<(RuleRole, MediaFilter)>,
    /// Whether those of a role may have themselves heard again.
    pub own: Vec<(RuleRole, bool)>,
}

impl MediaRules {
    /// Whether somebody with this role begins without being heard.
    pub fn begins_muted(&self, role: Option<Role>) -> bool {
        pick(&self.initial, role) == Some(MediaFilter::Block)
    }

    /// Whether somebody with this role may have himself heard again.
    pub fn may_unmute(&self, role: Option<Role>) -> bool {
        pick(&self.own, role).unwrap_or(true)
    }

    pub(super) fn read(element: &Element) -> Result<MediaRules, Malformed> {
        let role = |rule: &Element| part(rule, "role").and_then(|role| RuleRole::parse(&role.text()));
        let mut rules = MediaRules::default();
        for rule in parts(element, "initialFilters") {
            let filter = part(rule, "ingressFilter").and_then(|filter| MediaFilter::parse(&filter.text()));
            rules.initial.extend(role(rule).zip(filter));
        }
        for rule in parts(element, "mayModifyOwnFilters") {
            let value = part(rule, "value").map(boolean).transpose()?;
            rules.own.extend(role(rule).zip(value));
        }
        Ok(rules)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.start(EXTENSIONS, "mediaFiltersRules");
        for (role, filter) in &self.initial {
            writer.start(EXTENSIONS, "initialFilters");
            writer.leaf(EXTENSIONS, "role", role.as_str());
            writer.leaf(EXTENSIONS, "ingressFilter", filter.as_str());
            writer.end();
        }
        for (role, value) in &self.own {
            writer.start(EXTENSIONS, "mayModifyOwnFilters");
            writer.leaf(EXTENSIONS, "role", role.as_str());
            writer.leaf(EXTENSIONS, "value", flag(*value));
            writer.end();
        }
        writer.end();
    }
}

/// The last that is said of a role, or else of everybody.
fn pick<T: Copy>(rules: &[(RuleRole, T)], role: Option<Role>) -> Option<T> {
    let of = |wanted: RuleRole| rules.iter().rev().find(|(role, _)| *role == wanted).map(|(_, value)| *value);
    let own = role.map(|role| match role {
        Role::Attendee => RuleRole::Attendee,
        Role::Presenter => RuleRole::Presenter,
    });
    own.and_then(of).or_else(|| of(RuleRole::Default))
}
