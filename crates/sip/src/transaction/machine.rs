//! The four machines as two: whatever serves a request, and whatever makes one.

use confab_machine::Time;

use super::{
    Failure, Timers, client::Client, invite_client::InviteClient, invite_server::InviteServer, server::Server,
};
use crate::{Method, Request, Response};

/// What a client machine wants done.
pub(super) enum ClientEffect {
    Transmit(Request),
    Deliver(Response),
    /// A 2xx to INVITE that was delivered before.
    Repeat(Response),
    Cancel(Request),
    Fail(Failure),
}

/// What a server machine wants done.
pub(super) enum ServerEffect {
    Transmit(Response),
    Fail(Failure),
}

/// A transaction that someone began with us.
pub(super) enum ServerMachine {
    Invite(InviteServer),
    Other(Server),
}

impl ServerMachine {
    pub(super) fn start(now: Time, request: &Request, reliable: bool, timers: Timers) -> ServerMachine {
        match request.method {
            Method::Invite => ServerMachine::Invite(InviteServer::start(now, request, reliable, timers)),
            _ => ServerMachine::Other(Server::start(now, reliable, timers)),
        }
    }

    pub(super) fn repeat(&mut self, out: &mut Vec<ServerEffect>) {
        match self {
            ServerMachine::Invite(machine) => machine.repeat(out),
            ServerMachine::Other(machine) => machine.repeat(out),
        }
    }

    pub(super) fn respond(&mut self, now: Time, response: Response, out: &mut Vec<ServerEffect>) {
        match self {
            ServerMachine::Invite(machine) => machine.respond(now, response, out),
            ServerMachine::Other(machine) => machine.respond(now, response, out),
        }
    }

    pub(super) fn lose_flow(&mut self, out: &mut Vec<ServerEffect>) {
        match self {
            ServerMachine::Invite(machine) => machine.lose_flow(out),
            ServerMachine::Other(machine) => machine.lose_flow(out),
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match self {
            ServerMachine::Invite(machine) => machine.deadline(),
            ServerMachine::Other(machine) => machine.deadline(),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time, out: &mut Vec<ServerEffect>) {
        match self {
            ServerMachine::Invite(machine) => machine.handle_timeout(now, out),
            ServerMachine::Other(machine) => machine.handle_timeout(now, out),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match self {
            ServerMachine::Invite(machine) => machine.is_over(),
            ServerMachine::Other(machine) => machine.is_over(),
        }
    }
}

/// A transaction that we began with someone.
pub(super) enum ClientMachine {
    Invite(InviteClient),
    Other(Client),
}

impl ClientMachine {
    pub(super) fn start(
        now: Time,
        request: Request,
        reliable: bool,
        timers: Timers,
        out: &mut Vec<ClientEffect>,
    ) -> ClientMachine {
        match request.method {
            Method::Invite => ClientMachine::Invite(InviteClient::start(now, request, reliable, timers, out)),
            _ => ClientMachine::Other(Client::start(now, request, reliable, timers, out)),
        }
    }

    pub(super) fn receive(&mut self, now: Time, response: Response, out: &mut Vec<ClientEffect>) {
        match self {
            ClientMachine::Invite(machine) => machine.receive(now, response, out),
            ClientMachine::Other(machine) => machine.receive(now, response, out),
        }
    }

    /// Whether the user still waits for the outcome.
    pub(super) fn is_pending(&self) -> bool {
        match self {
            ClientMachine::Invite(machine) => machine.is_pending(),
            ClientMachine::Other(machine) => machine.is_pending(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match self {
            ClientMachine::Invite(machine) => machine.deadline(),
            ClientMachine::Other(machine) => machine.deadline(),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time, out: &mut Vec<ClientEffect>) {
        match self {
            ClientMachine::Invite(machine) => machine.handle_timeout(now, out),
            ClientMachine::Other(machine) => machine.handle_timeout(now, out),
        }
    }

    pub(super) fn is_over(&self) -> bool {
        match self {
            ClientMachine::Invite(machine) => machine.is_over(),
            ClientMachine::Other(machine) => machine.is_over(),
        }
    }
}
