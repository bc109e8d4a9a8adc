//! Who sees what: containers and their members (MS-PRES §2.2.2; access levels of OCS 2007).

use std::collections::{BTreeMap, BTreeSet};

use confab_schema::{
    publication::{Member, MemberKind, SetContainerMembers, WrongDelta},
    roaming::Container,
    uri::UserUri,
};

use super::Rejected;

/// What is seen when nobody has said who sees what.
pub(crate) const DEFAULT: u32 = 0;
/// What the company sees.
pub(crate) const COMPANY: u32 = 200;
/// What close colleagues see: also the subject and place of meetings.
pub(crate) const WORKGROUP: u32 = 300;
/// What friends see; and the user himself.
pub(crate) const PERSONAL: u32 = 400;
/// Nothing is seen.
pub(crate) const BLOCKED: u32 = 32_000;

/// Most containers of a user that have members.
pub const MAX_CONTAINERS: usize = 32;
/// Most members of all containers of a user.
pub const MAX_MEMBERS: usize = 1000;
/// Longest user or domain that can be a member, in bytes.
pub const MAX_MEMBER: usize = 512;

/// The containers of one user that have, or had, members.
#[derive(Clone, Debug, Default)]
pub(crate) struct Containers {
    all: BTreeMap<u32, Held>,
}

#[derive(Clone, Debug, Default)]
struct Held {
    version: u32,
    members: BTreeSet<Member>,
}

impl Containers {
    /// Applies all changes or, if one follows a stale version, none. Returns which containers have
    /// changed.
    pub fn apply(&mut self, request: &SetContainerMembers) -> Result<BTreeSet<u32>, Rejected> {
        let version = |id: &u32| self.all.get(id).map_or(0, |held| held.version);
        let stale: Vec<(u32, u32)> = (1..)
            .zip(&request.containers)
            .filter(|(_, change)| version(&change.id) != change.version)
            .map(|(index, change)| (index, version(&change.id)))
            .collect();
        if !stale.is_empty() {
            return Err(Rejected::Stale(WrongDelta { operations: stale }));
        }
        let mut all = self.all.clone();
        for change in &request.containers {
            let held = all.entry(change.id).or_default();
            for member in &change.removed {
                held.members.remove(member);
            }
            held.members.extend(change.added.iter().cloned());
            held.version += 1;
        }
        let members = || all.values().flat_map(|held| &held.members);
        let too_long = |member: &Member| member.value.as_ref().is_some_and(|value| value.len() > MAX_MEMBER);
        if all.len() > MAX_CONTAINERS || members().count() > MAX_MEMBERS || members().any(too_long) {
            let sentence =
                format!("There can be {MAX_CONTAINERS} containers and {MAX_MEMBERS} members in all.");
            return Err(Rejected::TooMuch(sentence));
        }
        self.all = all;
        Ok(request.containers.iter().map(|change| change.id).collect())
    }

    /// Whether nobody has ever said who sees what.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The container whose publications `watcher` sees.
    // Deviation: before a client has said otherwise, people of the same domain see what the company
    // sees: that is what the first client does, and users of telephones never have one that does.
    pub fn seen_by(&self, owner: &UserUri, watcher: &UserUri) -> u32 {
        if owner == watcher {
            return PERSONAL;
        }
        let same_enterprise = owner.domain() == watcher.domain();
        if self.all.is_empty() {
            return if same_enterprise { COMPANY } else { DEFAULT };
        }
        let address = format!("{}@{}", watcher.user(), watcher.domain());
        let is = |member: &Member, text: &str| {
            member.value.as_ref().is_some_and(|value| value.eq_ignore_ascii_case(text))
        };
        let matches = |member: &Member| match member.kind {
            MemberKind::User => is(member, &address),
            MemberKind::Domain => is(member, watcher.domain()),
            MemberKind::SameEnterprise => same_enterprise,
            // Whom we federate with, and which networks are public, is not known yet.
            MemberKind::PublicCloud => false,
            MemberKind::Federated => !same_enterprise,
            MemberKind::Everyone => true,
        };
        let found =
            self.all.iter().flat_map(|(id, held)| held.members.iter().map(move |member| (id, member)));
        let found = found.filter(|(_, member)| matches(member)).map(|(id, member)| (member.kind, *id));
        // The most special kind of member decides; within it the highest container, which is the
        // blocked one first of all.
        found.min_by_key(|(kind, id)| (*kind, u32::MAX - id)).map_or(DEFAULT, |(_, id)| id)
    }

    /// Those containers of `ids` that there are, or all.
    pub fn list(&self, ids: Option<&BTreeSet<u32>>) -> Vec<Container> {
        let wanted = self.all.iter().filter(|(id, _)| ids.is_none_or(|ids| ids.contains(id)));
        wanted
            .map(|(id, held)| Container {
                id: *id,
                version: held.version,
                members: held.members.iter().cloned().collect(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use confab_schema::publication::ContainerChange;

    use super::*;

    fn member(kind: MemberKind, value: Option<&str>) -> Member {
        Member { kind, value: value.map(str::to_owned) }
    }

    fn add(id: u32, version: u32, member: Member) -> SetContainerMembers {
        let change = ContainerChange { id, version, added: vec![member], removed: Vec::new() };
        SetContainerMembers { containers: vec![change] }
    }

    fn user(uri: &str) -> UserUri {
        UserUri::parse(uri).unwrap()
    }

    #[test]
    fn the_most_special_member_decides() {
        let mut it = Containers::default();
        let ann = user("sip:ann@example.test");
        let check = |it: &Containers, watcher: &str, expect: u32| {
            assert_eq!(it.seen_by(&ann, &user(watcher)), expect, "{watcher}");
        };
        check(&it, "sip:bob@example.test", COMPANY);
        check(&it, "sip:bob@other.test", DEFAULT);
        check(&it, "sip:ann@example.test", PERSONAL);
        it.apply(&add(200, 0, member(MemberKind::SameEnterprise, None))).unwrap();
        it.apply(&add(100, 0, member(MemberKind::Federated, None))).unwrap();
        it.apply(&add(300, 0, member(MemberKind::User, Some("Bob@example.test")))).unwrap();
        it.apply(&add(BLOCKED, 0, member(MemberKind::Domain, Some("bad.test")))).unwrap();
        check(&it, "sip:bob@example.test", WORKGROUP);
        check(&it, "sip:carol@example.test", COMPANY);
        check(&it, "sip:dan@other.test", 100);
        check(&it, "sip:eve@bad.test", BLOCKED);
        it.apply(&add(BLOCKED, 1, member(MemberKind::User, Some("bob@example.test")))).unwrap();
        check(&it, "sip:bob@example.test", BLOCKED);
    }

    #[test]
    fn a_stale_version_changes_nothing() {
        let mut it = Containers::default();
        it.apply(&add(200, 0, member(MemberKind::SameEnterprise, None))).unwrap();
        let again = it.apply(&add(200, 0, member(MemberKind::Everyone, None)));
        assert_eq!(again, Err(Rejected::Stale(WrongDelta { operations: vec![(1, 1)] })));
        assert_eq!(it.list(None)[0].members.len(), 1);
        assert_eq!(it.list(Some(&BTreeSet::from([100]))), []);
    }

    #[test]
    fn members_are_limited() {
        let mut it = Containers::default();
        let long = "x".repeat(MAX_MEMBER + 1);
        let refused = it.apply(&add(200, 0, member(MemberKind::User, Some(&long))));
        assert!(matches!(refused, Err(Rejected::TooMuch(_))));
        assert_eq!(it.list(None), []);
    }
}
