//! SERVICE for a user: publishing presence, saying who sees it (MS-PRES §3), and what clients report.

use confab_schema::{
    publication::{
        FAULT_TYPE, PUBLISH_TYPE, Publish, SET_CONTAINER_MEMBERS_TYPE, SET_SUBSCRIBERS_TYPE,
        SetContainerMembers, SetSubscribers,
    },
    roaming::{RoamingData, SELF_TYPE},
    uri::UserUri,
};
use confab_sip::{Request, Response};

use crate::{Arrival, News, Users, UsersAction, presence::Rejected, refusal::Refusal, target};

const SOAP_TYPE: &str = "application/soap+xml";
const ERROR_REPORT_TYPE: &str = "application/msrtc-reporterror+xml";

impl Users {
    pub(crate) fn service(
        &mut self,
        arrival: &Arrival<'_>,
        out: &mut Vec<UsersAction>,
    ) -> Result<(), Refusal> {
        let request = arrival.request;
        let epid = arrival.from()?.epid().map(str::to_owned);
        arrival.check_own(&target(request)?)?;
        let malformed =
            |fault: confab_schema::Malformed| Refusal::new(400, fault.to_string()).with_diagnostic(4001);
        match arrival.body_type().as_deref() {
            Some(PUBLISH_TYPE) => {
                let publish = Publish::parse(&request.body).map_err(malformed)?;
                self.publish(arrival, epid, &publish, out)
            }
            Some(SET_CONTAINER_MEMBERS_TYPE) => {
                let members = SetContainerMembers::parse(&request.body).map_err(malformed)?;
                self.set_members(arrival, &members, out)
            }
            Some(SET_SUBSCRIBERS_TYPE) => {
                let subscribers = SetSubscribers::parse(&request.body).map_err(malformed)?;
                self.set_subscribers(arrival, &subscribers, out)
            }
            // The report is about the client's own troubles, and is nobody's but the log's.
            Some(ERROR_REPORT_TYPE) => {
                out.push(UsersAction::Respond(Response::to(request, 200)));
                Ok(())
            }
            Some(SOAP_TYPE) => Err(Refusal::new(501, "This server does not keep contact lists.")),
            _ => Err(Refusal::new(415, "This server does not know the service that is asked for.")
                .with_diagnostic(4013)
                .with_header(
                    "Accept",
                    [PUBLISH_TYPE, SET_CONTAINER_MEMBERS_TYPE, SET_SUBSCRIBERS_TYPE].join(", "),
                )),
        }
    }

    fn publish(
        &mut self,
        arrival: &Arrival<'_>,
        epid: Option<String>,
        publish: &Publish,
        out: &mut Vec<UsersAction>,
    ) -> Result<(), Refusal> {
        let Arrival { now, user, request, .. } = *arrival;
        match UserUri::parse(&publish.uri) {
            Ok(owner) => arrival.check_own(&owner)?,
            Err(fault) => return Err(Refusal::new(400, fault.to_string())),
        }
        let epid = epid.filter(|epid| self.registrar.has_epid(now, user, epid));
        // Else nothing would ever end what it publishes.
        let epid = epid.ok_or_else(|| Refusal::new(403, "Sign in with this client before publishing."))?;
        match self.presence.publish(now, user, &epid, publish) {
            Ok(changed) => {
                let categories = Some(self.presence.owned(user, Some(&changed)));
                let mut response = Response::to(request, 200);
                response.set_body(SELF_TYPE, RoamingData { categories, ..RoamingData::default() }.to_bytes());
                out.push(UsersAction::Respond(response));
                self.announce(now, user, &News { changed, answered: Some(epid), ..News::default() }, out);
                Ok(())
            }
            Err(rejected) => reject(request, rejected, out),
        }
    }

    fn set_members(
        &mut self,
        arrival: &Arrival<'_>,
        members: &SetContainerMembers,
        out: &mut Vec<UsersAction>,
    ) -> Result<(), Refusal> {
        let Arrival { now, user, request, .. } = *arrival;
        match self.presence.set_members(user, members) {
            Ok(containers) => {
                out.push(UsersAction::Respond(Response::to(request, 200)));
                self.announce(now, user, &News { containers, ..News::default() }, out);
                Ok(())
            }
            Err(rejected) => reject(request, rejected, out),
        }
    }

    fn set_subscribers(
        &mut self,
        arrival: &Arrival<'_>,
        subscribers: &SetSubscribers,
        out: &mut Vec<UsersAction>,
    ) -> Result<(), Refusal> {
        let Arrival { now, user, request, .. } = *arrival;
        match self.presence.set_subscribers(user, subscribers) {
            Ok(()) => {
                out.push(UsersAction::Respond(Response::to(request, 200)));
                self.announce(now, user, &News { subscribers: true, ..News::default() }, out);
                Ok(())
            }
            Err(rejected) => reject(request, rejected, out),
        }
    }
}

fn reject(request: &Request, rejected: Rejected, out: &mut Vec<UsersAction>) -> Result<(), Refusal> {
    match rejected {
        Rejected::Stale(fault) => {
            let mut response = Response::to(request, 409);
            response.set_body(FAULT_TYPE, fault.to_bytes());
            out.push(UsersAction::Respond(response));
            Ok(())
        }
        Rejected::Malformed(sentence) => Err(Refusal::new(400, sentence).with_diagnostic(4001)),
        Rejected::TooMuch(sentence) => Err(Refusal::new(413, sentence)),
    }
}
