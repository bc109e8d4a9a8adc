//! Whatever happens in whatever order, what the Focus was told adds up to what is.

use std::collections::BTreeMap;

use confab_machine::Entropy;
use confab_schema::{
    cccp::{Command, ResultBody},
    conference_info::{JoiningMethod, State, User},
};
use confab_sip::Method;

use crate::room::{Room, add_user, keys};

const PEOPLE: [&str; 4] = ["ann", "bob", "eve", "joe"];
const STEPS: usize = 400;

#[test]
fn notifications_add_up() {
    for seed in 0..8 {
        let mut random = Entropy::from_seed([seed; 32]);
        let mut room = Room::new();
        PEOPLE.iter().for_each(|name| {
            room.enter(name);
        });
        let mut told = BTreeMap::new();
        let mut version = 0;
        for step in 0..STEPS {
            let what = act(&mut room, &mut random);
            for document in room.notifications.drain(..) {
                assert_eq!(document.version, version + 1);
                version = document.version;
                let users = document.users.map(|users| users.users).unwrap_or_default();
                users.into_iter().for_each(|user| merge(&mut told, user));
            }
            let seen: Vec<&User> = told.values().collect();
            assert_eq!(
                seen,
                actual(&mut room).iter().collect::<Vec<_>>(),
                "seed {seed}, step {step}: {what}"
            );
        }
        room.wait(300);
        assert!(room.notifications.iter().all(|document| document.version > version));
    }
}

pub fn merge(told: &mut BTreeMap<String, User>, mut user: User) {
    user.endpoints.iter_mut().for_each(|endpoint| endpoint.handover = None);
    if user.state == State::Deleted {
        told.remove(&user.entity);
    } else {
        assert!(!user.endpoints.is_empty(), "nobody is in without an endpoint");
        told.insert(user.entity.clone(), user);
    }
}

pub fn actual(room: &mut Room) -> Vec<User> {
    let response = room.command(Command::GetConference(keys())).expect("an answer");
    let ResultBody::Conference(info) = &response.results[0].body else { panic!("a conference") };
    info.users.clone().expect("users").users
}

fn act(room: &mut Room, random: &mut Entropy) -> String {
    let name = PEOPLE[(random.number() % 4) as usize];
    let endpoint = format!("{{{}}}", random.number() % 3);
    let choice = random.number() % 12;
    match choice {
        0 | 1 => {
            room.command(add_user(name, &endpoint, JoiningMethod::DialedIn));
        }
        2 => {
            room.client(name).answer = None;
            room.command(add_user(name, &endpoint, JoiningMethod::DialedOut));
        }
        3 | 4 => {
            room.join(name);
        }
        5 => {
            room.say(name, "hi");
        }
        6 => {
            room.send(name, Method::Bye, "", "");
        }
        7 => {
            room.delete_user(name);
        }
        8 => room.client(name).answer = Some([200, 481, 486, 200][(random.number() % 4) as usize]),
        9 => {
            let received = std::mem::take(&mut room.client(name).received);
            let status = [180, 200, 486, 603][(random.number() % 4) as usize];
            for invite in received.iter().filter(|request| request.method == Method::Invite) {
                room.answer(name, invite, status);
            }
        }
        10 => room.wait(random.number() % 5),
        _ => room.wait(random.number() % 100),
    }
    format!("{choice} {name} {endpoint}")
}
