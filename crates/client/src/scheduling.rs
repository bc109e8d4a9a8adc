//! Scheduling: SERVICE to the Focus Factory, and what its record says. Steps 1 and 2 (MS-CONFPRO).

use confab_schema::{
    cccp::{self, Code, ConferenceKeys, ResultBody},
    conference_info::{ConferenceInfo, ConferenceView, Description, EntityView, Role, State, User, Users},
    uri::{ConferenceUri, FactoryUri, McuType, UserUri},
};
use confab_sip::{Method, Response};

use crate::{
    refusal::Refusal,
    user_agent::{Answer, Context, Purpose},
    vocabulary::{
        Command, ConferenceChange, ConferenceSummary, NewConference, Observation, Outcome, Secret,
        Undertaking,
    },
};

/// Sends a scheduling command: [`Command::GetCapabilities`], [`Command::Create`],
/// [`Command::GetConference`], [`Command::ListConferences`], [`Command::ModifyConference`] or
/// [`Command::DeleteConference`].
pub(crate) fn send(cx: &mut Context<'_>, command: Command) {
    let document = match &command {
        Command::Create(conference) => {
            let id = hexadecimal(cx.agent.entropy.bytes());
            cccp::Command::AddConference {
                info: Box::new(record(conference, id)),
                connection_info: Vec::new(),
            }
        }
        Command::GetConference { conference } => cccp::Command::GetConference(key(conference)),
        Command::ListConferences => cccp::Command::GetConferences,
        Command::ModifyConference { conference, version, change } => cccp::Command::ModifyConference {
            mcu_uri: None,
            info: Box::new(changed(conference, *version, change)),
            whole: None,
        },
        Command::DeleteConference { conference } => cccp::Command::DeleteConference(key(conference)),
        _ => cccp::Command::GetConferencingCapabilities,
    };
    let factory = FactoryUri::of(cx.agent.config.user.clone()).to_string();
    match cx.agent.request_to(Method::Service, &factory) {
        Ok(mut request) => {
            let (_, body) = cx.agent.cccp(&factory, document);
            request.set_body(cccp::CONTENT_TYPE, body);
            cx.send(request, Purpose::Schedule(command));
        }
        Err(refusal) => refused(cx, command, refusal),
    }
}

/// The factory's answer.
pub(crate) fn answered(cx: &mut Context<'_>, command: Command, answer: Answer) {
    match answer.and_then(|response| outcome(&command, &response)) {
        Ok(observation) => cx.observe(observation),
        Err(refusal) => refused(cx, command, refusal),
    }
}

fn refused(cx: &mut Context<'_>, command: Command, refusal: Refusal) {
    let what = match command {
        Command::Create(_) => Undertaking::Create,
        Command::GetConference { .. } => Undertaking::GetConference,
        Command::ListConferences => Undertaking::ListConferences,
        Command::ModifyConference { .. } => Undertaking::ModifyConference,
        Command::DeleteConference { .. } => {
            let outcome = Outcome::Refused(refusal);
            return cx.observe(Observation::CommandDone { command, outcome });
        }
        _ => Undertaking::GetCapabilities,
    };
    cx.observe(Observation::Refused { what, refusal });
}

/// What a 2xx says; its body may still refuse.
fn outcome(command: &Command, response: &Response) -> Result<Observation, Refusal> {
    let nonsense = || Refusal::local(502, "The answer of the Focus Factory could not be understood.");
    let document = cccp::Response::parse(&response.body).map_err(|_| nonsense())?;
    if document.code != Code::Success {
        return Err(Refusal::from_c3p(response.status, &document));
    }
    let body = document.results.into_iter().next().map(|result| result.body);
    match (command, body) {
        (Command::DeleteConference { .. }, _) => {
            Ok(Observation::CommandDone { command: command.clone(), outcome: Outcome::Success })
        }
        (Command::GetCapabilities, Some(ResultBody::Capabilities(capabilities))) => {
            Ok(Observation::Capabilities { version: capabilities.version, media: capabilities.mcu_types })
        }
        (Command::Create(_), Some(ResultBody::Conference(info))) => {
            let conference = ConferenceUri::parse(&info.entity).map_err(|_| nonsense())?;
            Ok(Observation::Created { conference })
        }
        (Command::GetConference { conference }, Some(ResultBody::Conference(info))) => {
            Ok(Observation::Conference(Box::new(summary(conference, &info))))
        }
        (Command::ListConferences, Some(ResultBody::Conferences(all))) => {
            let one = |info: &ConferenceInfo| Some(summary(&ConferenceUri::parse(&info.entity).ok()?, info));
            Ok(Observation::Conferences(all.iter().filter_map(one).collect()))
        }
        (Command::ModifyConference { conference, .. }, Some(ResultBody::Conference(info))) => {
            Ok(Observation::Modified { conference: conference.clone(), version: info.version })
        }
        _ => Err(nonsense()),
    }
}

fn key(conference: &ConferenceUri) -> ConferenceKeys {
    ConferenceKeys { entity: None, conference_id: Some(conference.id.to_string()) }
}

/// The record that is asked for.
fn record(conference: &NewConference, id: String) -> ConferenceInfo {
    let users = invited(&conference.invitees);
    let view = |media: &McuType| EntityView { entity: media.as_str().to_owned(), ..EntityView::default() };
    ConferenceInfo {
        description: Some(Description {
            subject: Some(conference.subject.clone()),
            conference_id: Some(id),
            expiry: conference.expires,
            admission: Some(conference.admission),
            ..Description::default()
        }),
        users: (!users.users.is_empty()).then_some(users),
        view: Some(ConferenceView {
            state: State::Full,
            entity_views: conference.media.iter().map(view).collect(),
        }),
        ..ConferenceInfo::default()
    }
}

/// What is to be different.
fn changed(conference: &ConferenceUri, version: u32, change: &ConferenceChange) -> ConferenceInfo {
    ConferenceInfo {
        version,
        description: Some(Description {
            subject: change.subject.clone(),
            conference_id: Some(conference.id.to_string()),
            conference_key: change.key.as_ref().map(|key| key.reveal().to_owned()),
            expiry: change.expires,
            admission: change.admission,
            ..Description::default()
        }),
        users: change.invitees.as_ref().map(|invitees| invited(invitees)),
        ..ConferenceInfo::default()
    }
}

fn invited(invitees: &[(UserUri, Role)]) -> Users {
    let user = |(user, role): &(UserUri, _)| User { roles: vec![*role], ..User::new(user.to_string()) };
    Users { state: State::Full, users: invitees.iter().map(user).collect() }
}

fn summary(conference: &ConferenceUri, info: &ConferenceInfo) -> ConferenceSummary {
    let description = info.description.clone().unwrap_or_default();
    let users = info.users.iter().flat_map(|users| &users.users);
    let views = info.view.iter().flat_map(|view| &view.entity_views);
    ConferenceSummary {
        conference: conference.clone(),
        version: info.version,
        subject: description.subject.unwrap_or_default(),
        admission: description.admission,
        key: description.conference_key.map(Secret::from),
        is_active: description.is_active,
        expires: description.expiry,
        invitees: users
            .filter_map(|user| Some((UserUri::parse(&user.entity).ok()?, *user.roles.first()?)))
            .collect(),
        media: views.filter_map(|view| McuType::parse(&view.entity).ok()).collect(),
    }
}

/// A conference ID as clients of this kind make it: 32 upper-case hexadecimal digits.
fn hexadecimal(bytes: [u8; 16]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}
