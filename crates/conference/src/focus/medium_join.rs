//! Steps 3 to 8 in one: who speaks no C3P joins by an INVITE to the conference that offers a medium.
//! His session with that medium's server is all he has; while it lasts he is in (RFC 4579 §5.1).

use std::collections::BTreeSet;

use confab_machine::Time;
use confab_schema::uri::{McuType, UserUri};

use super::{Action, ENDPOINTS_PER_PERSON, Focus, InviteId, join::Joiner, lobby::Place};
use crate::{policy, reason::Reason};

impl Focus {
    pub(super) fn join_medium(
        &mut self,
        now: Time,
        invite: InviteId,
        joiner: Joiner,
        offered: &[McuType],
        out: &mut Vec<Action>,
    ) {
        match self.admit_to_medium(now, &joiner, offered) {
            Err(reason) => out.push(Action::RefuseInvite { invite, reason }),
            Ok((place, media)) => {
                let Joiner { user, identity, display_name } = joiner;
                let endpoint = self.entropy.guid();
                let roster = if place.waits { &mut self.lobby.roster } else { &mut self.roster };
                roster.add_person(&user, display_name, place.role);
                roster.add_medium_join(&user, invite, media, endpoint, identity);
                self.changed(now, &user);
                out.push(Action::CountPeople { count: self.roster.len() });
                self.activate(now, out);
                self.pass_on(now, invite, &user, media, out);
            }
        }
    }

    /// The place of somebody who may come in, and the medium he comes by.
    fn admit_to_medium(
        &self,
        now: Time,
        joiner: &Joiner,
        offered: &[McuType],
    ) -> Result<(Place, McuType), Reason> {
        let place = self.admission(now, joiner)?;
        let mut common = offered.iter().filter(|media| self.media.contains(media)).peekable();
        common.peek().ok_or(Reason::NoCommonMedium)?;
        let media = common.find(|media| !place.waits || policy::holds_the_waiting(**media));
        let media = *media.ok_or(Reason::InLobby)?;
        if self.roster_of(&joiner.user).join_count(&joiner.user) >= ENDPOINTS_PER_PERSON {
            return Err(Reason::Full);
        }
        self.may_wait()?;
        Ok((place, media))
    }

    pub(super) fn invite_lost(&mut self, now: Time, invite: InviteId, out: &mut Vec<Action>) {
        self.mcus.forget_waiting(invite);
        self.end_medium_join(now, invite, out);
    }

    /// The INVITE came to nothing.
    pub(super) fn refuse_invite(
        &mut self,
        now: Time,
        invite: InviteId,
        reason: Reason,
        out: &mut Vec<Action>,
    ) {
        out.push(Action::RefuseInvite { invite, reason });
        self.end_medium_join(now, invite, out);
    }

    fn end_medium_join(&mut self, now: Time, invite: InviteId, out: &mut Vec<Action>) {
        let gone = self.roster.remove_medium_join(invite);
        if let Some(user) = gone.or_else(|| self.lobby.roster.remove_medium_join(invite)) {
            self.left_medium(now, &user, &[invite], out);
        }
    }

    /// What an MCU no longer has of a person, he has left; with his last endpoint the conference.
    pub(super) fn end_medium_joins(
        &mut self,
        now: Time,
        user: &UserUri,
        media: McuType,
        out: &mut Vec<Action>,
    ) {
        let over = self.roster_of_mut(user).end_medium_joins(user, media);
        if !over.is_empty() {
            self.left_medium(now, user, &over, out);
        }
    }

    /// An MCU is lost with INVITEs on their way to it, which it has not told of yet; those in `kept`
    /// wait for its successor.
    pub(super) fn lose_medium_joins(
        &mut self,
        now: Time,
        media: McuType,
        kept: &BTreeSet<InviteId>,
        out: &mut Vec<Action>,
    ) {
        let rosters = [&self.roster, &self.lobby.roster];
        let unseen: Vec<InviteId> =
            rosters.into_iter().flat_map(|roster| roster.unseen_medium_joins(media)).collect();
        for invite in unseen {
            if !kept.contains(&invite) {
                self.invite_lost(now, invite, out);
            }
        }
    }

    fn left_medium(&mut self, now: Time, user: &UserUri, over: &[InviteId], out: &mut Vec<Action>) {
        out.extend(over.iter().map(|invite| Action::InviteOver { invite: *invite }));
        self.changed(now, user);
        if !self.roster_of(user).has_joined(user) {
            self.remove_from_mcus(user, None, out);
            self.remove_person(now, user, None, out);
        }
    }
}
