//! What a Focus' events and actions say in the flow trace.

use confab_machine::{
    Component::{Client, Focus, McuFactory, Policy, Store},
    FlowNote, Traced,
};
use confab_schema::cccp;

use super::{Action, Event, Referral};
use crate::mcu_factory::component as mcu;

fn command(request: &cccp::Request) -> String {
    let names: Vec<String> = request.commands.iter().map(cccp::Command::summary).collect();
    names.join(" ")
}

fn outcome(response: &cccp::Response) -> String {
    let name = response.results.first().map_or("", |result| result.name.as_str());
    let reason = response.results.first().and_then(|result| result.reason.as_deref()).unwrap_or_default();
    format!("{name} {} {reason}", response.code.as_str()).trim_end().to_owned()
}

impl Traced for Event {
    fn flow_note(&self) -> Option<FlowNote> {
        let note = match self {
            Event::Join { user, .. } => {
                FlowNote::new(3, Client, Focus, format!("INVITE addUser {}", user.traced()))
            }
            Event::JoinMedium { user, offered, .. } => {
                let media: Vec<&str> = offered.iter().map(|media| media.as_str()).collect();
                FlowNote::new(3, Client, Focus, format!("INVITE {} {}", media.join(" "), user.traced()))
            }
            Event::InviteLost { .. } => FlowNote::new(3, Client, Focus, "the INVITE is given up or cut off"),
            Event::Left { .. } => FlowNote::new(3, Client, Focus, "BYE"),
            Event::Subscribe { user, .. } => {
                FlowNote::new(3, Client, Focus, format!("SUBSCRIBE conference {}", user.traced()))
            }
            Event::Command { request, .. } => {
                FlowNote::new(7, Client, Focus, format!("INFO {}", command(request)))
            }
            Event::Referred { wanted, target, .. } => {
                let what = if *wanted == Referral::Remove { "BYE" } else { "INVITE" };
                FlowNote::new(7, Client, Focus, format!("REFER {what} {}", target.traced()))
            }
            Event::McuInvited { user, mcu, .. } => {
                FlowNote::new(7, Client, Focus, format!("INVITE {} {}", mcu.media.as_str(), user.traced()))
            }
            Event::McuReady { control_url, .. } => {
                // The last part of the URL is what gives access to the conference.
                let place = control_url.rsplit_once('/').map_or(control_url.as_str(), |(place, _)| place);
                FlowNote::new(6, McuFactory, Focus, format!("{place}/…"))
            }
            Event::McuUnavailable { media } => {
                FlowNote::new(6, McuFactory, Focus, format!("no server for {}", media.as_str()))
            }
            Event::McuAnswered { media, response } => FlowNote::new(7, mcu(*media), Focus, outcome(response)),
            Event::McuUnreachable { media, .. } => {
                FlowNote::new(7, mcu(*media), Focus, "does not answer on the control link")
            }
            Event::McuLost { media } => {
                FlowNote::new(7, McuFactory, Focus, format!("the server for {} is lost", media.as_str()))
            }
            Event::McuNotified { media, document } => {
                let people = document.users.as_ref().map_or(0, |users| users.users.len());
                FlowNote::new(8, mcu(*media), Focus, format!("conference-info: {people} changed"))
            }
            Event::RecordChanged { record } => {
                FlowNote::new(4, Store, Focus, format!("the record is v{}", record.version))
            }
            Event::EndRequested => FlowNote::new(7, Store, Focus, "end the meeting"),
            Event::RecordGone => FlowNote::new(4, Store, Focus, "the record was deleted"),
            Event::Broken => FlowNote::new(7, Focus, Focus, "end the meeting, which is broken"),
            Event::StoreFailed => FlowNote::new(4, Store, Focus, "the record could not be saved"),
            Event::Refresh { .. } | Event::Behind { .. } | Event::Unsubscribed { .. } | Event::Unheard => {
                return None;
            }
        };
        Some(note)
    }
}

impl Traced for Action {
    fn flow_note(&self) -> Option<FlowNote> {
        let note = match self {
            Action::Admit { response, .. } => {
                let role = match response.results.first().map(|result| &result.body) {
                    Some(cccp::ResultBody::AddUser { user, .. }) => {
                        user.roles.first().map_or("", |role| role.as_str())
                    }
                    _ => "",
                };
                FlowNote::new(4, Policy, Focus, format!("admit {role}"))
            }
            Action::RefuseJoin { reason, .. } => {
                FlowNote::new(4, Policy, Focus, format!("refuse: {}", reason.sentence()))
            }
            Action::EndJoin { ending, .. } => {
                FlowNote::new(7, Focus, Client, format!("BYE: {}", ending.sentence()))
            }
            Action::AcceptSubscription { .. } => FlowNote::new(3, Focus, Client, "200 conference-info full"),
            Action::RefuseSubscription { reason, .. } | Action::RefuseCommand { reason, .. } => {
                FlowNote::new(4, Policy, Focus, format!("refuse: {}", reason.sentence()))
            }
            Action::Notify { subscriptions, version, .. } => FlowNote::new(
                7,
                Focus,
                Client,
                format!("NOTIFY conference-info v{version} to {}", subscriptions.len()),
            ),
            Action::NotifyEach { documents, version } => FlowNote::new(
                7,
                Focus,
                Client,
                format!("NOTIFY conference-info v{version} to {}, each his own", documents.len()),
            ),
            Action::FinishCommand { response, .. } => {
                FlowNote::new(7, Focus, Client, format!("INFO {}", outcome(response)))
            }
            Action::RequestMcu { media } => {
                FlowNote::new(5, Focus, McuFactory, format!("{}?", media.as_str()))
            }
            Action::CommandMcu { media, request, .. } | Action::EndMcu { media, request, .. } => {
                FlowNote::new(7, Focus, mcu(*media), command(request))
            }
            Action::ForwardInvite { media, .. } => FlowNote::new(8, Focus, mcu(*media), "INVITE forwarded"),
            Action::MoveMcu { media, .. } => FlowNote::new(8, Focus, mcu(*media), "sessions go on here"),
            Action::RefuseInvite { reason, .. } => {
                FlowNote::new(8, Focus, Client, format!("refuse: {}", reason.sentence()))
            }
            Action::Save { record, .. } => {
                FlowNote::new(4, Focus, Store, format!("save v{}", record.version))
            }
            Action::End => FlowNote::new(7, Focus, Client, "the meeting is over"),
            Action::AcceptCommand { .. }
            | Action::EndSubscription { .. }
            | Action::InviteOver { .. }
            | Action::SaveCalls { .. }
            | Action::CountPeople { .. }
            | Action::ExpectEnd { .. } => return None,
        };
        Some(note)
    }
}
