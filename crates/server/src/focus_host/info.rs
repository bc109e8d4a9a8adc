//! INFO: commands to the Focus, and their final answers back (c3p §4.1).

use confab_conference::{
    focus::{self, CommandId, JoinId},
    reason::Reason,
};
use confab_machine::Time;
use confab_schema::cccp;
use confab_sip::{DialogId, Flow, Method, Request, Response, ServerKey};
use serde::{Deserialize, Serialize};

use super::{Action, FocusHost};
use crate::control_link::CCCP;

/// An INFO that has not been answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Command {
    key: ServerKey,
    request: Request,
}

impl FocusHost {
    pub(super) fn info(
        &mut self,
        now: Time,
        key: ServerKey,
        flow: Flow,
        dialog: &DialogId,
        request: Request,
        out: &mut Vec<Action>,
    ) {
        let join = match self.in_dialog(flow, dialog, &request) {
            Ok(join) => join,
            Err(response) => return out.push(Action::Respond { key, response }),
        };
        let document = match self.read_cccp(&request) {
            Ok(document) => document,
            Err(response) => return out.push(Action::Respond { key, response }),
        };
        let command = CommandId(self.next_id());
        self.commands.insert(command, Command { key, request });
        self.tell(now, focus::Event::Command { command, join, request: document }, out);
    }

    pub(super) fn accept_command(
        &mut self,
        command: CommandId,
        pending: &cccp::Response,
        out: &mut Vec<Action>,
    ) {
        let Some(Command { key, request }) = self.commands.remove(&command) else {
            return self.accept_referral(command, out);
        };
        let mut response = Response::to(&request, 202);
        response.set_body(CCCP, pending.to_bytes());
        out.push(Action::Respond { key, response });
    }

    pub(super) fn refuse_command(&mut self, command: CommandId, reason: Reason, out: &mut Vec<Action>) {
        let Some(Command { key, request }) = self.commands.remove(&command) else {
            return self.refuse_referral(command, reason, out);
        };
        let response = self.refusal(&request, reason);
        out.push(Action::Respond { key, response });
    }

    pub(super) fn finish_command(&mut self, join: JoinId, result: &cccp::Response, out: &mut Vec<Action>) {
        self.send_in(join, Method::Info, CCCP, result.to_bytes(), out);
    }
}
