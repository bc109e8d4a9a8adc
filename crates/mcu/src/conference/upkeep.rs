//! Session timers of participants' dialogs (RFC 4028): a client that can do them and is silently gone
//! is taken out when its session has run out.

use confab_machine::Time;
use confab_sip::{Method, SessionDue};

use super::{Farewell, Leg, LegId, Medium, Pending, Room, Session, Timer};
use crate::Action;

/// What somebody is told whose session nobody kept alive.
const EXPIRED: Farewell = Farewell::failed("The session was not kept alive.");

impl<M: Medium> Room<M> {
    /// From now on the session timer of this leg, if it has one, is looked at when it is due.
    pub(super) fn await_refresh(&mut self, id: LegId) {
        let at = self.roster.leg(id).and_then(Leg::session).and_then(Session::deadline);
        self.timers.extend(at.map(|at| (at, Timer::Leg(id))));
    }

    /// What changed the session timer of this leg is over: `before` is when it was due until now.
    pub(super) fn await_refresh_instead(&mut self, id: LegId, before: Option<Time>) {
        if let Some(at) = before {
            self.timers.remove(&(at, Timer::Leg(id)));
        }
        self.await_refresh(id);
    }

    /// The session timer of this leg is due.
    pub(super) fn keep_up(&mut self, now: Time, id: LegId, out: &mut Vec<Action>) {
        let Some(session) = self.roster.leg_mut(id).and_then(Leg::session_mut) else { return };
        match session.timer.as_mut().and_then(|timer| timer.due(now)) {
            Some(SessionDue::Expire) => self.remove_leg(now, id, Some(EXPIRED), out),
            Some(SessionDue::Refresh) => self.refresh(id, out),
            None => self.await_refresh(id),
        }
    }

    fn refresh(&mut self, id: LegId, out: &mut Vec<Action>) {
        let Some(session) = self.roster.leg_mut(id).and_then(Leg::session_mut) else { return };
        let mut update = session.dialog.request(Method::Update);
        if let Some(timer) = &session.timer {
            timer.write(&mut update);
        }
        let (flow, local) = (session.flow, session.dialog.local_uri().clone());
        update.headers.push("Contact", self.contact(&local));
        let number = self.send(flow, update, None, out);
        self.requests.insert(number, Pending::Refresh { leg: id });
        self.await_refresh(id);
    }

    /// Our UPDATE was answered finally; 408 = not at all.
    // Deviation: any answer but 408 and 481 keeps the session alive, for it shows that the client is there.
    pub(super) fn refreshed(&mut self, now: Time, number: u64, status: u16, out: &mut Vec<Action>) {
        let Some(Pending::Refresh { leg }) = self.requests.remove(&number) else { return };
        if matches!(status, 408 | 481) {
            return self.remove_leg(now, leg, Some(EXPIRED), out);
        }
        let Some(session) = self.roster.leg_mut(leg).and_then(Leg::session_mut) else { return };
        let before = session.deadline();
        if let Some(timer) = &mut session.timer {
            timer.refreshed(now);
        }
        self.await_refresh_instead(leg, before);
    }
}
