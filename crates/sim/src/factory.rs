//! Requests to the Focus Factory as raw bytes, for what our own client does not ask.

use confab_schema::{cccp::Response, uri::ConferenceUri};

use crate::deployment::{DOMAIN, Deployment};

/// `modifyConference` with this description, by who last saw this version.
pub fn modify(conference: &ConferenceUri, version: u32, description: &str) -> String {
    let id = &conference.id;
    format!(
        r#"<modifyConference><ci:conference-info entity="" version="{version}"><ci:conference-description>
        <msci:conference-id>{id}</msci:conference-id>{description}</ci:conference-description>
        </ci:conference-info></modifyConference>"#
    )
}

impl Deployment {
    /// What the Focus Factory of somebody says to this command of his, where nobody is challenged.
    pub async fn asks_factory(&self, name: &str, command: &str) -> Response {
        let answer = self.sends_to_factory(name, command).await;
        Response::parse(&answer.body).expect("the answer is C3P")
    }

    /// The same with the SIP around it: a 200, for what business refuses rides in one.
    pub async fn sends_to_factory(&self, name: &str, command: &str) -> confab_sip::Response {
        let user = format!("sip:{name}@{DOMAIN}");
        let factory = format!("{user};gruu;opaque=app:conf:focusfactory");
        let body = format!(
            r#"<request xmlns="urn:ietf:params:xml:ns:cccp" xmlns:ci="urn:ietf:params:xml:ns:conference-info"
            xmlns:msci="http://schemas.microsoft.com/rtc/2005/08/confinfoextensions" C3PVersion="1"
            from="{user}" to="{factory}" requestId="5">{command}</request>"#
        );
        let request = format!(
            "SERVICE {factory} SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bKfactory\r\n\
             Max-Forwards: 70\r\nFrom: <{user}>;tag=a1;epid=0a1b2c3d4e\r\nTo: <{factory}>\r\n\
             Call-ID: factory\r\nCSeq: 1 SERVICE\r\nContact: <sip:127.0.0.1:5060>\r\n\
             Content-Type: application/cccp+xml\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = self.peer().asks(request.as_bytes()).await.expect("the factory answers");
        assert_eq!(answer.status, 200);
        answer
    }
}
