//! Why a request is refused: one enum that maps, in this one place, to the SIP status, the C3P
//! reason token, the `ms-diagnostics` number (MS-OCER §8.4) and the sentence a person is shown.

use serde::{Deserialize, Serialize};

/// The rule that refuses a request. A refusal is a value, not an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The C3P document could not be read.
    C3pUnreadable,
    /// `from` is not the person who sent it.
    BadFrom,
    /// `to` is not the conference it was sent to.
    BadTo,
    /// The user named in the request is not a SIP user, or not the one it must be.
    InvalidTargetUser,
    /// The conference named inside the request is not the one it was sent to.
    InvalidConferenceEntity,
    /// The command is not one this server carries out.
    CommandNotImplemented,
    /// The command cannot be addressed to a conferencing server.
    NotForAnMcu,
    /// The `addUser` document lacks something or holds too much.
    InvalidAddUser,
    /// The endpoint's entity is empty, too long or not text.
    InvalidEndpoint,
    /// No conference has this URI, or it has expired.
    NoSuchConference,
    /// The URI of the conferencing server is not one of this conference.
    InvalidMcu,
    /// The role asked for does not exist.
    InvalidRole,
    /// `joining-method` must be there exactly once.
    InvalidJoiningMethod,
    /// Only invited people may join and this one is not.
    NotInvited,
    /// Only people who signed in may join.
    AnonymousNotAllowed,
    /// Who has not signed in reaches a Focus and its conferencing servers, nothing else of a
    /// conferencing system.
    AnonymousElsewhere,
    /// Who has not signed in reaches conferences only.
    AnonymousNoConference,
    /// Somebody else who has not signed in is in under this address.
    AnonymousTwice,
    /// Too many conference keys were tried.
    TooManyKeys,
    /// A leader has locked the conference.
    Locked,
    /// The conference has as many people as it may.
    Full,
    /// Only leaders may do this.
    NotPresenter,
    /// A leader has muted everybody for good.
    HardMuted,
    /// The organizer leads for as long as the record exists.
    OrganizerLeads,
    /// Attendees may not bring in others by a call.
    AttendeeDialOut,
    /// One must have joined first.
    NotJoined,
    /// One waits in the lobby, or would have to where that is not possible.
    InLobby,
    /// No conferencing server for this medium is available now.
    McuUnavailable,
    /// The conference was not scheduled with this medium.
    MediumNotScheduled,
    /// The offer has none of the conference's media.
    NoCommonMedium,
    /// The organizer has as many records as he may.
    TooManyConferences,
    /// The database does not answer.
    StoreUnavailable,
    /// Too many requests are waiting.
    Busy,
}

impl Reason {
    /// The SIP status of the refusal.
    pub const fn sip_status(self) -> u16 {
        match self {
            Reason::C3pUnreadable
            | Reason::BadFrom
            | Reason::BadTo
            | Reason::InvalidTargetUser
            | Reason::InvalidConferenceEntity
            | Reason::NotForAnMcu
            | Reason::InvalidAddUser
            | Reason::InvalidEndpoint
            | Reason::InvalidRole
            | Reason::InvalidJoiningMethod => 400,
            Reason::NotInvited
            | Reason::AnonymousNotAllowed
            | Reason::AnonymousElsewhere
            | Reason::AnonymousNoConference
            | Reason::AnonymousTwice
            | Reason::TooManyKeys
            | Reason::Locked
            | Reason::Full
            | Reason::NotPresenter
            | Reason::HardMuted
            | Reason::OrganizerLeads
            | Reason::AttendeeDialOut
            | Reason::TooManyConferences
            | Reason::InLobby
            | Reason::NotJoined => 403,
            Reason::NoSuchConference | Reason::InvalidMcu | Reason::MediumNotScheduled => 404,
            Reason::McuUnavailable => 480,
            Reason::NoCommonMedium => 488,
            Reason::CommandNotImplemented => 501,
            Reason::StoreUnavailable | Reason::Busy => 503,
        }
    }

    /// The number for `ms-diagnostics` where MS-OCER names one; never a number of our own.
    pub const fn diagnostics(self) -> Option<u16> {
        match self {
            Reason::BadFrom => Some(3000),
            Reason::BadTo => Some(3001),
            Reason::InvalidTargetUser => Some(3002),
            Reason::InvalidConferenceEntity => Some(3003),
            Reason::CommandNotImplemented => Some(3004),
            Reason::NotForAnMcu => Some(3005),
            Reason::C3pUnreadable => Some(3006),
            Reason::InvalidAddUser => Some(3007),
            Reason::InvalidEndpoint => Some(3009),
            // Deviation: 3012 (invalid conference URI) is also sent for one that names no conference.
            Reason::NoSuchConference => Some(3012),
            Reason::InvalidMcu | Reason::MediumNotScheduled | Reason::NoCommonMedium => Some(3013),
            // Deviation: lock, size and admission have no number in reach; 3014 (authorization) is sent.
            Reason::NotInvited
            | Reason::AnonymousNotAllowed
            | Reason::AnonymousTwice
            | Reason::TooManyKeys
            | Reason::Locked
            | Reason::Full
            | Reason::NotPresenter
            | Reason::HardMuted
            | Reason::OrganizerLeads
            | Reason::TooManyConferences
            | Reason::InLobby
            | Reason::NotJoined => Some(3014),
            Reason::AnonymousElsewhere => Some(3020),
            Reason::AnonymousNoConference => Some(3021),
            Reason::AttendeeDialOut => Some(3015),
            Reason::InvalidRole => Some(3016),
            Reason::InvalidJoiningMethod => Some(3018),
            Reason::McuUnavailable | Reason::StoreUnavailable | Reason::Busy => None,
        }
    }

    /// Whether the number goes into `ms-diagnostics-public` rather than `ms-diagnostics`.
    pub const fn is_public(self) -> bool {
        matches!(self, Reason::CommandNotImplemented)
    }

    /// The reason token of a C3P failure response.
    pub const fn c3p_token(self) -> &'static str {
        match self {
            Reason::NoSuchConference => "conferenceDoesntExist",
            Reason::InvalidTargetUser => "userDoesntExist",
            Reason::CommandNotImplemented => "notSupported",
            Reason::NotInvited
            | Reason::AnonymousNotAllowed
            | Reason::AnonymousElsewhere
            | Reason::AnonymousNoConference
            | Reason::AnonymousTwice
            | Reason::TooManyKeys
            | Reason::Locked
            | Reason::Full
            | Reason::NotPresenter
            | Reason::HardMuted
            | Reason::OrganizerLeads
            | Reason::AttendeeDialOut
            | Reason::InLobby
            | Reason::NotJoined => "unauthorized",
            Reason::MediumNotScheduled | Reason::NoCommonMedium => "mcuTypeNotAvailable",
            Reason::TooManyConferences | Reason::Busy => "serverBusy",
            Reason::C3pUnreadable
            | Reason::BadFrom
            | Reason::BadTo
            | Reason::InvalidConferenceEntity
            | Reason::NotForAnMcu
            | Reason::InvalidAddUser
            | Reason::InvalidEndpoint
            | Reason::InvalidRole
            | Reason::InvalidJoiningMethod => "requestMalformed",
            Reason::InvalidMcu | Reason::McuUnavailable | Reason::StoreUnavailable => "otherFailure",
        }
    }

    /// What a person is told: what happened, why, what to do.
    pub const fn sentence(self) -> &'static str {
        match self {
            Reason::C3pUnreadable => {
                "The conference command could not be read: it is not a valid C3P document."
            }
            Reason::BadFrom => {
                "The command names somebody else as its sender. Send it under your own address."
            }
            Reason::BadTo => "The command is addressed to another conference than the one it was sent to.",
            Reason::InvalidTargetUser => {
                "The command names a person it cannot be about. Check the address; your own is needed to join."
            }
            Reason::InvalidConferenceEntity => {
                "The command names another conference than the one it was sent to."
            }
            Reason::CommandNotImplemented => "This conference command is not one the server carries out.",
            Reason::NotForAnMcu => "This command cannot be addressed to a single conferencing server.",
            Reason::InvalidAddUser => "The request to join lacks the person, or holds more than one.",
            Reason::InvalidEndpoint => "The request to join names no usable endpoint.",
            Reason::NoSuchConference => {
                "There is no such conference, or it has expired. Ask its organizer for a current invitation."
            }
            Reason::InvalidMcu => "This conference has no such conferencing server.",
            Reason::InvalidRole => "Only the roles presenter and attendee exist.",
            Reason::InvalidJoiningMethod => "The request must say exactly once how the person is to join.",
            Reason::NotInvited => {
                "Only people the organizer invited may join this conference. Ask the organizer to invite you."
            }
            // The same whether there is such a conference or not.
            Reason::AnonymousNotAllowed => {
                "Nobody may join here without signing in. Sign in, or ask the organizer for another way."
            }
            Reason::AnonymousElsewhere => {
                "Without signing in you can reach a conference and its servers, nothing else. Sign in first."
            }
            Reason::AnonymousNoConference => {
                "Without signing in you can reach conferences only. Sign in first."
            }
            Reason::AnonymousTwice => {
                "Somebody else has joined under this address. Join again under another one."
            }
            Reason::TooManyKeys => {
                "Too many wrong conference keys were given. Ask the organizer for the right one; try again later."
            }
            Reason::Locked => {
                "The conference is locked: a leader lets nobody else in. Ask a leader to unlock it."
            }
            Reason::Full => {
                "The conference is full. Ask the organizer to raise its size, or try again later."
            }
            Reason::NotPresenter => {
                "Only leaders of the conference may do this. Ask a leader to promote you."
            }
            Reason::HardMuted => "A leader has muted everybody. Ask a leader to have you heard again.",
            Reason::OrganizerLeads => "The organizer always leads and cannot be made an attendee.",
            Reason::AttendeeDialOut => "Only leaders may call others in. Ask a leader to do it.",
            Reason::NotJoined => "You are not in this conference. Join it first.",
            Reason::InLobby => "A leader has to let you in first. Until then only a call can wait.",
            Reason::McuUnavailable => {
                "No conferencing server for this medium is available at the moment. Try again shortly."
            }
            Reason::MediumNotScheduled => "The conference was not scheduled with this medium.",
            Reason::TooManyConferences => "You have as many conferences as you may. Delete one first.",
            Reason::NoCommonMedium => "The call offers none of the media that this conference has.",
            Reason::StoreUnavailable => {
                "The conferencing database does not answer; nothing was changed. Try again shortly."
            }
            Reason::Busy => "The server has too much waiting. Try again shortly.",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_within_the_published_range() {
        for reason in [Reason::C3pUnreadable, Reason::Locked, Reason::NoSuchConference, Reason::InvalidRole] {
            let number = reason.diagnostics().expect("these have one");
            assert!((3000..=3022).contains(&number));
        }
        let anonymous = [Reason::AnonymousElsewhere, Reason::AnonymousNoConference];
        assert_eq!(anonymous.map(Reason::diagnostics), [Some(3020), Some(3021)]);
        assert_eq!(Reason::McuUnavailable.diagnostics(), None);
    }
}
