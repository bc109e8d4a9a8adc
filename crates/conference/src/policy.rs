//! Step 4: every "may X do Y" question of a conference, as total, pure functions.
//!
//! Nothing outside this file compares roles to decide a right (a tidy test holds that).
//! Sources: c3p §5 (rights), §7.2 (admission); OCS 2007 R2 technical reference.

use confab_machine::Time;
use confab_schema::{
    conference_info::{AdmissionPolicy, MediaRules, Role},
    uri::{ConferenceUri, McuType, OpaqueTarget, UserUri},
};
use serde::{Deserialize, Serialize};

use crate::{reason::Reason, record::ConferenceRecord};

/// What the deployment allows its conferences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeetingPolicy {
    /// How many people may be in one conference at once.
    pub max_participants: usize,
    /// A meeting of more people than this is a large one: not everybody is told of everybody.
    pub large_meeting: usize,
    /// How many records one organizer may have at once.
    pub max_conferences_per_organizer: usize,
    /// The media that work and may be scheduled.
    pub media: Vec<McuType>,
    /// Whether conferences may admit people who have not signed in but know the conference key.
    pub allow_anonymous: bool,
    /// Whether a conference has a lobby whose organizer does not say.
    pub lobby: bool,
    /// How long a conference scheduled without an expiry lives, in seconds.
    pub default_lifetime_s: u64,
    /// A meeting ends so long after the last person who signed in has left it, in seconds.
    pub empty_limit_s: u64,
    /// A meeting ends so long after the last join, in seconds.
    pub idle_limit_s: u64,
}

/// How a person has proved who he is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Identity {
    /// Signed in to this deployment.
    Enterprise,
    /// Not signed in, but he has proved that he knows the conference key.
    Anonymous,
}

/// The answer to "may he join?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes, with this role.
    Admit(Role),
    /// When a leader lets him in, with this role; until then he waits in the lobby.
    Wait(Role),
    /// No, by this rule.
    Refuse(Reason),
}

/// The answer to "may he do this?".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// Yes.
    Allow,
    /// No, by this rule.
    Refuse(Reason),
}

/// What a participant may want to do to a running conference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Receive the roster and its changes.
    Watch,
    /// Join a medium oneself.
    JoinMedium,
    /// Have a conferencing server call oneself at another address.
    CallOneself,
    /// Have a conferencing server call somebody else.
    CallOthers,
    /// Take oneself out.
    RemoveOneself,
    /// Eject somebody else.
    EjectOthers,
    /// Promote and demote.
    ChangeRoles,
    /// Lock and unlock.
    Lock,
    /// Change the settings of a conferencing server.
    ConfigureMcu,
    /// End the conference for everybody.
    End,
    /// Take oneself out of what is heard, or back into it.
    MuteOneself,
    /// Decide whether somebody else is heard.
    MuteOthers,
    /// See who waits in the lobby, let him in or send him away.
    KeepLobby,
}

/// Who has which right: the one table. Columns: attendee, presenter, the refusal.
const RIGHTS: [(Right, bool, bool, Reason); 13] = [
    (Right::Watch, true, true, Reason::NotJoined),
    (Right::JoinMedium, true, true, Reason::NotJoined),
    (Right::CallOneself, true, true, Reason::NotJoined),
    (Right::CallOthers, false, true, Reason::AttendeeDialOut),
    (Right::RemoveOneself, true, true, Reason::NotJoined),
    (Right::EjectOthers, false, true, Reason::NotPresenter),
    (Right::ChangeRoles, false, true, Reason::NotPresenter),
    (Right::Lock, false, true, Reason::NotPresenter),
    (Right::ConfigureMcu, false, true, Reason::NotPresenter),
    (Right::End, false, true, Reason::NotPresenter),
    (Right::MuteOneself, true, true, Reason::NotJoined),
    (Right::MuteOthers, false, true, Reason::NotPresenter),
    (Right::KeepLobby, false, true, Reason::NotPresenter),
];

/// May somebody with `role` (`None` = has not joined) exercise `right`?
pub fn may(role: Option<Role>, right: Right) -> Permission {
    let Some(role) = role else { return Permission::Refuse(Reason::NotJoined) };
    let (_, attendee, presenter, refusal) =
        RIGHTS.iter().find(|row| row.0 == right).expect("the table has a row for each right");
    let allowed = match role {
        Role::Attendee => *attendee,
        Role::Presenter => *presenter,
    };
    if allowed { Permission::Allow } else { Permission::Refuse(*refusal) }
}

/// May somebody with `role` have a conferencing server call himself?
///
/// Nobody knows who is behind an anonymous attendee, nor whose the address is that would ring.
// Deviation: no text within reach says so; a leader may call anyone, and so may an anonymous leader.
pub fn may_call_himself(role: Option<Role>, identity: Option<Identity>) -> Permission {
    let right = match identity {
        Some(Identity::Anonymous) => Right::CallOthers,
        Some(Identity::Enterprise) | None => Right::CallOneself,
    };
    may(role, right)
}

/// What is wanted of the voice of somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filtering {
    /// Whoever asks asks for himself.
    pub oneself: bool,
    /// He is to be heard.
    pub heard: bool,
    /// Something is said of what he hears, or he is one whom a leader has wait and hear nothing.
    pub held: bool,
}

/// May somebody with `role` have `wanted` of a conferencing server whose rules are these?
///
/// To be mute is everybody's own affair. To be heard again is not, where the rules have muted everybody
/// for good; and whom a leader has wait does not let himself in.
pub fn may_filter(role: Option<Role>, wanted: Filtering, rules: Option<&MediaRules>) -> Permission {
    let others = may(role, Right::MuteOthers);
    if !wanted.oneself || wanted.held || others == Permission::Allow {
        return others;
    }
    let hard = rules.is_some_and(|rules| !rules.may_unmute(role));
    match may(role, Right::MuteOneself) {
        Permission::Allow if wanted.heard && hard => Permission::Refuse(Reason::HardMuted),
        permission => permission,
    }
}

/// May somebody with `role` give `target` the role `new`?
///
/// The organizer stays presenter whatever others wish: the conference is his.
pub fn may_give_role(
    record: &ConferenceRecord,
    role: Option<Role>,
    target: &UserUri,
    new: Role,
) -> Permission {
    match may(role, Right::ChangeRoles) {
        Permission::Allow if target == record.organizer() && new != Role::Presenter => {
            Permission::Refuse(Reason::OrganizerLeads)
        }
        permission => permission,
    }
}

/// May `user` join the conference of `record` now, or wait until he may?
///
/// `present` is the role of somebody who is in already (he joins with another endpoint, which
/// neither lock nor size hinders), `people` how many there are.
pub fn may_join(
    record: &ConferenceRecord,
    policy: &MeetingPolicy,
    now: Time,
    user: &UserUri,
    identity: Identity,
    present: Option<Role>,
    people: usize,
) -> Admission {
    if now >= record.expires {
        return Admission::Refuse(Reason::NoSuchConference);
    }
    if let Some(role) = present {
        return Admission::Admit(role);
    }
    if identity == Identity::Anonymous && !admits_anonymous(record, policy, now) {
        return Admission::Refuse(Reason::AnonymousNotAllowed);
    }
    // An address that nobody has proved to be his makes nobody organizer or invitee.
    let listed = match identity {
        Identity::Enterprise => record.listed_role(user),
        Identity::Anonymous => None,
    };
    let organizer = identity == Identity::Enterprise && user == record.organizer();
    let named = match record.admission {
        AdmissionPolicy::OpenAuthenticated | AdmissionPolicy::Anonymous => true,
        AdmissionPolicy::ClosedAuthenticated => listed.is_some(),
    };
    // Deviation: a lock keeps out everybody new but the organizer, who could not unlock it otherwise.
    let obstacle = if record.locked && !organizer {
        Some(Reason::Locked)
    } else {
        (!named).then_some(Reason::NotInvited)
    };
    let role = listed.unwrap_or(Role::Attendee);
    // Deviation: what keeps people out has them wait where there is a lobby, and so does not having signed in.
    if record.lobby && (obstacle.is_some() || identity == Identity::Anonymous) {
        return Admission::Wait(role);
    }
    if let Some(reason) = obstacle {
        return Admission::Refuse(reason);
    }
    if people >= policy.max_participants && !organizer {
        return Admission::Refuse(Reason::Full);
    }
    Admission::Admit(role)
}

/// May one more wait in a lobby in which `waiting` people do? As many as may be in.
pub fn may_wait(policy: &MeetingPolicy, waiting: usize) -> Permission {
    if waiting < policy.max_participants { Permission::Allow } else { Permission::Refuse(Reason::Full) }
}

/// May somebody who waits be let in now, by one who keeps the lobby, where `people` are in?
pub fn may_be_let_in(policy: &MeetingPolicy, people: usize) -> Permission {
    if people < policy.max_participants { Permission::Allow } else { Permission::Refuse(Reason::Full) }
}

/// May somebody exercise `right` while he waits in the lobby? He may call and hear nothing, and be told
/// that he waits.
pub fn may_who_waits(right: Right) -> Permission {
    match right {
        Right::Watch | Right::JoinMedium => Permission::Allow,
        _ => Permission::Refuse(Reason::InLobby),
    }
}

/// Can people be kept waiting on a server of this medium? What is written could not be taken back.
pub fn holds_the_waiting(media: McuType) -> bool {
    media == McuType::AudioVideo
}

/// May people who have not signed in join the conference of `record`, if they know its key?
pub fn admits_anonymous(record: &ConferenceRecord, policy: &MeetingPolicy, now: Time) -> bool {
    policy.allow_anonymous && record.admission == AdmissionPolicy::Anonymous && now < record.expires
}

/// May somebody who has not signed in send requests to `target`? Which conference's key he must know
/// then (c3p §13: 3020, 3021).
///
/// # Errors
/// The [`Reason`] why not: it is neither a Focus nor a conferencing server.
pub fn anonymous_conference(target: &OpaqueTarget) -> Result<&ConferenceUri, Reason> {
    match target {
        OpaqueTarget::Focus(conference) => Ok(conference),
        OpaqueTarget::Mcu(mcu) => Ok(&mcu.conference),
        OpaqueTarget::FocusFactory(_) => Err(Reason::AnonymousElsewhere),
        OpaqueTarget::User(_) | OpaqueTarget::Other => Err(Reason::AnonymousNoConference),
    }
}

/// May somebody be called into the conference of `record` now, by one who may call?
///
/// Being called stands in for an invitation, so only expiry, lock and size can hinder it.
pub fn may_be_called(
    record: &ConferenceRecord,
    policy: &MeetingPolicy,
    now: Time,
    present: Option<Role>,
    people: usize,
) -> Permission {
    if now >= record.expires {
        Permission::Refuse(Reason::NoSuchConference)
    } else if present.is_some() {
        Permission::Allow
    } else if record.locked {
        Permission::Refuse(Reason::Locked)
    } else if people >= policy.max_participants {
        Permission::Refuse(Reason::Full)
    } else {
        Permission::Allow
    }
}

/// Is everybody told of somebody with this role, even in a large meeting?
pub fn stands_out(role: Role) -> bool {
    match role {
        Role::Presenter => true,
        Role::Attendee => false,
    }
}

/// The role of somebody who is called in by one who wants him to have the role `wanted`.
///
/// As when he joins, the organizer leads and the listed have the role they were listed with.
pub fn role_when_called(record: &ConferenceRecord, user: &UserUri, wanted: Option<Role>) -> Role {
    record.listed_role(user).or(wanted).unwrap_or(Role::Attendee)
}

/// May `requester` schedule, change, read or delete conferences in the name of `organizer`?
pub fn may_schedule(requester: &UserUri, organizer: &UserUri) -> Permission {
    if requester == organizer { Permission::Allow } else { Permission::Refuse(Reason::BadFrom) }
}

/// Does this admission policy need nothing that the deployment forbids?
pub fn may_admit_by(admission: AdmissionPolicy, policy: &MeetingPolicy) -> Permission {
    match admission {
        AdmissionPolicy::Anonymous if !policy.allow_anonymous => {
            Permission::Refuse(Reason::AnonymousNotAllowed)
        }
        _ => Permission::Allow,
    }
}

#[cfg(test)]
mod tests {
    use confab_schema::uri::ConferenceUri;

    use super::*;

    fn user(name: &str) -> UserUri {
        UserUri::parse(&format!("sip:{name}@example.test")).unwrap()
    }

    fn policy(allow_anonymous: bool) -> MeetingPolicy {
        MeetingPolicy {
            max_participants: 3,
            large_meeting: 500,
            max_conferences_per_organizer: 10,
            media: vec![McuType::Chat],
            allow_anonymous,
            lobby: false,
            default_lifetime_s: 60,
            empty_limit_s: 600,
            idle_limit_s: 86_400,
        }
    }

    fn record(admission: AdmissionPolicy, locked: bool) -> ConferenceRecord {
        let uri = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:ABCDEFGH12345678";
        ConferenceRecord {
            uri: ConferenceUri::parse(uri).unwrap(),
            version: 1,
            subject: String::new(),
            description: String::new(),
            expires: Time::from_unix_secs(1000),
            admission,
            conference_key: None,
            locked,
            lobby: false,
            participants: vec![
                crate::record::Invitee { user: user("bob"), role: Role::Attendee },
                crate::record::Invitee { user: user("pat"), role: Role::Presenter },
            ],
            media: vec![McuType::Chat],
            notification_data: None,
            organizer_data: None,
            created: Time::EPOCH,
            updated: Time::EPOCH,
            last_activated: None,
        }
    }

    #[test]
    fn admission_table() {
        use Admission::{Admit, Refuse};
        use AdmissionPolicy::{Anonymous as Key, ClosedAuthenticated as Closed, OpenAuthenticated as Open};
        use Identity::{Anonymous, Enterprise};
        use Role::{Attendee, Presenter};
        let policy = policy(true);
        #[rustfmt::skip]
        let table = [
            // admission, locked, who, identity, present, people, at → answer
            (Open,   false, "ann", Enterprise, None, 0, 0, Admit(Presenter)),
            (Open,   false, "bob", Enterprise, None, 0, 0, Admit(Attendee)),
            (Open,   false, "pat", Enterprise, None, 0, 0, Admit(Presenter)),
            (Open,   false, "eve", Enterprise, None, 0, 0, Admit(Attendee)),
            (Closed, false, "eve", Enterprise, None, 0, 0, Refuse(Reason::NotInvited)),
            (Closed, false, "bob", Enterprise, None, 0, 0, Admit(Attendee)),
            (Open,   false, "eve", Anonymous,  None, 0, 0, Refuse(Reason::AnonymousNotAllowed)),
            (Closed, false, "bob", Anonymous,  None, 0, 0, Refuse(Reason::AnonymousNotAllowed)),
            (Key,    false, "eve", Enterprise, None, 0, 0, Admit(Attendee)),
            (Key,    false, "eve", Anonymous,  None, 0, 0, Admit(Attendee)),
            (Key,    false, "pat", Anonymous,  None, 0, 0, Admit(Attendee)),
            (Key,    false, "ann", Anonymous,  None, 0, 0, Admit(Attendee)),
            (Key,    true,  "ann", Anonymous,  None, 0, 0, Refuse(Reason::Locked)),
            (Key,    true,  "eve", Anonymous,  Some(Presenter), 1, 0, Admit(Presenter)),
            (Key,    false, "eve", Anonymous,  None, 3, 0, Refuse(Reason::Full)),
            (Key,    false, "eve", Anonymous,  None, 0, 1000, Refuse(Reason::NoSuchConference)),
            (Open,   true,  "bob", Enterprise, None, 0, 0, Refuse(Reason::Locked)),
            (Open,   true,  "pat", Enterprise, None, 0, 0, Refuse(Reason::Locked)),
            (Open,   true,  "ann", Enterprise, None, 0, 0, Admit(Presenter)),
            (Open,   true,  "bob", Enterprise, Some(Presenter), 2, 0, Admit(Presenter)),
            (Open,   false, "eve", Enterprise, None, 2, 0, Admit(Attendee)),
            (Open,   false, "eve", Enterprise, None, 3, 0, Refuse(Reason::Full)),
            (Open,   false, "ann", Enterprise, None, 3, 0, Admit(Presenter)),
            (Open,   false, "ann", Enterprise, None, 0, 1000, Refuse(Reason::NoSuchConference)),
        ];
        for (admission, locked, who, identity, present, people, at, answer) in table {
            let got = may_join(
                &record(admission, locked),
                &policy,
                Time::from_unix_secs(at),
                &user(who),
                identity,
                present,
                people,
            );
            assert_eq!(got, answer, "{admission:?} locked={locked} {who} {identity:?} {present:?} {people}");
        }
    }

    #[test]
    fn lobby_table() {
        use Admission::{Admit, Refuse, Wait};
        use AdmissionPolicy::{Anonymous as Key, ClosedAuthenticated as Closed, OpenAuthenticated as Open};
        use Identity::{Anonymous, Enterprise};
        use Role::{Attendee, Presenter};
        #[rustfmt::skip]
        let table = [
            // admission, locked, who, identity, present, people, at → answer
            (Open,   false, "eve", Enterprise, None, 0, 0, Admit(Attendee)),
            (Key,    false, "eve", Enterprise, None, 0, 0, Admit(Attendee)),
            (Closed, false, "bob", Enterprise, None, 0, 0, Admit(Attendee)),
            (Closed, false, "pat", Enterprise, None, 0, 0, Admit(Presenter)),
            (Closed, false, "eve", Enterprise, None, 0, 0, Wait(Attendee)),
            (Key,    false, "eve", Anonymous,  None, 0, 0, Wait(Attendee)),
            // Nobody has proved that he is Ann or Pat who has not signed in.
            (Key,    false, "ann", Anonymous,  None, 0, 0, Wait(Attendee)),
            (Key,    false, "pat", Anonymous,  None, 0, 0, Wait(Attendee)),
            (Closed, false, "eve", Anonymous,  None, 0, 0, Refuse(Reason::AnonymousNotAllowed)),
            (Open,   true,  "bob", Enterprise, None, 0, 0, Wait(Attendee)),
            (Open,   true,  "pat", Enterprise, None, 0, 0, Wait(Presenter)),
            (Open,   true,  "ann", Enterprise, None, 0, 0, Admit(Presenter)),
            (Open,   true,  "bob", Enterprise, Some(Attendee), 2, 0, Admit(Attendee)),
            (Key,    true,  "eve", Anonymous,  Some(Attendee), 2, 0, Admit(Attendee)),
            // Whether there is room is asked when he is let in.
            (Open,   true,  "bob", Enterprise, None, 3, 0, Wait(Attendee)),
            (Open,   false, "eve", Enterprise, None, 3, 0, Refuse(Reason::Full)),
            (Open,   true,  "bob", Enterprise, None, 0, 1000, Refuse(Reason::NoSuchConference)),
        ];
        for (admission, locked, who, identity, present, people, at, answer) in table {
            let record = ConferenceRecord { lobby: true, ..record(admission, locked) };
            let at = Time::from_unix_secs(at);
            let got = may_join(&record, &policy(true), at, &user(who), identity, present, people);
            assert_eq!(got, answer, "{admission:?} locked={locked} {who} {identity:?} {present:?} {people}");
        }
        for (people, expect) in [(2, Permission::Allow), (3, Permission::Refuse(Reason::Full))] {
            assert_eq!(may_wait(&policy(true), people), expect);
            assert_eq!(may_be_let_in(&policy(true), people), expect);
        }
    }

    #[test]
    fn who_waits_may_do_next_to_nothing() {
        let allowed = [Right::Watch, Right::JoinMedium];
        for (right, ..) in RIGHTS {
            let refused = Permission::Refuse(Reason::InLobby);
            let expect = if allowed.contains(&right) { Permission::Allow } else { refused };
            assert_eq!(may_who_waits(right), expect, "{right:?}");
        }
        assert_eq!(McuType::ALL.map(holds_the_waiting).iter().filter(|holds| **holds).count(), 1);
    }

    #[test]
    fn anonymous_people_go_to_conferences_alone_and_only_where_it_is_allowed() {
        let conference = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:ABCDEFGH12345678";
        for (target, expect) in [
            (conference, None),
            ("sip:ann@example.test;gruu;opaque=app:conf:chat:id:ABCDEFGH12345678", None),
            ("sip:ann@example.test;gruu;opaque=app:conf:focusfactory", Some(Reason::AnonymousElsewhere)),
            ("sip:ann@example.test", Some(Reason::AnonymousNoConference)),
            ("sip:0123@anonymous.invalid", Some(Reason::AnonymousNoConference)),
            ("sip:ann@example.test;gruu;opaque=srvr:MRAS:0", Some(Reason::AnonymousNoConference)),
            ("sip:example.test", Some(Reason::AnonymousNoConference)),
        ] {
            let target = OpaqueTarget::parse(target);
            let answer = anonymous_conference(&target).map(ToString::to_string);
            assert_eq!(answer.clone().err(), expect, "{target:?}");
            assert!(answer.is_err() || answer.as_deref() == Ok(conference), "{target:?}");
        }
        for (allow_anonymous, expect) in
            [(true, Permission::Allow), (false, Permission::Refuse(Reason::AnonymousNotAllowed))]
        {
            let policy = policy(allow_anonymous);
            assert_eq!(may_admit_by(AdmissionPolicy::Anonymous, &policy), expect);
            assert_eq!(may_admit_by(AdmissionPolicy::OpenAuthenticated, &policy), Permission::Allow);
            let record = record(AdmissionPolicy::Anonymous, false);
            assert_eq!(admits_anonymous(&record, &policy, Time::EPOCH), allow_anonymous);
        }
    }

    #[test]
    fn called_table() {
        use Role::{Attendee, Presenter};
        let record = record(AdmissionPolicy::OpenAuthenticated, false);
        for (who, wanted, role) in [
            ("ann", Some(Attendee), Presenter),
            ("pat", None, Presenter),
            ("bob", Some(Presenter), Attendee),
            ("eve", Some(Presenter), Presenter),
            ("eve", None, Attendee),
        ] {
            assert_eq!(role_when_called(&record, &user(who), wanted), role, "{who} {wanted:?}");
        }
    }

    #[test]
    fn anonymous_attendees_have_nobody_called() {
        use Permission::{Allow, Refuse};
        for (role, identity, expect) in [
            (Role::Attendee, Identity::Enterprise, Allow),
            (Role::Attendee, Identity::Anonymous, Refuse(Reason::AttendeeDialOut)),
            (Role::Presenter, Identity::Anonymous, Allow),
        ] {
            assert_eq!(may_call_himself(Some(role), Some(identity)), expect, "{role:?} {identity:?}");
        }
        assert_eq!(may_call_himself(None, None), Refuse(Reason::NotJoined));
    }

    #[test]
    fn rights_table() {
        for (right, attendee, presenter, refusal) in RIGHTS {
            let expect = |allowed| if allowed { Permission::Allow } else { Permission::Refuse(refusal) };
            assert_eq!(may(Some(Role::Attendee), right), expect(attendee), "{right:?}");
            assert_eq!(may(Some(Role::Presenter), right), expect(presenter), "{right:?}");
            assert_eq!(may(None, right), Permission::Refuse(Reason::NotJoined), "{right:?}");
        }
    }

    #[test]
    fn who_may_have_whom_heard() {
        use confab_schema::conference_info::{MediaFilter, RuleRole};
        let (attendee, presenter) = (Some(Role::Attendee), Some(Role::Presenter));
        let hard = MediaRules {
            initial: vec![(RuleRole::Attendee, MediaFilter::Block)],
            own: vec![(RuleRole::Default, false)],
        };
        let soft = MediaRules { own: Vec::new(), ..hard.clone() };
        let refuse = Permission::Refuse;
        for (role, oneself, heard, held, rules, expect) in [
            (attendee, true, false, false, None, Permission::Allow),
            (attendee, true, true, false, None, Permission::Allow),
            (attendee, true, true, false, Some(&soft), Permission::Allow),
            (attendee, true, true, false, Some(&hard), refuse(Reason::HardMuted)),
            (attendee, true, false, false, Some(&hard), Permission::Allow),
            (attendee, true, true, true, None, refuse(Reason::NotPresenter)),
            (attendee, false, false, false, None, refuse(Reason::NotPresenter)),
            (presenter, true, true, false, Some(&hard), Permission::Allow),
            (presenter, false, true, true, Some(&hard), Permission::Allow),
            (None, true, false, false, None, refuse(Reason::NotJoined)),
            (None, false, false, false, None, refuse(Reason::NotJoined)),
        ] {
            let wanted = Filtering { oneself, heard, held };
            assert_eq!(may_filter(role, wanted, rules), expect, "{role:?} {wanted:?}");
        }
    }
}
