//! XML documents under any bytes: nothing panics, and what was read is printed so that it reads the
//! same again.

use confab_schema::{
    cccp::{Request, Response},
    conference_info::{ConferenceInfo, View},
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
