//! What a server knows of its users: accounts, registrations, presence, roaming data, provisioning.
//!
//! [`Users`] is the machine that answers REGISTER, SUBSCRIBE and SERVICE for the users of a domain,
//! and tells subscribers what has changed. The front end calls it with requests of people it has
//! made sure of, and does what [`UsersAction`] says. Accounts live in the store ([`account`]).
//!
//! Contact lists are always empty here, and who waits for consent is nobody.

pub mod account;
mod documents;
mod presence;
mod provisioning;
mod refusal;
mod registrar;
mod service;
mod subscribe;
mod subscriptions;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use confab_machine::{Entropy, Time};
use confab_schema::{
    publication::bare,
    roaming::{RoamingData, SELF_TYPE},
    uri::{OpaqueTarget, UserUri},
};
use confab_sip::{DialogId, Flow, Method, NameAddr, Request, Response, Uri};

pub use presence::{
    MAX_CATEGORY, MAX_CONTAINERS, MAX_MEMBER, MAX_MEMBERS, MAX_PUBLICATION, MAX_PUBLICATIONS, MAX_PUBLISHED,
    MAX_SUBSCRIBERS,
};
pub use provisioning::MeetingPolicy;
pub use registrar::{
    Binding, Dialect, Endpoint, MAX_BINDINGS, MAX_CONTACT, MAX_ENDPOINTS, MAX_EPID, MAX_EXPIRES, MAX_PATH,
    MIN_EXPIRES, Registrar, Unregistered,
};
pub use subscriptions::{MAX_ALL_SUBSCRIPTIONS, MAX_SUBSCRIPTIONS, MAX_WATCHED};

use documents::{Author, Document};
use presence::{Changed, Presence};
use refusal::Refusal;
use subscriptions::{Subscriptions, Topic};

/// What the server lets [`Users`] know about itself.
#[derive(Clone, Debug)]
pub struct UsersSettings {
    /// This server's name, which stands in diagnostics and Content-IDs.
    pub host: String,
    /// What clients are told about their rights in conferences.
    pub meeting_policy: MeetingPolicy,
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "most actions are notifications; a box for each gains nothing")]
pub enum UsersAction {
    /// Answer the request at hand.
    Respond(Response),
    /// Send a NOTIFY or BENOTIFY.
    Send {
        /// The way to the subscriber.
        flow: Flow,
        /// The notification, without Via.
        request: Request,
        /// The subscription it belongs to, for [`Users::notify_answered`].
        subscription: DialogId,
    },
}

/// The part of a front end that knows its users.
#[derive(Clone, Debug)]
pub struct Users {
    settings: UsersSettings,
    entropy: Entropy,
    registrar: Registrar,
    presence: Presence,
    subscriptions: Subscriptions,
}

/// The name of a user, or `None` if there is no such user.
pub type Names<'a> = &'a dyn Fn(&UserUri) -> Option<String>;

impl Users {
    /// Nobody is registered and nothing is published yet.
    pub fn new(settings: UsersSettings, entropy: Entropy) -> Users {
        Users {
            registrar: Registrar::new(&settings.host),
            settings,
            entropy,
            presence: Presence::default(),
            subscriptions: Subscriptions::default(),
        }
    }

    /// Answers a request that came by `flow` from someone who is known to be `user`: REGISTER, and
    /// SUBSCRIBE and SERVICE for a user (not for a conference or another service). The answer is the
    /// first action; notifications follow it.
    ///
    /// `names` is asked for the people the request names ([`Users::people_in`]).
    pub fn handle_request(
        &mut self,
        now: Time,
        flow: Flow,
        user: &UserUri,
        request: &Request,
        names: Names<'_>,
        out: &mut Vec<UsersAction>,
    ) {
        let arrival = Arrival { now, flow, user, request, names };
        let outcome = match request.method {
            Method::Register => {
                self.register(&arrival, out);
                Ok(())
            }
            Method::Subscribe => self.subscribe(&arrival, out),
            Method::Service => self.service(&arrival, out),
            _ => {
                let sentence = "Users answer to REGISTER, SUBSCRIBE and SERVICE.";
                Err(Refusal::new(405, sentence).with_header("Allow", "REGISTER, SUBSCRIBE, SERVICE"))
            }
        };
        if let Err(refusal) = outcome {
            out.push(UsersAction::Respond(refusal.response(request, &self.settings.host)));
        }
    }

    /// The people whose names are needed to answer `request`; empty if that needs none.
    pub fn people_in(request: &Request) -> Vec<UserUri> {
        subscribe::people_in(request)
    }

    /// Who is registered where.
    pub fn registrar(&self) -> &Registrar {
        &self.registrar
    }

    /// Where a request to `uri` goes: all endpoints of a user, or the one that a GRUU names.
    pub fn lookup(&self, now: Time, uri: &Uri) -> Vec<Binding> {
        self.registrar.lookup(now, uri)
    }

    /// Whether `user` has an endpoint that is signed in.
    pub fn registered(&self, now: Time, user: &UserUri) -> bool {
        self.registrar.is_registered(now, user)
    }

    /// A NOTIFY of this subscription was answered with this status, or not at all (408).
    pub fn notify_answered(&mut self, now: Time, subscription: &DialogId, status: u16) {
        let is_over = self.subscriptions.modify(subscription, |subscriber| {
            subscriber.subscription.notify_answered(status);
            subscriber.subscription.is_over(now)
        });
        if is_over == Some(true) {
            self.subscriptions.take(subscription);
        }
    }

    /// A connection has ended: whoever registered by it is not there any more, and subscriptions
    /// made by it are dropped.
    pub fn flow_closed(&mut self, now: Time, flow: Flow, out: &mut Vec<UsersAction>) {
        self.subscriptions.flow_closed(flow);
        let mut gone = Vec::new();
        self.registrar.flow_closed(flow, &mut gone);
        self.sign_out(now, gone, out);
    }

    /// When to call [`Users::handle_timeout`] if nothing happens first.
    pub fn deadline(&self) -> Option<Time> {
        let all = [self.registrar.deadline(), self.presence.deadline(), self.subscriptions.deadline()];
        all.into_iter().flatten().min()
    }

    /// Ends what has not been refreshed in time.
    pub fn handle_timeout(&mut self, now: Time, out: &mut Vec<UsersAction>) {
        while let Some(mut expired) = self.subscriptions.take_expired(now) {
            let request = expired.subscription.terminate(confab_sip::EndReason::Timeout);
            let subscription = expired.subscription.dialog().id();
            out.push(UsersAction::Send { flow: expired.flow, request, subscription });
        }
        let mut gone = Vec::new();
        self.registrar.handle_timeout(now, &mut gone);
        self.sign_out(now, gone, out);
        for (user, changed) in self.presence.expire(now) {
            self.announce(now, &user, &News { changed, ..News::default() }, out);
        }
    }

    fn register(&mut self, arrival: &Arrival<'_>, out: &mut Vec<UsersAction>) {
        let Arrival { now, flow, user, request, .. } = *arrival;
        let mut gone = Vec::new();
        let response = self.registrar.register(now, flow, user, request, &mut gone);
        out.push(UsersAction::Respond(response));
        self.sign_out(now, gone, out);
        if self.registrar.is_registered(now, user) {
            let changed = self.presence.signed_in(now, user);
            self.announce(now, user, &News { changed, ..News::default() }, out);
        }
    }

    /// Takes away what ends with these endpoints and tells everybody once.
    fn sign_out(&mut self, now: Time, gone: Vec<Unregistered>, out: &mut Vec<UsersAction>) {
        let mut news: BTreeMap<UserUri, Changed> = BTreeMap::new();
        for Unregistered { user, endpoint } in gone {
            let last = !self.registrar.is_registered(now, &user);
            let changed = self.presence.signed_out(now, &user, endpoint.epid.as_deref(), last);
            news.entry(user).or_default().extend(changed);
        }
        for (user, changed) in news {
            self.announce(now, &user, &News { changed, ..News::default() }, out);
        }
    }

    /// Tells the clients of `user` what has changed of his own data, and his watchers what they see
    /// of it.
    fn announce(&mut self, now: Time, user: &UserUri, news: &News, out: &mut Vec<UsersAction>) {
        for id in self.subscriptions.of(user) {
            self.announce_to_owner(now, user, &id, news, out);
        }
        if news.changed.is_empty() && news.containers.is_empty() {
            return;
        }
        let author = Author { settings: &self.settings, presence: &self.presence };
        for id in self.subscriptions.watching(user) {
            let sent = self.subscriptions.modify(&id, |watcher| {
                let Topic::Presence(watch) = &mut watcher.topic else { return Vec::new() };
                let documents = author.news(&watcher.user, watch, user);
                let notify = |document| (watcher.flow, watcher.notify(now, document));
                documents.into_iter().map(notify).collect()
            });
            send(&id, sent.unwrap_or_default(), out);
        }
    }

    fn announce_to_owner(
        &mut self,
        now: Time,
        user: &UserUri,
        id: &DialogId,
        news: &News,
        out: &mut Vec<UsersAction>,
    ) {
        let presence = &self.presence;
        let sent = self.subscriptions.modify(id, |subscriber| {
            let Topic::Roaming(wanted) = subscriber.topic else { return None };
            let was_answered = subscriber.epid.is_some() && subscriber.epid == news.answered;
            let categories = wanted.categories && !news.changed.is_empty() && !was_answered;
            let data = RoamingData {
                categories: categories.then(|| presence.owned(user, Some(&news.changed))),
                containers: (wanted.containers && !news.containers.is_empty())
                    .then(|| presence.containers(user, Some(&news.containers))),
                subscribers: (wanted.subscribers && news.subscribers).then(|| presence.subscribers(user)),
            };
            let document =
                (data != RoamingData::default()).then(|| Document::new(SELF_TYPE, data.to_bytes()))?;
            Some((subscriber.flow, subscriber.notify(now, document)))
        });
        send(id, sent.flatten(), out);
    }
}

/// A request, and what is known about it.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    now: Time,
    flow: Flow,
    user: &'a UserUri,
    request: &'a Request,
    names: Names<'a>,
}

impl Arrival<'_> {
    /// The From, after making sure that nobody acts as another.
    fn from(&self) -> Result<NameAddr, Refusal> {
        let from = self.request.headers.from().map_err(|fault| Refusal::new(400, fault.to_string()))?;
        if UserUri::parse(&from.uri.to_string()).as_ref() == Ok(self.user) {
            return Ok(from);
        }
        let sentence =
            format!("You are signed in as {} and cannot act as another.", bare(&self.user.to_string()));
        Err(Refusal::new(403, sentence).with_diagnostic(4004))
    }

    /// A user's own data is for nobody else.
    fn check_own(&self, owner: &UserUri) -> Result<(), Refusal> {
        if self.user == owner {
            return Ok(());
        }
        Err(Refusal::new(403, "Only the user himself has a say in this.").with_diagnostic(4004))
    }

    /// The type of the body, lower-case.
    fn body_type(&self) -> Option<confab_sip::Text> {
        self.request.headers.content_type().map(|content_type| content_type.kind)
    }
}

/// What has changed of a user's own data.
#[derive(Clone, Debug, Default)]
struct News {
    /// What is published.
    changed: Changed,
    /// Who sees what.
    containers: BTreeSet<u32>,
    /// Whom the user knows to watch him.
    subscribers: bool,
    /// The epid of the client whose publication this is: its answer has told it already.
    answered: Option<String>,
}

fn send(id: &DialogId, sent: impl IntoIterator<Item = (Flow, Request)>, out: &mut Vec<UsersAction>) {
    let action = |(flow, request)| UsersAction::Send { flow, request, subscription: id.clone() };
    out.extend(sent.into_iter().map(action));
}

/// The user a request is for.
fn target(request: &Request) -> Result<UserUri, Refusal> {
    match OpaqueTarget::parse(&request.uri.to_string()) {
        OpaqueTarget::User(user) => Ok(user),
        _ => Err(Refusal::new(404, "There is no user of this address.").with_diagnostic(4005)),
    }
}
