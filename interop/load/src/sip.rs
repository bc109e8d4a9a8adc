//! SIP, as much as an honest caller needs: reading messages, and Digest (RFC 7616, MD5 with or without `auth`).

use md5::{Digest, Md5};

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    start: String,
    headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Message {
    /// Reads it; `None` if it is none.
    pub fn read(bytes: &[u8]) -> Option<Message> {
        let text = String::from_utf8_lossy(bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.split("\r\n");
        let start = lines.next().filter(|line| !line.is_empty())?.to_owned();
        let mut headers: Vec<(String, String)> = Vec::new();
        for line in lines {
            if line.starts_with([' ', '\t']) {
                if let Some((_, value)) = headers.last_mut() {
                    value.push_str(line);
                }
            } else if let Some((name, value)) = line.split_once(':') {
                headers.push((long_form(name.trim()), value.trim().to_owned()));
            }
        }
        Some(Message { start, headers, body: body.to_owned() })
    }

    /// The first header of this name, in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers(name).next()
    }

    /// All of them.
    pub fn headers<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    /// The method of a request.
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// Number and method of CSeq.
    pub fn sequence(&self) -> (u32, &str) {
        let mut words = self.header("cseq").unwrap_or_default().split_ascii_whitespace();
        let number = words.next().and_then(|number| number.parse().ok());
        (number.unwrap_or(0), words.next().unwrap_or_default())
    }
}

/// Takes the first whole message out of what a stream has brought.
pub fn take_from_stream(bytes: &mut Vec<u8>) -> Option<Message> {
    let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    bytes.drain(..blank);
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let length = Message::read(&bytes[..head])?.header("content-length").and_then(|text| text.parse().ok());
    let end = head + length.unwrap_or(0_usize);
    (bytes.len() >= end)
        .then(|| bytes.drain(..end).collect::<Vec<u8>>())
        .and_then(|bytes| Message::read(&bytes))
}

fn long_form(name: &str) -> String {
    match name.to_ascii_lowercase().as_str() {
        "v" => "via",
        "f" => "from",
        "t" => "to",
        "i" => "call-id",
        "m" => "contact",
        "l" => "content-length",
        "c" => "content-type",
        name => return name.to_owned(),
    }
    .to_owned()
}

/// The URI in a header's value: within angle brackets, or before the parameters.
pub fn uri_of(value: &str) -> &str {
    let inner = value.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    inner.map_or_else(|| value.split(';').next().unwrap_or(value).trim(), |(uri, _)| uri)
}

/// The answer to a challenge.
pub fn digest(challenge: &str, user: &str, password: &str, method: &str, uri: &str) -> String {
    let parameter = |name: &str| parameter(challenge, name).unwrap_or_default();
    let (realm, nonce) = (parameter("realm"), parameter("nonce"));
    let secret = md5(&format!("{user}:{realm}:{password}"));
    let request = md5(&format!("{method}:{uri}"));
    let mut answer = format!(
        "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", algorithm=MD5"
    );
    if parameter("qop").split(',').any(|word| word.trim() == "auth") {
        let response = md5(&format!("{secret}:{nonce}:00000001:load:auth:{request}"));
        answer += &format!(", qop=auth, nc=00000001, cnonce=\"load\", response=\"{response}\"");
    } else {
        answer += &format!(", response=\"{}\"", md5(&format!("{secret}:{nonce}:{request}")));
    }
    if let Some(opaque) = self::parameter(challenge, "opaque") {
        answer += &format!(", opaque=\"{opaque}\"");
    }
    answer
}

/// A parameter of a challenge.
fn parameter(challenge: &str, name: &str) -> Option<String> {
    let parameters = challenge.split_once(' ')?.1;
    let mut rest = parameters;
    loop {
        let (found, value) = rest.split_once('=')?;
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => value.split_once(',').unwrap_or((value, "")),
        };
        if found.trim_matches([' ', ',', '\t']).eq_ignore_ascii_case(name) {
            return Some(value.trim().to_owned());
        }
        rest = after;
    }
}

fn md5(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_answered_as_in_rfc_2617() {
        let challenge = "Digest realm=\"testrealm@host.com\", qop=\"auth,auth-int\", \
                         nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
        assert_eq!(parameter(challenge, "opaque").as_deref(), Some("5ccc069c403ebaf9f0171e9517f40e41"));
        let answer = digest(challenge, "Mufasa", "Circle Of Life", "GET", "/dir/index.html");
        let secret = md5("Mufasa:testrealm@host.com:Circle Of Life");
        assert_eq!(secret, "939e7578ed9e3c518a452acee763bce9");
        assert!(answer.contains("qop=auth, nc=00000001"), "{answer}");
    }

    #[test]
    fn a_stream_is_cut_into_messages() {
        let mut bytes = b"\r\nSIP/2.0 200 OK\r\nl: 3\r\nCSeq: 7 INVITE\r\n\r\nabcSIP/2.0 1".to_vec();
        let message = take_from_stream(&mut bytes).unwrap();
        assert_eq!(
            (message.status(), message.sequence(), message.body.as_str()),
            (Some(200), (7, "INVITE"), "abc")
        );
        assert!(take_from_stream(&mut bytes).is_none());
        assert_eq!(uri_of("\"a\" <sip:b@c;x>;tag=1"), "sip:b@c;x");
    }
}
