//! Presence: who is told what, and when.

use confab_schema::categories::Categories;
use confab_sip::multipart;

use super::*;

/// The parts of a batch: the list, and each one's categories.
fn parts(headers: &confab_sip::Headers, body: &Bytes) -> (String, Vec<Categories>) {
    let content_type = headers.content_type().unwrap();
    assert_eq!(content_type.params.unquoted("type").as_deref(), Some("application/rlmi+xml"));
    let mut parts = multipart::parse(&content_type, body).unwrap();
    let list = parts.remove(0);
    assert_eq!(header(&list.headers, "Content-Type"), "application/rlmi+xml");
    let categories = parts.iter().map(|part| Categories::parse(&part.body).unwrap()).collect();
    (text(&list.body).trim().to_owned(), categories)
}

/// The availability and note in it, and the name on the card.
fn summary(categories: &Categories) -> (String, Option<String>, String) {
    let data = |name: &str| {
        let found = categories.categories.iter().find(|category| category.name == name).unwrap();
        found.data.as_ref().map(ToString::to_string)
    };
    let leaf = |document: String, name: &str| {
        let (_, rest) = document.split_once(&format!("<{name}>")).unwrap();
        rest.split('<').next().unwrap().to_owned()
    };
    (
        leaf(data("state").unwrap(), "availability"),
        data("note").map(|note| leaf(note, "body")),
        leaf(data("contactCard").unwrap(), "displayName"),
    )
}

fn availability(it: &Fixture) -> String {
    let [(_, news)] = &it.sent[..] else { panic!("one notification: {:?}", it.sent) };
    let (_, categories) = parts(&news.headers, &news.body);
    summary(&categories[0]).0
}

#[test]
fn a_batch_as_pidgin_sipe_asks_for_it() {
    let mut it = Fixture::new();
    it.register("ann", 1);
    it.register("bob", 2);
    let response = it.watch("ann", 1, "", &["bob", "carol", "nobody"]);
    assert_eq!((response.status, header(&response.headers, "Require")), (200, "eventlist"));
    assert!(
        text(&response.body).contains("</categories>\r\n\r\n--"),
        "a blank line stands before each boundary"
    );
    let (list, categories) = parts(&response.headers, &response.body);
    assert_eq!(
        list,
        r#"<list xmlns="urn:ietf:params:xml:ns:rlmi" uri="sip:ann@example.test" version="0" fullState="true"><resource uri="sip:bob@example.test"><instance id="0" state="active" cid="0.0@fe.example.test"/></resource><resource uri="sip:carol@example.test"><instance id="0" state="active" cid="1.0@fe.example.test"/></resource><resource uri="sip:nobody@example.test"><instance id="0" state="terminated" reason="noresource"/></resource></list>"#
    );
    // Registered and silent is available; not registered is offline.
    assert_eq!(summary(&categories[0]), ("3500".into(), None, "BOB of example.test".into()));
    assert_eq!(summary(&categories[1]), ("18500".into(), None, "CAROL of example.test".into()));

    it.register("carol", 3);
    let [(1, news)] = &it.sent[..] else { panic!("{:?}", it.sent) };
    assert_eq!((news.method.as_str(), header(&news.headers, "Event")), ("BENOTIFY", "presence"));
    assert_eq!(news.uri.to_string(), "sip:ann@example.test;opaque=user:epid:1;gruu");
    let (list, categories) = parts(&news.headers, &news.body);
    assert!(list.contains(r#"version="1" fullState="false""#), "{list}");
    assert_eq!(categories[0].uri, "sip:carol@example.test");
    assert_eq!(summary(&categories[0]).0, "3500");

    // The first publications say what is so already.
    it.publish("carol", 3, &first_publications());
    assert_eq!(it.sent, []);
    it.publish("carol", 3, &state("userState", 536_870_912, 1, "static", 9500));
    assert_eq!(availability(&it), "9500");
    it.close(3);
    assert_eq!(availability(&it), "18500");
}

#[test]
fn people_are_added_to_a_batch_and_taken_from_it() {
    let mut it = Fixture::new();
    it.register("ann", 1);
    let first = it.watch("ann", 1, "", &["bob"]);
    let tag = first.headers.to().unwrap().tag().unwrap().to_owned();
    let dialog =
        format!("To: <sip:ann@example.test>;tag={tag}\nCall-ID: {}\n", header(&first.headers, "Call-ID"));
    let second = it.watch("ann", 1, &dialog, &["carol"]);
    let (list, categories) = parts(&second.headers, &second.body);
    assert!(list.contains(r#"version="1" fullState="false""#), "{list}");
    assert_eq!(categories.len(), 1);
    it.register("bob", 2);
    assert_eq!(it.sent.len(), 1);

    let body = r#"<batchSub xmlns="http://schemas.microsoft.com/2006/01/sip/batch-subscribe" uri="sip:ann@example.test"><action name="unsubscribe" id="1"><adhocList><resource uri="sip:bob@example.test"/></adhocList></action></batchSub>"#;
    let lines = format!("{dialog}Content-Type: application/msrtc-adrl-categorylist+xml\n");
    assert_eq!(it.subscribe("ann", 1, "presence", &lines, body).status, 200);
    it.close(2);
    assert_eq!(it.sent, []);
    let again = it.subscribe("ann", 1, "presence", &dialog, "");
    assert_eq!(parts(&again.headers, &again.body).1.len(), 1, "a refresh tells everything");
    let end = it.subscribe("ann", 1, "presence", &format!("{dialog}Expires: 0\n"), "");
    assert_eq!((end.status, it.users.subscriptions.len()), (200, 0));
}

#[test]
fn any_sip_client_watches_in_pidf() {
    let mut it = Fixture::new();
    it.register("bob", 2);
    let lines = "Event: presence\nAccept: application/pidf+xml\nContact: <sip:ann@192.0.2.9>\n";
    let response = it.say("ann", 9, "SUBSCRIBE sip:bob@example.test", lines, "");
    assert_eq!((response.status, header(&response.headers, "Contact")), (200, "<sip:bob@example.test>"));
    let [(9, notify)] = &it.sent[..] else { panic!("{:?}", it.sent) };
    assert_eq!(
        (notify.method.as_str(), header(&notify.headers, "Content-Type")),
        ("NOTIFY", "application/pidf+xml")
    );
    assert!(text(&notify.body).contains("<basic>open</basic>"));
    let note = r#"<publication categoryName="note" instance="0" container="200" version="0" expireType="static"><note xmlns="http://schemas.microsoft.com/2006/09/sip/note"><body type="personal">On a train</body></note></publication>"#;
    it.publish("bob", 2, &format!("{}{note}", state("userState", 1, 0, "static", 15_500)));
    let [(9, notify)] = &it.sent[..] else { panic!("{:?}", it.sent) };
    let body = text(&notify.body);
    assert!(body.contains("<away/>") && body.contains("<note>On a train</note>"), "{body}");
    it.close(2);
    let [(9, notify)] = &it.sent[..] else { panic!("{:?}", it.sent) };
    assert!(text(&notify.body).contains("<basic>closed</basic>"));
    let id = it.users.subscriptions.watching(&address("bob"))[0].clone();
    it.users.notify_answered(it.now, &id, 481);
    it.register("bob", 2);
    assert_eq!(it.sent, [], "a watcher who knows of no subscription is not told");
}

#[test]
fn a_single_watcher_of_the_own_kind_gets_categories() {
    let mut it = Fixture::new();
    it.register("bob", 2);
    let lines = "Event: presence\nAccept: application/msrtc-event-categories+xml, application/pidf+xml
Supported: ms-benotify\nSupported: ms-piggyback-first-notify\nContact: <sip:ann@192.0.2.9>\n";
    let response = it.say("ann", 1, "SUBSCRIBE sip:bob@example.test", lines, "");
    assert_eq!(header(&response.headers, "Content-Type"), "application/msrtc-event-categories+xml");
    let categories = Categories::parse(&response.body).unwrap();
    let names: Vec<_> = categories.categories.iter().map(|category| category.name.as_str()).collect();
    assert_eq!(names, ["calendarData", "contactCard", "note", "state"]);
}

#[test]
fn containers_decide_who_sees_what() {
    let mut it = Fixture::new();
    it.register("ann", 1);
    it.register("bob", 2);
    it.watch("ann", 1, "", &["bob"]);
    let note = |container: u32, words: &str| {
        format!(
            "<publication categoryName=\"note\" instance=\"0\" container=\"{container}\" version=\"0\" \
             expireType=\"static\"><note xmlns=\"http://schemas.microsoft.com/2006/09/sip/note\"><body>{words}</body>\
             </note></publication>"
        )
    };
    it.publish("bob", 2, &note(400, "for friends"));
    assert_eq!(it.sent, [], "not for colleagues");
    let member = |container: u32, version: u32, action: &str| {
        format!(
            "<setContainerMembers xmlns=\"http://schemas.microsoft.com/2006/09/sip/container-management\"><container \
             id=\"{container}\" version=\"{version}\"><member action=\"{action}\" type=\"user\" \
             value=\"ann@example.test\"/></container></setContainerMembers>"
        )
    };
    let kind = "application/msrtc-setcontainermembers+xml";
    it.service("bob", 2, kind, &member(400, 0, "add"));
    let [(1, news)] = &it.sent[..] else { panic!("{:?}", it.sent) };
    let (_, categories) = parts(&news.headers, &news.body);
    assert_eq!(summary(&categories[0]).1.as_deref(), Some("for friends"));
    it.service("bob", 2, kind, &member(32_000, 0, "add"));
    assert_eq!(availability(&it), "18500");
    it.close(2);
    it.register("bob", 2);
    assert_eq!(it.sent, [], "the blocked see nothing of that");
    assert_eq!(it.service("bob", 2, kind, &member(32_000, 0, "remove")).status, 409);
}

#[test]
fn publications_end_by_time() {
    let mut it = Fixture::new();
    it.register("ann", 1);
    it.register("bob", 2);
    it.watch("ann", 1, "", &["bob"]);
    let busy = state("calendarState", 1, 0, "time", 6500).replace("expireType", "expires=\"600\" expireType");
    it.publish("bob", 2, &busy);
    assert_eq!(availability(&it), "6500");
    assert_eq!(it.users.deadline(), Some(NOW + Duration::from_secs(600)));
    it.wait(600);
    assert_eq!(availability(&it), "3500");
}

#[test]
fn the_last_endpoint_takes_the_user_with_it() {
    let mut it = Fixture::new();
    it.register("ann", 1);
    it.register("bob", 2);
    it.register("bob", 3);
    it.watch("ann", 1, "", &["bob"]);
    it.publish("bob", 2, &state("machineState", 1, 0, "endpoint", 15_500));
    assert_eq!(availability(&it), "15500");
    it.publish("bob", 3, &state("machineState", 2, 0, "endpoint", 3500));
    assert_eq!(availability(&it), "3500", "the device someone is at speaks for all");
    it.close(3);
    assert_eq!(availability(&it), "15500");
    it.wait(7200);
    let last = it.sent.iter().filter(|(to, _)| *to == 1).count();
    assert_eq!(last, 1, "{:?}", it.sent);
}

#[test]
fn stale_versions_are_answered_with_the_current_ones() {
    let mut it = Fixture::new();
    it.register("bob", 2);
    it.publish("bob", 2, &first_publications());
    let fault = it.publish("bob", 2, &state("userState", 536_870_912, 0, "static", 6500));
    assert_eq!((fault.status, header(&fault.headers, "Content-Type")), (409, "application/msrtc-fault+xml"));
    assert_eq!(
        text(&fault.body),
        r#"<Fault><Faultcode>Client.BadCall.WrongDelta</Faultcode><details><operation index="1" curVersion="1"/><operation index="2" curVersion="1"/></details></Fault>"#
    );
}

#[test]
fn a_long_batch_is_told_in_pieces() {
    let mut it = Fixture::new();
    it.register("ann", 1);
    let people: Vec<String> = (0..900).map(|number| format!("user{number}")).collect();
    let people: Vec<&str> = people.iter().map(String::as_str).collect();
    let response = it.watch("ann", 1, "", &people);
    let (_, first) = parts(&response.headers, &response.body);
    let rest: usize = it.sent.iter().map(|(_, news)| parts(&news.headers, &news.body).1.len()).sum();
    assert!(!it.sent.is_empty());
    assert_eq!(first.len() + rest, 900);
}

#[test]
fn acknowledged_watchers_are_kept() {
    let mut it = Fixture::new();
    it.register("bob", 2);
    it.subscribe("bob", 2, "vnd-microsoft-roaming-self", "", "");
    let body = r#"<setSubscribers xmlns="http://schemas.microsoft.com/2006/09/sip/presence-subscribers"><subscriber user="ann@example.test" acknowledged="true"/></setSubscribers>"#;
    assert_eq!(it.service("bob", 2, "application/msrtc-presence-setsubscriber+xml", body).status, 200);
    let [(2, news)] = &it.sent[..] else { panic!("{:?}", it.sent) };
    assert!(text(&news.body).contains(r#"<subscriber user="ann@example.test" acknowledged="true"/>"#));
    let again = it.subscribe("bob", 2, "vnd-microsoft-roaming-self", "", "");
    assert!(text(&again.body).contains("ann@example.test"));
}
