//! What one watcher sees of one user, in the format he can read.

use confab_machine::Time;
use confab_schema::{
    categories::{Categories, Category},
    pidf,
    presence::{State, StateKind, contact_card, note_text},
    uri::UserUri,
};

use super::{
    AGGREGATE_INSTANCE, Presence, Presentity, STATE,
    aggregate::{OFFLINE, class},
    containers::{BLOCKED, COMPANY, DEFAULT, WORKGROUP},
};

const CONTACT_CARD: &str = "contactCard";
const NOTE: &str = "note";

/// What is shown to a watcher who does not name categories.
pub(crate) const USUAL_CATEGORIES: [&str; 4] = ["calendarData", CONTACT_CARD, NOTE, STATE];

/// One watcher's eyes on one user.
struct View<'a> {
    person: Option<&'a Presentity>,
    /// The container the watcher sees.
    level: u32,
}

impl Presence {
    /// What `watcher` sees of `user` in these categories. `display_name` stands on the card of one
    /// who has published none.
    pub fn seen<'a>(
        &self,
        user: &UserUri,
        watcher: &UserUri,
        display_name: &str,
        categories: impl IntoIterator<Item = &'a str>,
    ) -> Categories {
        let view = self.view(user, watcher);
        let categories = categories.into_iter().flat_map(|name| match name {
            STATE => vec![view.state_category()],
            CONTACT_CARD => view.card(display_name),
            name => view.category(name),
        });
        Categories { uri: user.to_string(), categories: categories.collect() }
    }

    /// What `watcher` sees of `user`, for any SIP client.
    pub fn seen_as_pidf(&self, user: &UserUri, watcher: &UserUri) -> pidf::Presence {
        let view = self.view(user, watcher);
        let (state, _) = view.state();
        pidf::Presence {
            entity: user.to_string(),
            open: (class::AVAILABLE..class::OFFLINE).contains(&state.availability),
            activity: activity(&state),
            note: view.note(),
        }
    }

    fn view(&self, user: &UserUri, watcher: &UserUri) -> View<'_> {
        let person = self.people.get(user);
        let level = match person {
            Some(person) => person.containers.seen_by(user, watcher),
            None => COMPANY,
        };
        View { person, level }
    }
}

impl View<'_> {
    /// The aggregate, and when it changed. The blocked, and those nobody said anything about, see
    /// someone who is offline.
    fn state(&self) -> (State, Option<Time>) {
        match self.person {
            Some(person) if ![BLOCKED, DEFAULT].contains(&self.level) => {
                let [most, workgroup] = &person.states;
                let state = if self.level == WORKGROUP { workgroup } else { most };
                (state.clone(), person.changed)
            }
            _ => (State::new(StateKind::AggregateState, OFFLINE), None),
        }
    }

    fn state_category(&self) -> Category {
        let (state, changed) = self.state();
        Category {
            instance: Some(AGGREGATE_INSTANCE),
            publish_time: changed,
            data: Some(state.to_element()),
            ..Category::new(STATE)
        }
    }

    /// The card made for this watcher, else the one for everybody, else one that says the name.
    fn card(&self, display_name: &str) -> Vec<Category> {
        for level in [self.level, DEFAULT] {
            let cards = self.published(CONTACT_CARD, level);
            if !cards.is_empty() {
                return cards;
            }
        }
        let data = Some(contact_card(display_name));
        vec![Category { instance: Some(0), data, ..Category::new(CONTACT_CARD) }]
    }

    /// Any other category; one without an instance says that there is none.
    fn category(&self, name: &str) -> Vec<Category> {
        let published = self.published(name, self.level);
        if published.is_empty() { vec![Category::new(name)] } else { published }
    }

    fn published(&self, name: &str, level: u32) -> Vec<Category> {
        self.person.map(|person| person.publications.seen(name, level)).unwrap_or_default()
    }

    fn note(&self) -> Option<String> {
        self.published(NOTE, self.level).iter().find_map(|note| note_text(note.data.as_ref()?))
    }
}

/// The nearest word RFC 4480 has for it.
fn activity(state: &State) -> Option<pidf::Activity> {
    let token = state.activity.as_ref().map(|activity| activity.token.as_str());
    match state.availability {
        class::AVAILABLE_IDLE..class::BUSY | class::BE_RIGHT_BACK..class::OFFLINE => {
            Some(pidf::Activity::Away)
        }
        class::BUSY..class::BE_RIGHT_BACK => Some(match token {
            Some("on-the-phone") => pidf::Activity::OnThePhone,
            Some("in-a-meeting" | "in-a-conference" | "in-presentation") => pidf::Activity::Meeting,
            _ => pidf::Activity::Busy,
        }),
        _ => None,
    }
}
