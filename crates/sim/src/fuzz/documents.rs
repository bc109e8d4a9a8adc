//! XML documents under any bytes: nothing panics, and what was read is printed so that it reads the
//! same again.

use bytes::Bytes;
use confab_schema::{
    categories::Categories,
    cccp::{Request, Response},
    composing,
    conf_invite::ConfInvite,
    conference_info::{ConferenceInfo, View},
    imdn::Imdn,
    mcu_control::Health,
    presence::BatchSubscribe,
    provisioning::GroupRequest,
    publication::{Publish, SetContainerMembers, SetSubscribers},
    roaming::RoamingList,
    xml::{Element, Malformed},
};

/// See [`super::CCCP`].
pub fn cccp(bytes: &[u8]) {
    if let Ok(request) = Request::parse(bytes) {
        let again = Request::parse(&request.to_bytes());
        assert_eq!(again.as_ref(), Ok(&request), "a request is printed as it was read");
        for command in &request.commands {
            drop((command.name().to_owned(), command.summary()));
        }
    }
    if let Ok(response) = Response::parse(bytes) {
        let again = Response::parse(&response.to_bytes());
        assert_eq!(again.as_ref(), Ok(&response), "a response is printed as it was read");
    }
}

/// See [`super::CONFERENCE_INFO`].
pub fn conference_info(bytes: &[u8]) {
    let Ok(info) = ConferenceInfo::parse(bytes) else { return };
    for view in [View::Microsoft, View::Rfc4575] {
        let printed = info.to_bytes(view);
        let again = ConferenceInfo::parse(&printed).expect("what was printed can be read");
        // A view leaves things out, but only once.
        assert_eq!(again.to_bytes(view), printed, "what was printed is printed the same again");
    }
}

/// See [`super::DOCUMENTS`].
pub fn documents(bytes: &[u8]) {
    // All begin with this, and most damage ends there.
    if Element::parse(bytes).is_err() {
        return;
    }
    prints_itself(bytes, Element::parse, Element::to_bytes);
    prints_itself(bytes, Categories::parse, Categories::to_bytes);
    prints_itself(bytes, ConfInvite::parse, ConfInvite::to_bytes);
    prints_itself(bytes, Imdn::parse, Imdn::to_bytes);
    prints_itself(bytes, Health::parse, Health::to_bytes);
    // What only clients write is only read.
    drop((RoamingList::parse(bytes), GroupRequest::parse(bytes), BatchSubscribe::parse(bytes)));
    drop((Publish::parse(bytes), SetContainerMembers::parse(bytes), SetSubscribers::parse(bytes)));
    drop(composing::parse(bytes));
}

/// What was read is printed so that it prints the same again.
fn prints_itself<T>(bytes: &[u8], parse: fn(&[u8]) -> Result<T, Malformed>, print: fn(&T) -> Bytes) {
    let Ok(read) = parse(bytes) else { return };
    let printed = print(&read);
    let again = parse(&printed).expect("what was printed can be read");
    assert_eq!(print(&again), printed, "what was printed is printed the same again");
}
