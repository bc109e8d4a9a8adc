//! A key of a telephone, told by INFO (RFC 6086 with the body that gateways call `dtmf-relay`).

use std::time::Duration;

use bytes::Bytes;

use crate::Request;

/// The Info Package. Who names it in `Recv-Info` wants to be told.
pub const PACKAGE: &str = "dtmf";
/// The type of the body.
pub const CONTENT_TYPE: &str = "application/dtmf-relay";

/// Whether these headers of an INVITE or its answer ask to be told of keys.
pub fn is_wanted(headers: &crate::Headers) -> bool {
    headers.has_token("Recv-Info", PACKAGE)
}

/// Writes into an INFO that this key was held for so long: `0`–`9`, `*`, `#`, `A`–`D`, `!` for a hook flash.
pub fn write(info: &mut Request, key: char, held: Duration) {
    info.headers.push("Info-Package", PACKAGE);
    info.headers.push("Content-Disposition", "Info-Package");
    let body = format!("Signal={key}\r\nDuration={}\r\n", held.as_millis());
    info.set_body(CONTENT_TYPE, Bytes::from(body));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Headers, Method, Uri};

    #[test]
    fn keys_are_told_to_those_who_ask() {
        let mut headers = Headers::new();
        assert!(!is_wanted(&headers));
        headers.push("Recv-Info", "other, dtmf");
        assert!(is_wanted(&headers));
        let mut info = Request::new(Method::Info, Uri::sip("ann", "example.test"));
        write(&mut info, '#', Duration::from_millis(160));
        assert_eq!(info.body, "Signal=#\r\nDuration=160\r\n");
        assert_eq!(info.headers.get("Info-Package").map(|package| package.as_str()), Some(PACKAGE));
    }
}
