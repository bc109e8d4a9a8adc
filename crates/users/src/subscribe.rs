//! SUBSCRIBE for a user (RFC 6665, RFC 4662, MS-PRES §3): his own data, and the presence of others,
//! one at a time or many at once.

use std::collections::BTreeMap;

use confab_schema::{
    categories,
    presence::{BATCH_TYPE, BatchAction, BatchSubscribe},
    provisioning::GroupRequest,
    roaming::RoamingList,
    uri::{OpaqueTarget, UserUri},
};
use confab_sip::{DialogId, Method, NameAddr, Request, Subscription, Uri};

use crate::{
    Arrival, Names, Users, UsersAction,
    documents::Author,
    provisioning,
    refusal::Refusal,
    send,
    subscriptions::{
        Format, MAX_ALL_SUBSCRIPTIONS, MAX_SUBSCRIPTIONS, MAX_WATCHED, Subscriber, Topic, Watch, Watched,
    },
    target,
};

/// How long a subscription lasts at most, in seconds.
const LONGEST: u32 = 28_800;

/// The events users have, as Allow-Events lists them.
const EVENTS: &str = "presence, presence.wpending, vnd-microsoft-provisioning, vnd-microsoft-provisioning-v2, \
     vnd-microsoft-roaming-ACL, vnd-microsoft-roaming-contacts, vnd-microsoft-roaming-self";

/// What a SUBSCRIBE may require.
const EXTENSIONS: [&str; 4] = ["adhoclist", "categoryList", "eventlist", "gruu-10"];

/// What a SUBSCRIBE asks to be told.
enum Asked {
    /// All there is.
    Everything,
    /// Of a batch: these people, and of these addresses that there is nobody.
    People { known: Vec<UserUri>, unknown: Vec<String> },
}

impl Users {
    pub(crate) fn subscribe(
        &mut self,
        arrival: &Arrival<'_>,
        out: &mut Vec<UsersAction>,
    ) -> Result<(), Refusal> {
        let Arrival { now, flow, user, request, .. } = *arrival;
        let epid = arrival.from()?.epid().map(str::to_owned);
        check_extensions(request)?;
        if let Some(id) = DialogId::of_received(request) {
            return self.resubscribe(arrival, &id, out);
        }
        let target = target(request)?;
        let mut topic = topic(arrival, &target)?;
        let asked = ask(arrival, &mut topic)?;
        self.drop_older(user, epid.as_deref(), &topic, request);
        self.check_room(user)?;
        let tag = self.entropy.hex::<5>();
        let contact = NameAddr::new(Uri::sip(target.user(), target.domain())).to_string().into();
        match Subscription::from_request(now, request, &tag, contact, LONGEST) {
            Ok(subscription) => {
                let subscriber = Subscriber { user: user.clone(), epid, flow, subscription, topic };
                self.accept(arrival, subscriber, &asked, out);
            }
            Err(response) => out.push(UsersAction::Respond(response)),
        }
        Ok(())
    }

    /// A SUBSCRIBE within a dialog: a refresh, the end, or more people to watch.
    fn resubscribe(
        &mut self,
        arrival: &Arrival<'_>,
        id: &DialogId,
        out: &mut Vec<UsersAction>,
    ) -> Result<(), Refusal> {
        let unknown = || Refusal::new(481, "There is no such subscription.");
        let subscriber = self.subscriptions.get(id).ok_or_else(unknown)?;
        arrival.check_own(&subscriber.user)?;
        let mut topic = subscriber.topic.clone();
        let asked = ask(arrival, &mut topic)?;
        let mut subscriber = self.subscriptions.take(id).ok_or_else(unknown)?;
        match subscriber.subscription.refresh(arrival.now, arrival.request) {
            Ok(()) => {
                subscriber.topic = topic;
                subscriber.flow = arrival.flow;
                self.accept(arrival, subscriber, &asked, out);
                Ok(())
            }
            Err(status) => {
                self.subscriptions.put(subscriber);
                Err(Refusal::new(status, "The request does not continue its subscription."))
            }
        }
    }

    /// Answers, and keeps what does not end here.
    fn accept(
        &mut self,
        arrival: &Arrival<'_>,
        mut subscriber: Subscriber,
        asked: &Asked,
        out: &mut Vec<UsersAction>,
    ) {
        let Arrival { now, request, .. } = *arrival;
        let author = Author { settings: &self.settings, presence: &self.presence };
        let documents = match (asked, &mut subscriber.topic) {
            (Asked::People { known, unknown }, Topic::Presence(watch)) => {
                let is_full = known.len() == watch.people.len();
                author.presence(&subscriber.user, watch, known, unknown, is_full)
            }
            _ => author.all(&mut subscriber),
        };
        let mut documents = documents.into_iter();
        let first = documents.next().expect("there is always one document");
        let body = first.body.clone();
        let mut acceptance = subscriber.subscription.accept_response(now, request, &first.content_type, body);
        first.mark_response(&mut acceptance.response);
        out.push(UsersAction::Respond(acceptance.response));
        let id = subscriber.subscription.dialog().id();
        let mut sent: Vec<Request> = Vec::new();
        if let Some(mut notify) = acceptance.notify {
            first.mark_request(&mut notify);
            sent.push(notify);
        }
        if !subscriber.subscription.is_over(now) {
            sent.extend(documents.map(|document| subscriber.notify(now, document)));
        }
        let flow = subscriber.flow;
        send(&id, sent.into_iter().map(|request| (flow, request)), out);
        if !subscriber.subscription.is_over(now) {
            self.subscriptions.put(subscriber);
        }
    }

    /// A client that subscribes anew to its user's data, or that looks once outside of its dialog
    /// in order to end it, has no use for its older subscription to the same.
    fn drop_older(&mut self, user: &UserUri, epid: Option<&str>, topic: &Topic, request: &Request) {
        let Some(epid) = epid else { return };
        let ends = request.headers.expires() == Some(0);
        for id in self.subscriptions.of(user) {
            let is_older = self.subscriptions.get(&id).is_some_and(|other| {
                other.epid.as_deref() == Some(epid) && replaces(topic, &other.topic, ends)
            });
            if is_older {
                self.subscriptions.take(&id);
            }
        }
    }

    fn check_room(&self, user: &UserUri) -> Result<(), Refusal> {
        if self.subscriptions.count(user) >= MAX_SUBSCRIPTIONS {
            let sentence =
                format!("You have {MAX_SUBSCRIPTIONS} subscriptions, which is the most there can be.");
            return Err(Refusal::new(403, sentence));
        }
        if self.subscriptions.len() >= MAX_ALL_SUBSCRIPTIONS {
            return Err(Refusal::new(503, "The server has no room for more subscriptions."));
        }
        Ok(())
    }
}

/// The people whose presence a SUBSCRIBE asks for.
pub(crate) fn people_in(request: &Request) -> Vec<UserUri> {
    if request.method != Method::Subscribe || package(request) != "presence" {
        return Vec::new();
    }
    let mut people: Vec<UserUri> = match batch(request) {
        Ok(Some(batch)) => {
            let subscribed = batch.actions.into_iter().filter_map(|action| match action {
                BatchAction::Subscribe { resources, .. } => Some(resources),
                BatchAction::Unsubscribe { .. } => None,
            });
            subscribed.flatten().filter_map(|address| person(&address)).collect()
        }
        _ => target(request).into_iter().collect(),
    };
    people.sort();
    people.dedup();
    people
}

/// What a SUBSCRIBE outside of a dialog is about.
fn topic(arrival: &Arrival<'_>, target: &UserUri) -> Result<Topic, Refusal> {
    let package = package(arrival.request);
    if package == "presence" {
        return watch(arrival, target).map(Topic::Presence);
    }
    let topic = match package {
        "vnd-microsoft-roaming-contacts" => Topic::Contacts,
        "vnd-microsoft-roaming-self" => Topic::Roaming(RoamingList::ALL),
        "vnd-microsoft-provisioning" => Topic::OldProvisioning,
        "vnd-microsoft-provisioning-v2" => Topic::Provisioning(provisioning::everything()),
        "vnd-microsoft-roaming-ACL" => Topic::AccessList,
        "presence.wpending" => Topic::WaitingWatchers,
        _ => {
            let sentence = "A user has no such event.";
            return Err(Refusal::new(489, sentence).with_header("Allow-Events", EVENTS));
        }
    };
    arrival.check_own(target)?;
    Ok(topic)
}

/// Whom a SUBSCRIBE to presence watches before its batch is read, and in which format.
fn watch(arrival: &Arrival<'_>, target: &UserUri) -> Result<Watch, Refusal> {
    let format = format(arrival.request)?;
    if batch(arrival.request)?.is_some() {
        arrival.check_own(target)?;
        if format != Format::Categories {
            let sentence = "Many are watched at once in event categories only.";
            return Err(Refusal::new(406, sentence));
        }
        return Ok(Watch { format, batch: Some(0), people: BTreeMap::new(), categories: Vec::new() });
    }
    let unknown = || Refusal::new(404, "There is no user of this address.").with_diagnostic(4005);
    let display_name = (arrival.names)(target).ok_or_else(unknown)?;
    let watched = Watched { address: target.to_string(), display_name, told: 0 };
    let people = BTreeMap::from([(target.clone(), watched)]);
    Ok(Watch { format, batch: None, people, categories: Vec::new() })
}

/// Takes over what the body of a SUBSCRIBE asks for. A body that a topic has no use for is ignored.
fn ask(arrival: &Arrival<'_>, topic: &mut Topic) -> Result<Asked, Refusal> {
    let request = arrival.request;
    let malformed =
        |fault: confab_schema::Malformed| Refusal::new(400, fault.to_string()).with_diagnostic(4001);
    match topic {
        Topic::Roaming(list) if !request.body.is_empty() => {
            *list = RoamingList::parse(&request.body).map_err(malformed)?;
        }
        Topic::Provisioning(groups) if !request.body.is_empty() => {
            *groups = GroupRequest::parse(&request.body).map_err(malformed)?;
        }
        Topic::Presence(watch) if watch.batch.is_some() => {
            if let Some(batch) = batch(request)? {
                return follow(watch, batch, arrival.names);
            }
        }
        _ => {}
    }
    Ok(Asked::Everything)
}

/// Takes the actions of a batch over.
fn follow(watch: &mut Watch, batch: BatchSubscribe, names: Names<'_>) -> Result<Asked, Refusal> {
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for action in batch.actions {
        match action {
            BatchAction::Subscribe { resources, categories } => {
                if !categories.is_empty() {
                    watch.categories = categories;
                }
                for address in resources {
                    match person(&address).and_then(|person| Some((names(&person)?, person))) {
                        Some((display_name, person)) => {
                            let watched = Watched { address, display_name, told: 0 };
                            watch.people.insert(person.clone(), watched);
                            known.push(person);
                        }
                        None => unknown.push(address),
                    }
                }
            }
            BatchAction::Unsubscribe { resources } => {
                for person in resources.iter().filter_map(|address| person(address)) {
                    watch.people.remove(&person);
                }
            }
        }
    }
    if watch.people.len() > MAX_WATCHED {
        let sentence = format!("One subscription watches at most {MAX_WATCHED} people.");
        return Err(Refusal::new(413, sentence));
    }
    known.sort();
    known.dedup();
    Ok(Asked::People { known, unknown })
}

/// The format of presence the client can read; MS-PRES before PIDF, which is what one without
/// Accept gets (RFC 3856 §6.7).
fn format(request: &Request) -> Result<Format, Refusal> {
    let headers = &request.headers;
    let accepts = |kind: &str| headers.has_token("Accept", kind);
    if accepts(categories::CONTENT_TYPE) {
        return Ok(Format::Categories);
    }
    let pidf = Format::Pidf.content_type();
    if headers.list("Accept").is_empty() || [pidf, "application/*", "*/*"].into_iter().any(accepts) {
        return Ok(Format::Pidf);
    }
    let known = [categories::CONTENT_TYPE, pidf].join(", ");
    let sentence = "Presence is told in event categories or PIDF.";
    Err(Refusal::new(406, sentence).with_header("Accept", known))
}

/// The batch in the body, if that is what it holds.
fn batch(request: &Request) -> Result<Option<BatchSubscribe>, Refusal> {
    let kind = request.headers.content_type().map(|content_type| content_type.kind);
    if kind.as_deref() != Some(BATCH_TYPE) || request.body.is_empty() {
        return Ok(None);
    }
    let malformed =
        |fault: confab_schema::Malformed| Refusal::new(400, fault.to_string()).with_diagnostic(4001);
    BatchSubscribe::parse(&request.body).map(Some).map_err(malformed)
}

fn person(address: &str) -> Option<UserUri> {
    match OpaqueTarget::parse(address) {
        OpaqueTarget::User(user) => Some(user),
        _ => None,
    }
}

/// The name of the event, without its parameters.
fn package(request: &Request) -> &str {
    let event = request.headers.get("Event").map(|event| event.as_str()).unwrap_or_default();
    event.split(';').next().unwrap_or_default().trim()
}

fn check_extensions(request: &Request) -> Result<(), Refusal> {
    let required = request.headers.list("Require");
    let is_known = |tag: &str| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(tag));
    let unknown: Vec<&str> = required.iter().map(|tag| tag.as_str()).filter(|tag| !is_known(tag)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let sentence = "The request requires an extension this server does not have.";
    Err(Refusal::new(420, sentence).with_header("Unsupported", unknown.join(", ")))
}

/// Whether a client's subscription to `new` takes the place of its subscription to `old`.
fn replaces(new: &Topic, old: &Topic, ends: bool) -> bool {
    match (new, old) {
        (Topic::Presence(new), Topic::Presence(old)) => match (new.batch, old.batch) {
            // A client may watch several batches, but leaves all of them when it leaves.
            (Some(_), Some(_)) => ends,
            (None, None) => new.people.keys().eq(old.people.keys()),
            _ => false,
        },
        (new, old) => std::mem::discriminant(new) == std::mem::discriminant(old),
    }
}
