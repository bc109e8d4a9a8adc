//! One state out of many: what the server tells watchers (MS-PRES §3.2; the exact formula is not
//! published).
// Deviation: the order machine, user, busy, idle and every number in it is ours; the documents give
// the inputs, the names of the results and the order of machine states.

use confab_schema::presence::{State, StateKind};

/// Shown for someone who cannot be reached.
pub(crate) const OFFLINE: u32 = 18_500;
/// Shown for someone who has signed in and said nothing.
pub(crate) const AVAILABLE: u32 = 3_500;
const AVAILABLE_IDLE: u32 = 5_000;
const BUSY_IDLE: u32 = 8_000;
const AWAY: u32 = 15_500;

/// The lowest availability of each class; it ends where the next begins.
pub(crate) mod class {
    pub(crate) const AVAILABLE: u32 = 3_000;
    pub(crate) const AVAILABLE_IDLE: u32 = 4_500;
    pub(crate) const BUSY: u32 = 6_000;
    pub(crate) const DO_NOT_DISTURB: u32 = 9_000;
    pub(crate) const BE_RIGHT_BACK: u32 = 12_000;
    pub(crate) const AWAY: u32 = 15_000;
    pub(crate) const OFFLINE: u32 = 18_000;
}

/// The aggregate of `inputs` for a user who is `signed_in` or not.
pub(crate) fn aggregate<'a>(signed_in: bool, inputs: impl IntoIterator<Item = &'a State>) -> State {
    let inputs: Vec<&State> = inputs.into_iter().collect();
    if !signed_in {
        return State::new(StateKind::AggregateState, OFFLINE);
    }
    // The device someone is at speaks for all. A client that says nothing about its device, such
    // as a telephone, counts as one someone is at.
    let machines = inputs.iter().filter(|state| state.kind == StateKind::MachineState);
    let machine = machines.map(|state| state.availability).min().unwrap_or(AVAILABLE);
    if machine >= class::OFFLINE {
        return State::new(StateKind::AggregateState, OFFLINE);
    }
    let user = inputs.iter().find(|state| state.kind == StateKind::UserState);
    if let Some(user) = user.filter(|user| user.availability >= class::BE_RIGHT_BACK) {
        return result(user.availability, Some(user));
    }
    let winner = busiest(&inputs);
    let busy = winner.map_or(AVAILABLE, |state| state.availability);
    result(with_idleness(busy, machine, user.is_some()), winner)
}

/// The input that says most about why the user should not be interrupted.
fn busiest<'a>(inputs: &[&'a State]) -> Option<&'a State> {
    let counts = |state: &&&State| {
        let about_person = !matches!(state.kind, StateKind::MachineState | StateKind::AggregateState);
        about_person && (class::AVAILABLE..class::BE_RIGHT_BACK).contains(&state.availability)
    };
    inputs.iter().filter(counts).max_by_key(|state| state.availability).copied()
}

fn with_idleness(busy: u32, machine: u32, user_has_spoken: bool) -> u32 {
    let left = machine >= class::AWAY;
    let idle = (class::AVAILABLE_IDLE..class::BUSY).contains(&machine) || left && !user_has_spoken;
    match busy {
        ..class::BUSY if left => AWAY,
        ..class::BUSY if idle => AVAILABLE_IDLE,
        class::BUSY..class::DO_NOT_DISTURB if idle => BUSY_IDLE,
        busy => busy,
    }
}

fn result(availability: u32, winner: Option<&State>) -> State {
    let mut result = State::new(StateKind::AggregateState, availability);
    if let Some(winner) = winner {
        result.activity = winner.activity.clone().filter(|activity| activity.goes_with(availability));
        result.meeting_subject = winner.meeting_subject.clone();
        result.meeting_location = winner.meeting_location.clone();
    }
    result
}

#[cfg(test)]
mod tests {
    use confab_schema::presence::Activity;

    use super::*;

    fn machine(availability: u32) -> State {
        State::new(StateKind::MachineState, availability)
    }

    fn user(availability: u32) -> State {
        State::new(StateKind::UserState, availability)
    }

    fn on_the_phone() -> State {
        let activity = Activity { token: "on-the-phone".into(), min: Some(6500), max: Some(8999) };
        State { activity: Some(activity), ..State::new(StateKind::PhoneState, 6500) }
    }

    fn meeting() -> State {
        let activity = Activity { token: "in-a-meeting".into(), min: Some(6500), max: Some(8999) };
        let meeting_subject = Some("Plans".into());
        State { activity: Some(activity), meeting_subject, ..State::new(StateKind::CalendarState, 6500) }
    }

    fn check(inputs: &[State], availability: u32, activity: Option<&str>) {
        let result = aggregate(true, inputs);
        let token = result.activity.as_ref().map(|activity| activity.token.as_str());
        assert_eq!((result.availability, token), (availability, activity), "{inputs:?}");
    }

    #[test]
    fn the_signed_out_are_offline_whatever_they_said() {
        assert_eq!(aggregate(false, &[machine(3500), user(3500)]).availability, OFFLINE);
    }

    #[test]
    fn rules() {
        check(&[], 3500, None);
        check(&[machine(3500)], 3500, None);
        check(&[machine(18500), user(3500)], OFFLINE, None);
        // The device someone is at speaks for all.
        check(&[machine(15500), machine(3500)], 3500, None);
        check(&[machine(15500), machine(5000)], 5000, None);
        check(&[machine(15500)], 15500, None);
        check(&[machine(15500), user(3500)], 15500, None);
        // What the user says he is counts more than his calls and meetings, if it is more.
        check(&[machine(3500), user(15500), on_the_phone()], 15500, None);
        check(&[machine(3500), user(18500)], 18500, None);
        check(&[machine(3500), user(9500), on_the_phone()], 9500, None);
        check(&[machine(3500), user(3500), on_the_phone()], 6500, Some("on-the-phone"));
        check(&[on_the_phone()], 6500, Some("on-the-phone"));
        // Idle devices.
        check(&[machine(5000), user(6500)], 8000, None);
        check(&[machine(5000), user(3500), meeting()], 8000, Some("in-a-meeting"));
        check(&[machine(15500), on_the_phone()], 8000, Some("on-the-phone"));
        check(&[machine(15500), user(6500)], 6500, None);
        check(&[machine(5000), user(9500)], 9500, None);
    }

    #[test]
    fn an_activity_is_shown_only_where_it_fits() {
        let mut phone = on_the_phone();
        phone.activity = Some(Activity { token: "x".into(), min: None, max: Some(7000) });
        check(&[machine(3500), phone.clone()], 6500, Some("x"));
        check(&[machine(5000), phone], 8000, None);
        assert_eq!(aggregate(true, &[meeting()]).meeting_subject.as_deref(), Some("Plans"));
    }
}
