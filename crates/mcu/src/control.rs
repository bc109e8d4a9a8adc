//! Step 7: the commands of the Focus as verbs, and their answers (c3p §8, §9). The same for all
//! MCUs.

use confab_schema::{
    cccp::{AddUser, Command, ConferenceKeys, MediaKeys, Request, Response},
    conference_info::{Endpoint, JoiningMethod, Media, MediaRules, Role},
    uri::{ConferenceUri, UserUri},
};

/// What the Focus wants of one conference.
#[derive(Debug, PartialEq)]
pub(crate) enum Verb<'a> {
    /// Expect somebody, who comes himself with this endpoint.
    Expect {
        /// Who.
        user: UserUri,
        /// The command.
        add: &'a AddUser,
        /// The endpoint in it.
        endpoint: &'a Endpoint,
    },
    /// Call somebody.
    Call {
        /// Whom.
        user: UserUri,
        /// The command.
        add: &'a AddUser,
        /// The endpoint in it.
        endpoint: &'a Endpoint,
    },
    /// Remove somebody with all his endpoints.
    Remove(UserUri),
    /// Give somebody these roles.
    SetRoles(UserUri, &'a [Role]),
    /// Lock or unlock.
    Lock(bool),
    /// Tell everything.
    Describe,
    /// End the conference.
    End,
    /// What only some media know.
    Media(MediaVerb<'a>),
}

/// What the Focus wants of some media.
#[derive(Debug, PartialEq)]
pub(crate) enum MediaVerb<'a> {
    /// Have somebody heard, or not.
    Filter {
        /// Who.
        user: UserUri,
        /// Which of his endpoints, and which medium of it.
        keys: &'a MediaKeys,
        /// How it is to be.
        media: &'a Media,
    },
    /// Who is heard when he comes in, and who is now.
    Rules(&'a MediaRules),
    /// Let somebody in who waits in the lobby.
    LetIn(UserUri),
}

/// Why a command is not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// No command of this kind is known, or several came at once.
    NotSupported,
    /// It is about another conference.
    NoSuchConference,
    /// It is about somebody who is not in.
    NoSuchUser,
    /// It is about an endpoint that is not there.
    NoSuchEndpoint,
    /// Anything else: unreadable, or over a limit.
    Other,
}

impl Fault {
    /// The reason in C3P.
    pub(crate) const fn token(self) -> &'static str {
        match self {
            Fault::NotSupported => "notSupported",
            Fault::NoSuchConference => "conferenceDoesntExist",
            Fault::NoSuchUser => "userDoesntExist",
            Fault::NoSuchEndpoint => "endpointDoesntExist",
            Fault::Other => "otherFailure",
        }
    }
}

/// Reads a command about `conference`.
// Deviation: several commands in one request are refused as notSupported, none is carried out.
pub(crate) fn read<'a>(request: &'a Request, conference: &ConferenceUri) -> Result<Verb<'a>, Fault> {
    let [command] = request.commands.as_slice() else { return Err(Fault::NotSupported) };
    match command {
        Command::AddUser(add) => {
            check_keys(&add.keys, conference)?;
            read_add_user(add)
        }
        Command::DeleteUser { keys, .. } => {
            check_entity(Some(&keys.entity), conference)?;
            Ok(Verb::Remove(user(&keys.user)?))
        }
        Command::ModifyUserRoles { keys, roles } => {
            check_entity(Some(&keys.entity), conference)?;
            Ok(Verb::SetRoles(user(&keys.user)?, roles))
        }
        Command::ModifyConferenceLock { keys, locked } => {
            check_keys(keys, conference)?;
            Ok(Verb::Lock(*locked))
        }
        Command::GetConference(keys) => {
            check_keys(keys, conference)?;
            Ok(Verb::Describe)
        }
        Command::DeleteConference(keys) => {
            check_keys(keys, conference)?;
            Ok(Verb::End)
        }
        Command::ModifyEndpointMedia { keys, media, .. } => {
            check_entity(Some(&keys.entity), conference)?;
            Ok(Verb::Media(MediaVerb::Filter { user: user(&keys.user)?, keys, media }))
        }
        // Whom the Focus sends away it removes.
        Command::SetLobbyAccess { keys, users, granted: true } => {
            check_keys(keys, conference)?;
            let [waiting] = users.as_slice() else { return Err(Fault::NotSupported) };
            Ok(Verb::Media(MediaVerb::LetIn(user(waiting)?)))
        }
        Command::ModifyConference { info, .. } => {
            check_entity(Some(&info.entity), conference)?;
            let views = info.view.iter().flat_map(|view| &view.entity_views);
            let rules = views.filter_map(|view| view.rules.as_ref()).next();
            rules.map(|rules| Verb::Media(MediaVerb::Rules(rules))).ok_or(Fault::NotSupported)
        }
        _ => Err(Fault::NotSupported),
    }
}

/// The answer that says why not.
pub(crate) fn failure(request: &Request, fault: Fault) -> Response {
    Response::failed(request, fault.token())
}

/// `addUser` names one endpoint and how it joins; one that does not say joins itself.
fn read_add_user(add: &AddUser) -> Result<Verb<'_>, Fault> {
    let user = user(&add.user.entity)?;
    let [endpoint] = add.user.endpoints.as_slice() else { return Err(Fault::Other) };
    if endpoint.entity.is_empty() {
        return Err(Fault::Other);
    }
    match endpoint.joining_method {
        None | Some(JoiningMethod::DialedIn) => Ok(Verb::Expect { user, add, endpoint }),
        Some(JoiningMethod::DialedOut) => Ok(Verb::Call { user, add, endpoint }),
        Some(_) => Err(Fault::Other),
    }
}

fn user(uri: &str) -> Result<UserUri, Fault> {
    UserUri::parse(uri).map_err(|_| Fault::Other)
}

fn check_keys(keys: &ConferenceKeys, conference: &ConferenceUri) -> Result<(), Fault> {
    check_entity(keys.entity.as_deref(), conference)
}

/// A command without a key is about the conference whose control link it came by.
fn check_entity(entity: Option<&str>, conference: &ConferenceUri) -> Result<(), Fault> {
    match entity {
        None => Ok(()),
        Some(entity) if ConferenceUri::parse(entity).is_ok_and(|uri| uri == *conference) => Ok(()),
        Some(_) => Err(Fault::NoSuchConference),
    }
}
