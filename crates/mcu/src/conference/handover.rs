//! What one MCU tells the Focus about an endpoint's session, so that another can go on with it
//! when the first is lost: the participant's client notices nothing, or is asked for new media.

use confab_machine::Time;
use confab_schema::conference_info::Endpoint;
use confab_sip::{Dialog, SessionTimer};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Medium, Room, Session, roster::LegState};

/// How far the successor's numbers lie beyond those that the Focus knows of: more than anybody is
/// sent in the lifetime of one MCU.
const NUMBERS_SKIPPED: u32 = 1 << 20;

/// A session as it is handed over.
#[derive(Serialize, Deserialize)]
struct Handover<S> {
    dialog: Dialog,
    accepts: S,
    timer: Option<SessionTimer>,
}

/// The session as text for [`Endpoint::handover`].
pub(super) fn write<S: Clone + Serialize>(session: &Session<S>) -> String {
    let Session { dialog, own, timer, .. } = session;
    let handover = Handover { dialog: dialog.clone(), accepts: own.clone(), timer: *timer };
    serde_json::to_string(&handover).expect("a dialog is made of strings and numbers")
}

/// The session that `endpoint` was handed over with, if it was and can be read. Text of another
/// make of MCU is none: the participant then has to come anew.
fn read<S: DeserializeOwned>(now: Time, endpoint: &Endpoint) -> Option<Session<S>> {
    let Handover { mut dialog, accepts, mut timer } =
        serde_json::from_str(endpoint.handover.as_deref()?).ok()?;
    dialog.skip_numbers(NUMBERS_SKIPPED);
    // When the session was refreshed last, only the lost one knew.
    if let Some(timer) = &mut timer {
        timer.refreshed(now);
    }
    Some(Session { dialog, flow: None, own: accepts, unacknowledged: None, call: None, timer })
}

impl<M: Medium> Room<M> {
    /// The state that an endpoint begins with: in session if it is handed over, else expected.
    pub(super) fn first_state(now: Time, endpoint: &Endpoint, until: Time) -> LegState<M::Session> {
        match read(now, endpoint) {
            Some(session) => LegState::InSession(Box::new(session)),
            None => LegState::Expected { until },
        }
    }
}
