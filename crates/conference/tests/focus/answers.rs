//! Finding, among the actions of a Focus, what a story waits for; and the MCU's answers.

use confab_conference::{
    focus::{Action, CommandId, Ending, Event, InviteId, JoinId, SubscriptionId},
    reason::Reason,
};
use confab_schema::{
    cccp::{Code, Command, CommandResult, Request, Response, ResultBody},
    conference_info::{ConferenceInfo, Role},
    mcu_control::MCU_SERVER_URI,
    uri::{McuType, McuUri},
};

use crate::stage::Stage;

/// Where the chat server takes INVITEs.
pub const SERVER_URI: &str = "sip:immcu.example.test:5062";

/// The role granted to a joiner.
pub fn granted(done: &[Action], join: JoinId) -> Option<Role> {
    done.iter().find_map(|action| match action {
        Action::Admit { join: this, response } if *this == join => {
            assert_eq!(response.code, Code::Success);
            let ResultBody::AddUser { user, .. } = &response.results[0].body else { panic!("{response:?}") };
            let [role] = *user.roles else { panic!("exactly one role is granted, not {:?}", user.roles) };
            Some(role)
        }
        _ => None,
    })
}

pub fn join_refused(done: &[Action], join: JoinId) -> Option<Reason> {
    done.iter().find_map(|action| match action {
        Action::RefuseJoin { join: this, reason } if *this == join => Some(*reason),
        _ => None,
    })
}

pub fn subscription_refused(done: &[Action], subscription: SubscriptionId) -> Option<Reason> {
    done.iter().find_map(|action| match action {
        Action::RefuseSubscription { subscription: this, reason } if *this == subscription => Some(*reason),
        _ => None,
    })
}

pub fn invite_refused(done: &[Action], invite: InviteId) -> Option<Reason> {
    done.iter().find_map(|action| match action {
        Action::RefuseInvite { invite: this, reason } if *this == invite => Some(*reason),
        _ => None,
    })
}

pub fn forwarded(done: &[Action], invite: InviteId) -> Option<&str> {
    done.iter().find_map(|action| match action {
        Action::ForwardInvite { invite: this, server_uri, .. } if *this == invite => {
            Some(server_uri.as_str())
        }
        _ => None,
    })
}

pub fn command_refused(done: &[Action], command: CommandId) -> Option<Reason> {
    done.iter().find_map(|action| match action {
        Action::RefuseCommand { command: this, reason } if *this == command => Some(*reason),
        _ => None,
    })
}

pub fn accepted(done: &[Action], command: CommandId) -> bool {
    done.iter().any(|action| match action {
        Action::AcceptCommand { command: this, response } => {
            assert_eq!(response.code, Code::Pending);
            assert_eq!(response.results.len(), 1, "the answer names the command");
            assert_eq!(response.results[0].body, ResultBody::Empty);
            *this == command
        }
        _ => false,
    })
}

/// The final answer to a command.
pub fn finished(done: &[Action], command: CommandId) -> Option<&Response> {
    let mut answers = done.iter().filter_map(|action| match action {
        Action::FinishCommand { command: this, response, .. } if *this == command => Some(response),
        _ => None,
    });
    let answer = answers.next();
    assert!(answers.next().is_none(), "a command is finished once");
    answer
}

/// `success`, or why a command failed.
pub fn verdict(done: &[Action], command: CommandId) -> Option<&str> {
    finished(done, command).map(|response| match response.code {
        Code::Success => "success",
        Code::Failure => response.failure_reason().expect("a failure has a reason"),
        Code::Pending => panic!("pending is not final"),
    })
}

pub fn ended(done: &[Action], join: JoinId) -> Option<Ending> {
    done.iter().find_map(|action| match action {
        Action::EndJoin { join: this, ending } if *this == join => Some(*ending),
        _ => None,
    })
}

/// What was commanded of the conferencing servers.
pub fn mcu_commands(done: &[Action]) -> Vec<Request> {
    done.iter()
        .filter_map(|action| match action {
            Action::CommandMcu { request, .. } | Action::EndMcu { request, .. } => Some(request.clone()),
            _ => None,
        })
        .collect()
}

/// The one command to a conferencing server.
pub fn mcu_command(done: &[Action]) -> Request {
    let commands = mcu_commands(done);
    let [command] = commands.as_slice() else { panic!("one command, not {commands:?}") };
    command.clone()
}

/// Where in `done` the first such action is.
pub fn place(done: &[Action], is: impl Fn(&Action) -> bool) -> usize {
    done.iter().position(is).unwrap_or_else(|| panic!("not among {done:#?}"))
}

/// The documents sent to all.
pub fn notified(done: &[Action]) -> Vec<ConferenceInfo> {
    done.iter()
        .filter_map(|action| match action {
            Action::Notify { document, .. } => Some(ConferenceInfo::parse(document).unwrap()),
            _ => None,
        })
        .collect()
}

impl Stage {
    /// A server has done what it was told; of `addUser` it says where it takes the INVITE.
    pub fn mcu_succeeds(&mut self, request: &Request) {
        let response = match &request.commands[0] {
            Command::AddUser(add) => {
                let body = ResultBody::AddUser {
                    keys: add.keys.clone(),
                    user: Box::new(add.user.clone()),
                    connection_info: vec![(MCU_SERVER_URI.into(), SERVER_URI.into())],
                };
                Response::success(request, CommandResult::new("addUser", body))
            }
            _ => Response::new(request, Code::Success, ResultBody::Empty),
        };
        self.mcu_answers(response);
    }

    pub fn mcu_fails(&mut self, request: &Request, reason: &str) {
        self.mcu_answers(Response::failed(request, reason));
    }

    pub fn mcu_answers(&mut self, response: Response) {
        let server = McuUri::parse(&response.from).map(|server| server.media);
        self.hear(Event::McuAnswered { media: server.unwrap_or(McuType::Chat), response });
    }
}
