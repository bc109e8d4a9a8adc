//! How fast the documents of a conference are read and printed: C3P, and conference-info full and
//! partial in each view; and one change for many readers, printed once or for each. `make bench
//! BENCH=documents` runs this; the figures are in `docs/performance.md`.

use confab_schema::{
    cccp,
    conference_info::{
        ConferenceInfo, ConferenceView, Endpoint, EndpointStatus, JoiningMethod, Role, User, Users, View,
    },
    uri::McuType,
};
use divan::{
    Bencher,
    counter::{BytesCount, ItemsCount},
};

const CONFERENCE: &str = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:5F0D6A3BC1E24788";
const JOIN: &[u8] = include_bytes!("../samples/cccp-join-request.xml");
const ADD_CONFERENCE: &[u8] = include_bytes!("../samples/cccp-add-conference-request.xml");
/// People in the conference.
const PEOPLE: [usize; 3] = [10, 250, 1000];
/// Readers of one change.
const READERS: [usize; 3] = [250, 1000, 10_000];

fn main() {
    divan::main();
}

/// Everybody is on the Focus and in the chat.
fn person(number: usize) -> User {
    let leg = |session_type: &str| {
        let mut leg = Endpoint::new(format!("{{0B6A2D61-7D0C-4C55-9E7B-{number:012X}}}"));
        leg.session_type = Some(session_type.into());
        leg.status = Some(EndpointStatus::Connected);
        leg.joining_method = Some(JoiningMethod::DialedIn);
        leg
    };
    User {
        display_text: Some(format!("Person number {number}")),
        roles: vec![Role::Attendee],
        endpoints: vec![leg("focus"), leg("chat")],
        ..User::new(format!("sip:person{number}@example.test"))
    }
}

fn full(people: usize) -> ConferenceInfo {
    let mut document = ConferenceInfo::full(CONFERENCE, 7);
    document.users = Some(Users { users: (0..people).map(person).collect(), ..Users::default() });
    document.view = Some(ConferenceView::of_types(&[McuType::Chat]));
    document
}

fn partial() -> ConferenceInfo {
    let mut document = ConferenceInfo::partial(CONFERENCE, 8);
    document.users = Some(Users { users: vec![person(1)], ..Users::default() });
    document
}

fn print(bencher: Bencher<'_, '_>, document: &ConferenceInfo, view: View) {
    let length = document.to_bytes(view).len();
    bencher.counter(BytesCount::new(length)).bench_local(|| document.to_bytes(view));
}

#[divan::bench(args = PEOPLE)]
fn print_full_microsoft(bencher: Bencher<'_, '_>, people: usize) {
    print(bencher, &full(people), View::Microsoft);
}

#[divan::bench(args = PEOPLE)]
fn print_full_rfc4575(bencher: Bencher<'_, '_>, people: usize) {
    print(bencher, &full(people), View::Rfc4575);
}

#[divan::bench]
fn print_change_microsoft(bencher: Bencher<'_, '_>) {
    print(bencher, &partial(), View::Microsoft);
}

#[divan::bench]
fn print_change_rfc4575(bencher: Bencher<'_, '_>) {
    print(bencher, &partial(), View::Rfc4575);
}

/// As it is done: once, and every reader has the same bytes.
#[divan::bench(args = READERS)]
fn change_printed_once(bencher: Bencher<'_, '_>, readers: usize) {
    let document = partial();
    bencher.counter(ItemsCount::new(readers)).bench_local(|| {
        let printed = document.to_bytes(View::Microsoft);
        vec![printed; readers]
    });
}

/// As it is not done: for each reader anew.
#[divan::bench(args = READERS, sample_count = 20)]
fn change_printed_for_each(bencher: Bencher<'_, '_>, readers: usize) {
    let document = partial();
    let print = || (0..readers).map(|_| document.to_bytes(View::Microsoft)).collect::<Vec<_>>();
    bencher.counter(ItemsCount::new(readers)).bench_local(print);
}

/// What an attendee of a large meeting is told of himself, put into what all are told.
#[divan::bench]
fn put_oneself_in(bencher: Bencher<'_, '_>) {
    let print = partial().print(View::Microsoft);
    let oneself = person(2);
    bencher.bench_local(|| print.with(&oneself));
}

#[divan::bench(args = PEOPLE)]
fn parse_full(bencher: Bencher<'_, '_>, people: usize) {
    let document = full(people).to_bytes(View::Microsoft);
    bencher.counter(BytesCount::new(document.len())).bench_local(|| ConferenceInfo::parse(&document));
}

#[divan::bench]
fn parse_change(bencher: Bencher<'_, '_>) {
    let document = partial().to_bytes(View::Microsoft);
    bencher.counter(BytesCount::new(document.len())).bench_local(|| ConferenceInfo::parse(&document));
}

#[divan::bench(args = [("join", JOIN), ("addConference", ADD_CONFERENCE)].map(Named))]
fn parse_c3p(bencher: Bencher<'_, '_>, Named((_, document)): &Named) {
    bencher.counter(BytesCount::of_slice(*document)).bench_local(|| cccp::Request::parse(document));
}

#[divan::bench(args = [("join", JOIN), ("addConference", ADD_CONFERENCE)].map(Named))]
fn print_c3p(bencher: Bencher<'_, '_>, Named((_, document)): &Named) {
    let request = cccp::Request::parse(document).expect("the samples are C3P");
    bencher.counter(BytesCount::new(request.to_bytes().len())).bench_local(|| request.to_bytes());
}

/// A document with a name for the table.
struct Named((&'static str, &'static [u8]));

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.0)
    }
}
