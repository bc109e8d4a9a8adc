//! Methods: an open set, compared with their case (RFC 3261 §7.1, RFC 3903, MS-SIP).

use std::{fmt, str::FromStr};

use super::{Malformed, scan};
use crate::Text;

macro_rules! methods {
    ($($(#[$doc:meta])* $variant:ident $name:literal,)*) => {
        /// What a request asks for.
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Method {
            $($(#[$doc])* $variant,)*
            /// Any other token.
            Other(Text),
        }

        impl Method {
            /// The name as written on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Method::$variant => $name,)*
                    Method::Other(name) => name,
                }
            }

            fn known(name: &str) -> Option<Method> {
                match name {
                    $($name => Some(Method::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

methods! {
    /// Acknowledges a final response to INVITE.
    Ack "ACK",
    /// A NOTIFY that is never answered (MS-SIP).
    Benotify "BENOTIFY",
    /// Ends a session.
    Bye "BYE",
    /// Gives up a pending INVITE.
    Cancel "CANCEL",
    /// Mid-session information (RFC 6086); carries C3P on the Focus dialog.
    Info "INFO",
    /// Starts or changes a session.
    Invite "INVITE",
    /// An instant message (RFC 3428).
    Message "MESSAGE",
    /// Asks which compression or TLS the next hop has (MS-SIP).
    Negotiate "NEGOTIATE",
    /// Tells a subscriber of an event (RFC 6665).
    Notify "NOTIFY",
    /// Asks for capabilities.
    Options "OPTIONS",
    /// Acknowledges a provisional response (RFC 3262).
    Prack "PRACK",
    /// Publishes event state (RFC 3903).
    Publish "PUBLISH",
    /// Asks the peer to contact a third party (RFC 3515).
    Refer "REFER",
    /// Binds an address of record to a contact.
    Register "REGISTER",
    /// A request for a service named by its body (MS-SIP): C3P, presence, contacts.
    Service "SERVICE",
    /// Asks for notifications (RFC 6665).
    Subscribe "SUBSCRIBE",
    /// Changes a session before it is answered (RFC 3311).
    Update "UPDATE",
}

impl Method {
    /// Reads a method; any token is one.
    pub(crate) fn parse(text: &Text) -> Result<Method, Malformed> {
        match Method::known(text) {
            Some(method) => Ok(method),
            None if scan::is_token(text) => Ok(Method::Other(text.clone())),
            None => Err(Malformed::new("method", format!("{text:?} is not a token"))),
        }
    }
}

impl FromStr for Method {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Method, Malformed> {
        Method::parse(&Text::from(text))
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

crate::text::serde_as_text!(Method);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_and_other_methods() {
        let check = |text: &str, expect: Method| {
            assert_eq!(text.parse::<Method>().unwrap(), expect);
            assert_eq!(expect.to_string(), text);
        };
        check("INVITE", Method::Invite);
        check("BENOTIFY", Method::Benotify);
        check("invite", Method::Other("invite".into()));
        check("RE%47IST%45R", Method::Other("RE%47IST%45R".into()));
        for text in ["", "IN VITE", "INVITE:", "ИНВАЙТ"] {
            assert!(text.parse::<Method>().is_err(), "{text}");
        }
    }
}
