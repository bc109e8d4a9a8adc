//! SUBSCRIBE dialogs: the event package `conference` (RFC 4575, MS-CONFBAS §3.5, c3p §7.3).

use bytes::Bytes;
use confab_conference::{
    focus::{self, SubscriptionId},
    reason::Reason,
};
use confab_machine::Time;
use confab_schema::conference_info::View;
use confab_sip::{
    Acceptance, DialogId, EndReason, Flow, Method, Request, Response, ServerKey, Subscription, Text, Uri,
};
use serde::{Deserialize, Serialize};

use super::{Action, FocusHost, Sender, Sent, telling::Number};
use crate::control_link::CONFERENCE_INFO;

/// The event package.
const EVENT: &str = "conference";
/// How long a subscription lasts whose client names no time, and the longest anyone gets.
const EXPIRES_S: u32 = 3600;

/// One SUBSCRIBE dialog.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Subscribed {
    pub(super) flow: Flow,
    subscription: Subscription,
    /// The SUBSCRIBE that waits for the Focus' word.
    asking: Option<(ServerKey, Box<Request>)>,
    /// A NOTIFY is under way. There is never more than one; BENOTIFY is not waited for.
    unanswered: bool,
    /// Changes came meanwhile: one full document replaces them when the NOTIFY is answered.
    behind: bool,
    /// It is to end when the NOTIFY is answered.
    ending: Option<EndReason>,
    /// He was sent the whole state, which holds all up to this document.
    pub(super) told: Option<Number>,
}

impl Subscribed {
    pub(super) fn remote_uri(&self) -> &Uri {
        self.subscription.dialog().remote_uri()
    }
}

impl FocusHost {
    pub(super) fn subscribe(
        &mut self,
        now: Time,
        key: ServerKey,
        flow: Flow,
        sender: Sender,
        request: Request,
        out: &mut Vec<Action>,
    ) {
        let event =
            request.headers.get("Event").map(|event| event.split(';').next().unwrap_or_default().trim());
        if event != Some(EVENT) {
            let response = Response::to(&request, 489).with_header("Allow-Events", EVENT);
            return out.push(Action::Respond { key, response });
        }
        let accepts = request.headers.list("Accept");
        if !accepts.is_empty() && !accepts.iter().any(|accept| accept.starts_with(CONFERENCE_INFO)) {
            let response = Response::to(&request, 406).with_header("Accept", CONFERENCE_INFO);
            return out.push(Action::Respond { key, response });
        }
        // Who speaks the Microsoft dialect of SUBSCRIBE reads its extensions of the document too.
        let microsoft = request.headers.has_token("Supported", "ms-benotify");
        let view = if microsoft { View::Microsoft } else { View::Rfc4575 };
        let tag = self.new_tag();
        let contact = self.contact.clone();
        let subscription = match Subscription::from_request(now, &request, &tag, contact, EXPIRES_S) {
            Ok(subscription) => subscription,
            Err(response) => return out.push(Action::Respond { key, response }),
        };
        self.drop_replaced(now, flow, &subscription, out);
        let id = SubscriptionId(self.next_id());
        let asking = Some((key, Box::new(request)));
        let subscribed = Subscribed {
            flow,
            subscription,
            asking,
            unanswered: false,
            behind: false,
            ending: None,
            told: None,
        };
        self.subscriptions_by_flow.insert(flow, id);
        self.subscriptions.insert(id, subscribed);
        self.tell(now, focus::Event::Subscribe { subscription: id, user: sender.user, view }, out);
    }

    /// An endpoint that subscribes anew has no use for its former subscription: pidgin-sipe ends one
    /// by a SUBSCRIBE with `Expires: 0` outside its dialog.
    fn drop_replaced(&mut self, now: Time, flow: Flow, by: &Subscription, out: &mut Vec<Action>) {
        let Some(epid) = by.dialog().remote_epid() else { return };
        let former = self.subscriptions_by_flow.of(flow).find(|id| {
            let dialog = self.subscriptions.get(id).map(|known| known.subscription.dialog());
            dialog.is_some_and(|dialog| {
                dialog.remote_epid() == Some(epid) && dialog.remote_uri().equivalent(by.dialog().remote_uri())
            })
        });
        if let Some(id) = former {
            self.drop_subscription(now, id, out);
        }
    }

    /// A SUBSCRIBE within the dialog: it renews or ends.
    pub(super) fn resubscribe(
        &mut self,
        now: Time,
        key: ServerKey,
        flow: Flow,
        dialog: &DialogId,
        request: &Request,
        out: &mut Vec<Action>,
    ) {
        let known = self.subscription_of.get(dialog).copied();
        let Some((id, subscribed)) =
            known.and_then(|id| self.subscriptions.get_mut(&id).map(|sub| (id, sub)))
        else {
            return out.push(Action::Respond { key, response: Response::to(request, 481) });
        };
        self.expiries.remove(&(subscribed.subscription.expires_at(), id));
        if let Err(status) = subscribed.subscription.refresh(now, request) {
            self.expiries.insert((subscribed.subscription.expires_at(), id));
            return out.push(Action::Respond { key, response: Response::to(request, status) });
        }
        self.subscriptions_by_flow.remove(subscribed.flow, id);
        self.subscriptions_by_flow.insert(flow, id);
        subscribed.flow = flow;
        subscribed.asking = Some((key, Box::new(request.clone())));
        self.tell(now, focus::Event::Refresh { subscription: id }, out);
    }

    /// The 200, with the document inside where the client takes it there, else behind it.
    pub(super) fn accept_subscription(
        &mut self,
        now: Time,
        id: SubscriptionId,
        document: Bytes,
        out: &mut Vec<Action>,
    ) {
        let Some(subscribed) = self.subscriptions.get_mut(&id) else { return };
        let Some((key, request)) = subscribed.asking.take() else { return };
        subscribed.told = Some(self.telling.last());
        let subscription = &mut subscribed.subscription;
        let Acceptance { response, notify } =
            subscription.accept_response(now, &request, Text::fixed(CONFERENCE_INFO), document);
        let over = subscription.is_over(now);
        let unanswered = subscribed.unanswered;
        self.subscription_of.insert(subscription.dialog().id(), id);
        self.expiries.insert((subscription.expires_at(), id));
        out.push(Action::Respond { key, response });
        match notify {
            // He has not answered the last one yet; this one, or what then is, follows when he has.
            Some(_) if unanswered && over => {
                self.end_subscription(id, EndReason::Timeout, out);
                return self.tell(now, focus::Event::Unsubscribed { subscription: id }, out);
            }
            Some(_) if unanswered => subscribed.behind = true,
            Some(request) => self.send_notify(id, request, out),
            None => {}
        }
        if over {
            self.drop_subscription(now, id, out);
        }
    }

    pub(super) fn refuse_subscription(&mut self, id: SubscriptionId, reason: Reason, out: &mut Vec<Action>) {
        let Some(Subscribed { flow, asking, .. }) = self.subscriptions.remove(&id) else { return };
        self.subscriptions_by_flow.remove(flow, id);
        if let Some((key, request)) = asking {
            let response = self.refusal(&request, reason);
            out.push(Action::Respond { key, response });
        }
    }

    pub(super) fn notify(&mut self, now: Time, id: SubscriptionId, document: Bytes, out: &mut Vec<Action>) {
        let Some(subscribed) = self.subscriptions.get_mut(&id) else { return };
        if subscribed.unanswered {
            subscribed.behind = true;
            return;
        }
        let subscription = &mut subscribed.subscription;
        self.expiries.remove(&(subscription.expires_at(), id));
        let request = subscription.notify(now, Text::fixed(CONFERENCE_INFO), document);
        self.expiries.insert((subscription.expires_at(), id));
        self.send_notify(id, request, out);
    }

    fn send_notify(&mut self, id: SubscriptionId, request: Request, out: &mut Vec<Action>) {
        if let Some(subscribed) = self.subscriptions.get_mut(&id) {
            subscribed.unanswered = request.method == Method::Notify;
            let flow = subscribed.flow;
            self.send(flow, request, Sent::Notify(id), out);
        }
    }

    /// Tells the subscriber that nothing more will come, and why, as soon as he can take it.
    pub(super) fn end_subscription(&mut self, id: SubscriptionId, reason: EndReason, out: &mut Vec<Action>) {
        match self.subscriptions.get_mut(&id) {
            Some(subscribed) if subscribed.unanswered => {
                subscribed.ending = Some(reason);
                self.expiries.remove(&(subscribed.subscription.expires_at(), id));
            }
            _ => self.terminate(id, reason, out),
        }
    }

    fn terminate(&mut self, id: SubscriptionId, reason: EndReason, out: &mut Vec<Action>) {
        if let Some(mut subscribed) = self.forget_subscription(id) {
            let request = subscribed.subscription.terminate(reason);
            self.send(subscribed.flow, request, Sent::Bye, out);
        }
    }

    /// The subscriptions that end when their NOTIFY is answered.
    pub(super) fn ending(&self) -> Vec<(SubscriptionId, EndReason)> {
        self.subscriptions.iter().filter_map(|(id, sub)| Some((*id, sub.ending?))).collect()
    }

    /// Ends what was to end without waiting any longer.
    pub(super) fn terminate_all_ending(&mut self, out: &mut Vec<Action>) {
        for (id, reason) in self.ending() {
            self.terminate(id, reason, out);
        }
    }

    /// A NOTIFY was answered: some answers say that the subscriber knows of none.
    pub(super) fn notify_answered(
        &mut self,
        now: Time,
        id: SubscriptionId,
        status: u16,
        out: &mut Vec<Action>,
    ) {
        let Some(subscribed) = self.subscriptions.get_mut(&id) else { return };
        subscribed.unanswered = false;
        // One that has run out or was ended by its client still gets its last word.
        let was_over = subscribed.subscription.is_over(now);
        subscribed.subscription.notify_answered(status);
        let is_over = subscribed.subscription.is_over(now);
        let behind = std::mem::take(&mut subscribed.behind);
        match subscribed.ending {
            Some(reason) if was_over || !is_over => self.terminate(id, reason, out),
            _ if is_over => self.drop_subscription(now, id, out),
            _ if behind => self.tell(now, focus::Event::Behind { subscription: id }, out),
            _ => {}
        }
    }

    /// The subscriber's end is gone.
    pub(super) fn drop_subscription(&mut self, now: Time, id: SubscriptionId, out: &mut Vec<Action>) {
        if self.forget_subscription(id).is_some() {
            self.tell(now, focus::Event::Unsubscribed { subscription: id }, out);
        }
    }

    fn forget_subscription(&mut self, id: SubscriptionId) -> Option<Subscribed> {
        let subscribed = self.subscriptions.remove(&id)?;
        self.subscriptions_by_flow.remove(subscribed.flow, id);
        self.expiries.remove(&(subscribed.subscription.expires_at(), id));
        self.subscription_of.remove(&subscribed.subscription.dialog().id());
        Some(subscribed)
    }
}
