//! What subscribers are told: the body for each topic, and the multipart of a batch, whose table of
//! contents stands first (RFC 4662 §5.1).

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use confab_machine::Time;
use confab_schema::{
    categories, pidf,
    provisioning::{CONTENT_TYPE as PROVISIONING_TYPE, OLD_CONTENT_TYPE, no_line},
    rlmi::{self, Instance, Resource, ResourceList},
    roaming::{self, AccessList, ContactList, RoamingData, RoamingList, WaitingWatchers},
    uri::UserUri,
};
use confab_sip::{
    Params, Request, Response,
    multipart::{self, Part},
};

use crate::{
    UsersSettings,
    presence::{Presence, USUAL_CATEGORIES},
    provisioning,
    subscriptions::{Format, Subscriber, Topic, Watch, Watched},
};

/// The most bytes of presence in one message of a batch; what does not fit follows in the next.
const MAX_BATCH: usize = 256 * 1024;

/// One body.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub content_type: String,
    pub body: Bytes,
    /// Whether it is a list, which the receiver has to understand.
    pub is_list: bool,
}

/// Writes what subscribers are told.
#[derive(Clone, Copy)]
pub(crate) struct Author<'a> {
    pub settings: &'a UsersSettings,
    pub presence: &'a Presence,
}

impl Document {
    pub fn new(content_type: &str, body: Bytes) -> Document {
        Document { content_type: content_type.to_owned(), body, is_list: false }
    }

    /// Says in an answer that holds a list that it does.
    pub fn mark_response(&self, response: &mut Response) {
        if self.is_list && !response.body.is_empty() {
            response.headers.push("Require", "eventlist");
        }
    }

    /// Says in a notification that holds a list that it does.
    pub fn mark_request(&self, request: &mut Request) {
        if self.is_list {
            request.headers.push("Require", "eventlist");
        }
    }
}

impl Subscriber {
    /// The next notification, holding `document`.
    pub fn notify(&mut self, now: Time, document: Document) -> Request {
        let mut request = self.subscription.notify(now, &document.content_type, document.body.clone());
        document.mark_request(&mut request);
        request
    }
}

impl Author<'_> {
    /// All there is to tell a subscriber: at least one document, and several if one would be too
    /// long.
    pub fn all(&self, subscriber: &mut Subscriber) -> Vec<Document> {
        let user = &subscriber.user;
        let one = match &mut subscriber.topic {
            Topic::Contacts => Document::new(roaming::CONTACTS_TYPE, ContactList::empty().to_bytes()),
            Topic::Roaming(wanted) => self.roaming(user, *wanted),
            Topic::OldProvisioning => Document::new(OLD_CONTENT_TYPE, no_line()),
            Topic::Provisioning(groups) => {
                let policy = &self.settings.meeting_policy;
                Document::new(PROVISIONING_TYPE, provisioning::answer(user, policy, groups))
            }
            Topic::AccessList => Document::new(roaming::ACCESS_LIST_TYPE, AccessList { delta: 1 }.to_bytes()),
            Topic::WaitingWatchers => {
                Document::new(roaming::WAITING_WATCHERS_TYPE, WaitingWatchers.to_bytes())
            }
            Topic::Presence(watch) => {
                let people: Vec<UserUri> = watch.people.keys().cloned().collect();
                return self.presence(user, watch, &people, &[], true);
            }
        };
        vec![one]
    }

    /// All of the roaming data that is wanted.
    fn roaming(&self, user: &UserUri, wanted: RoamingList) -> Document {
        let data = RoamingData {
            categories: wanted.categories.then(|| self.presence.owned(user, None)),
            containers: wanted.containers.then(|| self.presence.containers(user, None)),
            subscribers: wanted.subscribers.then(|| self.presence.subscribers(user)),
        };
        Document::new(roaming::SELF_TYPE, data.to_bytes())
    }

    /// The presence of some of the people `user` watches. `unknown` are addresses of nobody here.
    pub fn presence(
        &self,
        user: &UserUri,
        watch: &mut Watch,
        people: &[UserUri],
        unknown: &[String],
        is_full: bool,
    ) -> Vec<Document> {
        let mut told = Vec::new();
        for person in people {
            if let Some(watched) = watch.people.get_mut(person) {
                let body = self.one(user, person, watched, watch.format, &watch.categories);
                watched.told = digest(&body);
                told.push((watched.address.clone(), body));
            }
        }
        match &mut watch.batch {
            None => {
                let body = told.pop().map(|(_, body)| body).unwrap_or_default();
                vec![Document::new(watch.format.content_type(), body)]
            }
            Some(version) => self.batches(user, version, told, unknown, is_full),
        }
    }

    /// The presence of `person` if it is not what was told before.
    pub fn news(&self, user: &UserUri, watch: &mut Watch, person: &UserUri) -> Vec<Document> {
        let Some(watched) = watch.people.get_mut(person) else { return Vec::new() };
        let body = self.one(user, person, watched, watch.format, &watch.categories);
        let told = digest(&body);
        if std::mem::replace(&mut watched.told, told) == told {
            return Vec::new();
        }
        match &mut watch.batch {
            None => vec![Document::new(watch.format.content_type(), body)],
            Some(version) => self.batches(user, version, vec![(watched.address.clone(), body)], &[], false),
        }
    }

    fn one(
        &self,
        user: &UserUri,
        person: &UserUri,
        watched: &Watched,
        format: Format,
        categories: &[String],
    ) -> Bytes {
        match format {
            Format::Pidf => self.presence.seen_as_pidf(person, user).to_bytes(),
            Format::Categories => {
                let names: Vec<&str> = match categories {
                    [] => USUAL_CATEGORIES.to_vec(),
                    names => names.iter().map(String::as_str).collect(),
                };
                let mut seen = self.presence.seen(person, user, &watched.display_name, names);
                seen.uri = watched.address.clone();
                seen.to_bytes()
            }
        }
    }

    /// Lists of a length that a message can have.
    fn batches(
        &self,
        user: &UserUri,
        version: &mut u32,
        told: Vec<(String, Bytes)>,
        unknown: &[String],
        is_full: bool,
    ) -> Vec<Document> {
        let mut chunks: Vec<Vec<(String, Bytes)>> = vec![Vec::new()];
        let mut length = 0;
        for (address, body) in told {
            length += body.len();
            if length > MAX_BATCH && chunks.last().is_some_and(|chunk| !chunk.is_empty()) {
                length = body.len();
                chunks.push(Vec::new());
            }
            chunks.last_mut().expect("there is at least one chunk").push((address, body));
        }
        let is_whole = is_full && chunks.len() == 1;
        let mut documents = Vec::new();
        for (index, chunk) in chunks.into_iter().enumerate() {
            let unknown = if index == 0 { unknown } else { &[] };
            documents.push(self.batch(user, *version, chunk, unknown, is_whole));
            *version = version.wrapping_add(1);
        }
        documents
    }

    fn batch(
        &self,
        user: &UserUri,
        version: u32,
        told: Vec<(String, Bytes)>,
        unknown: &[String],
        full_state: bool,
    ) -> Document {
        let host = &self.settings.host;
        let root = format!("list.{version}@{host}");
        let mut resources = Vec::new();
        let mut parts = Vec::new();
        for (index, (address, body)) in told.into_iter().enumerate() {
            let cid = format!("{index}.{version}@{host}");
            parts.push(part(categories::CONTENT_TYPE, &cid, body));
            resources.push(Resource { uri: address, instance: Instance::Active { cid } });
        }
        resources.extend(unknown.iter().map(|address| Resource {
            uri: address.clone(),
            instance: Instance::Terminated { reason: "noresource" },
        }));
        let list = ResourceList { uri: user.to_string(), version, full_state, resources };
        parts.insert(0, part(rlmi::CONTENT_TYPE, &root, list.to_bytes()));
        let boundary = multipart::boundary_for(&parts);
        let mut params = Params::new();
        params.set_quoted("type", rlmi::CONTENT_TYPE);
        params.set_quoted("start", &format!("<{root}>"));
        params.set("boundary", boundary.as_str());
        let body = multipart::print(&parts, &boundary);
        Document { content_type: format!("multipart/related{params}"), body, is_list: true }
    }
}

impl Format {
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Categories => categories::CONTENT_TYPE,
            Format::Pidf => pidf::CONTENT_TYPE,
        }
    }
}

fn part(content_type: &str, cid: &str, body: Bytes) -> Part {
    Part::new(content_type, body)
        .with_header("Content-Transfer-Encoding", "binary")
        .with_header("Content-ID", format!("<{cid}>"))
}

/// A number that two different documents have in common only by an accident nobody will see.
fn digest(body: &Bytes) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}
