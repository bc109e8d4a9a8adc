//! Signing on and off as clients do it, request by request.

use super::*;

#[test]
fn pidgin_sipe_signs_in_and_out() {
    let mut it = Fixture::new();
    assert_eq!(it.register("carol", 1).status, 200);

    let contacts = it.subscribe("carol", 1, "vnd-microsoft-roaming-contacts", "Supported: ms-ucs\n", "");
    let names = ["Event", "Expires", "Subscription-State", "ms-piggyback-cseq", "Content-Type"];
    assert_eq!(
        names.map(|name| header(&contacts.headers, name)),
        [
            "vnd-microsoft-roaming-contacts",
            "28800",
            "active;expires=28800",
            "1",
            "application/vnd-microsoft-roaming-contacts+xml",
        ]
    );
    assert_eq!(
        text(&contacts.body),
        r#"<contactList deltaNum="1"><group id="1" name="~" externalURI=""/></contactList>"#
    );
    assert_eq!(header(&contacts.headers, "Contact"), "<sip:carol@example.test>");

    let groups = r#"<provisioningGroupList xmlns="http://schemas.microsoft.com/2006/09/sip/provisioninggrouplist"> <provisioningGroup name="ServerConfiguration"/> <provisioningGroup name="meetingPolicy"/> <provisioningGroup name="persistentChatConfiguration"/> <provisioningGroup name="ucPolicy"/></provisioningGroupList>"#;
    let lines = "Expires: 0\nContent-Type: application/vnd-microsoft-roaming-provisioning-v2+xml\n";
    let provisioned = it.subscribe("carol", 1, "vnd-microsoft-provisioning-v2", lines, groups);
    assert_eq!((provisioned.status, header(&provisioned.headers, "Expires")), (200, "0"));
    let body = text(&provisioned.body);
    assert!(
        body.contains(
            "<focusFactoryUri>sip:carol@example.test;gruu;opaque=app:conf:focusfactory</focusFactoryUri>"
        ),
        "{body}"
    );

    let wanted = r#"<roamingList xmlns="http://schemas.microsoft.com/2006/09/sip/roaming-self"><roaming type="categories"/><roaming type="containers"/><roaming type="subscribers"/></roamingList>"#;
    let lines = "Content-Type: application/vnd-microsoft-roaming-self+xml\n";
    let roaming = it.subscribe("carol", 1, "vnd-microsoft-roaming-self", lines, wanted);
    let body = text(&roaming.body);
    assert!(
        body.contains("<containers xmlns=\"http://schemas.microsoft.com/2006/09/sip/containers\"/>"),
        "{body}"
    );
    assert!(!body.contains("expireType=\"endpoint\""), "nothing is published yet: {body}");

    let members = r#"<setContainerMembers xmlns="http://schemas.microsoft.com/2006/09/sip/container-management"><container id="200" version="0"><member action="add" type="sameEnterprise"/></container><container id="100" version="0"><member action="add" type="federated"/></container></setContainerMembers>"#;
    let set = it.service("carol", 1, "application/msrtc-setcontainermembers+xml", members);
    assert_eq!(set.status, 200);
    let [(1, news)] = &it.sent[..] else { panic!("{:?}", it.sent) };
    assert_eq!(
        (news.method.as_str(), header(&news.headers, "Content-Type")),
        ("BENOTIFY", "application/vnd-microsoft-roaming-self+xml")
    );
    assert!(
        text(&news.body)
            .contains(r#"<container id="200" version="1"><member type="sameEnterprise"/></container>"#)
    );

    publishes_first(&mut it);
    signs_out(&mut it, &roaming);
}

/// Carol's client publishes what it shows of her; the answer has the state that follows from it.
fn publishes_first(it: &mut Fixture) {
    let published = it.publish("carol", 1, &first_publications());
    assert_eq!(
        (published.status, header(&published.headers, "Content-Type")),
        (200, "application/vnd-microsoft-roaming-self+xml")
    );
    let body = text(&published.body);
    for expect in [
        r#"<category name="device" instance="2128862921" publishTime="2023-11-14T22:13:20Z" container="2" version="1" expireType="endpoint">"#,
        r#"<category name="state" instance="536870912" publishTime="2023-11-14T22:13:20Z" container="3" version="1" expireType="static">"#,
        r#"container="2" version="1" expireType="static"><state xmlns="http://schemas.microsoft.com/2006/09/sip/state""#,
        r#"type="aggregateState""#,
    ] {
        assert!(body.contains(expect), "{expect} in {body}");
    }
    assert_eq!(it.sent, [], "its answer has told the publisher");
}

/// Carol's client ends the subscription that `roaming` answered, and its registration.
fn signs_out(it: &mut Fixture, roaming: &Response) {
    let tag = roaming.headers.to().unwrap().tag().unwrap().to_owned();
    let call_id = header(&roaming.headers, "Call-ID").to_owned();
    let lines = format!("Expires: 0\nTo: <sip:carol@example.test>;tag={tag}\nCall-ID: {call_id}\n");
    let left = it.subscribe("carol", 1, "vnd-microsoft-roaming-self", &lines, "");
    assert_eq!((left.status, header(&left.headers, "Expires")), (200, "0"));
    assert_eq!(it.subscribe("carol", 1, "vnd-microsoft-roaming-self", &lines, "").status, 481);
    let lines =
        "Contact: <sip:192.0.2.7:58641>;+sip.instance=\"<urn:uuid:c89d4939-c762-5e13-95a1-5f4619450881>\"
Event: registration
Expires: 0
Call-ID: register-1
";
    assert_eq!(it.say("carol", 1, "REGISTER sip:example.test", lines, "").status, 200);
    assert!(!it.users.registered(it.now, &address("carol")));
}

#[test]
fn a_second_client_of_the_user_is_told() {
    let mut it = Fixture::new();
    it.register("carol", 1);
    it.register("carol", 2);
    it.subscribe("carol", 1, "vnd-microsoft-roaming-self", "", "");
    it.subscribe("carol", 2, "vnd-microsoft-roaming-self", "", "");
    it.publish("carol", 1, &first_publications());
    let [(2, news)] = &it.sent[..] else { panic!("{:?}", it.sent) };
    assert!(text(&news.body).contains("userState"));
    it.close(1);
    let [(2, news)] = &it.sent[..] else { panic!("{:?}", it.sent) };
    let body = text(&news.body);
    assert!(body.contains(r#"<category name="device" container="2"/>"#), "{body}");
    assert!(body.contains("userState") && !body.contains("machineState"), "{body}");
}

#[test]
fn clients_of_2005_get_empty_documents() {
    let check = |event: &str, content_type: &str, body: &str| {
        let mut it = Fixture::new();
        it.register("carol", 1);
        let response = it.subscribe("carol", 1, event, "", "");
        assert_eq!((header(&response.headers, "Content-Type"), text(&response.body)), (content_type, body));
    };
    check(
        "vnd-microsoft-roaming-ACL",
        "application/vnd-microsoft-roaming-acls+xml",
        r#"<ACLlist deltaNum="1"><userACL><ace type="ALL" mask="" rights="AA"/></userACL></ACLlist>"#,
    );
    check("presence.wpending", "text/xml+msrtc.wpending", "<watchers/>");
    check(
        "vnd-microsoft-provisioning",
        "application/vnd-microsoft-roaming-provisioning+xml",
        "<provisioning><user/></provisioning>",
    );
}

#[test]
fn plain_subscribers_get_notify() {
    let mut it = Fixture::new();
    it.register("carol", 1);
    let lines = "Event: vnd-microsoft-roaming-contacts\nContact: <sip:carol@192.0.2.7>\n";
    let response = it.say("carol", 1, "SUBSCRIBE sip:carol@example.test", lines, "");
    assert_eq!((response.status, response.body.len()), (200, 0));
    let [(1, notify)] = &it.sent[..] else { panic!("{:?}", it.sent) };
    assert_eq!(
        (notify.method.as_str(), header(&notify.headers, "Subscription-State")),
        ("NOTIFY", "active;expires=28800")
    );
    assert_eq!(notify.uri.to_string(), "sip:carol@192.0.2.7");
    it.wait(28_800);
    let [(1, notify)] = &it.sent[..] else { panic!("{:?}", it.sent) };
    assert_eq!(header(&notify.headers, "Subscription-State"), "terminated;reason=timeout");
}

#[test]
fn a_new_subscription_takes_the_place_of_the_old_one() {
    let mut it = Fixture::new();
    it.register("carol", 1);
    for _ in 0..3 {
        it.subscribe("carol", 1, "vnd-microsoft-roaming-self", "", "");
    }
    assert_eq!(it.users.subscriptions.len(), 1);
    it.close(1);
    assert_eq!((it.users.subscriptions.len(), it.users.deadline()), (0, None));
}
