//! Offers and answers of one audio stream.

use std::net::{IpAddr, SocketAddr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use confab_media::session::{MasterKey, Suite};
use confab_media::srtp;

use crate::media::Path;
use crate::options::{Options, Srtp};

/// Bytes of a key.
const KEY: usize = 16;

impl Srtp {
    fn suite(self) -> Suite {
        match self {
            Srtp::Sha1_80 => Suite::AesCm80,
            Srtp::Sha1_32 => Suite::AesCm32,
            Srtp::Gcm => Suite::AesGcm,
        }
    }

    /// Its name in SDP (RFC 4568 §6.2, RFC 7714 §14.2).
    fn name(self) -> &'static str {
        match self {
            Srtp::Sha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Srtp::Sha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Srtp::Gcm => "AEAD_AES_128_GCM",
        }
    }

    fn salt(self) -> usize {
        if self == Srtp::Gcm { 12 } else { 14 }
    }

    /// The key of this person: nobody says anything secret here.
    fn key(self, person: usize) -> Vec<u8> {
        let seed = person.to_le_bytes();
        (0..KEY + self.salt())
            .map(|at| seed[at % seed.len()] ^ u8::try_from(at * 29 % 251).expect("a byte"))
            .collect()
    }
}

/// The offer (and the answer to a later offer) of a person at this port.
pub fn offer(options: &Options, person: usize, port: u16) -> String {
    let (address, codec) = (options.bind, options.codec);
    let family = if address.is_ipv4() { "IP4" } else { "IP6" };
    let (profile, crypto) = match options.srtp {
        None => ("RTP/AVP", String::new()),
        Some(srtp) => {
            let key = STANDARD.encode(srtp.key(person));
            ("RTP/SAVP", format!("a=crypto:1 {} inline:{key}\r\n", srtp.name()))
        }
    };
    let sends = person % options.size < options.senders();
    format!(
        "v=0\r\no=- {} 1 IN {family} {address}\r\ns=-\r\nc=IN {family} {address}\r\nt=0 0\r\n\
         m=audio {port} {profile} {} 101\r\na=rtpmap:{}\r\n{crypto}\
         a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na={}\r\n",
        person + 1,
        codec.payload_type(),
        codec.map(),
        if sends { "sendrecv" } else { "recvonly" }
    )
}

/// The path that the server's description says; `None` if it takes no sound, or not as it was offered.
pub fn path(options: &Options, person: usize, description: &str) -> Option<Path> {
    let mut address = None;
    let mut media: Option<(u16, u8)> = None;
    let mut crypto = None;
    for line in description.lines().map(str::trim_end) {
        if line.starts_with("m=") && media.is_some() {
            break; // what follows is another stream
        } else if let Some(rest) = line.strip_prefix("m=audio ") {
            let words: Vec<&str> = rest.split_ascii_whitespace().collect();
            media = Some((words.first()?.parse().ok()?, words.get(2)?.parse().ok()?));
        } else if let Some(rest) = line.strip_prefix("c=IN ") {
            address = rest.split_ascii_whitespace().nth(1)?.parse::<IpAddr>().ok();
        } else if line.starts_with("a=crypto:") {
            crypto = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("inline:"));
        }
    }
    let (port, payload_type) = media.filter(|(port, _)| *port != 0)?;
    let protection = match options.srtp {
        None => None,
        Some(srtp) => {
            let key = STANDARD.decode(crypto?.split('|').next()?).ok()?;
            Some((context(srtp, &srtp.key(person))?, context(srtp, &key)?))
        }
    };
    Some(Path { remote: SocketAddr::new(address?, port), payload_type, protection })
}

fn context(srtp: Srtp, key: &[u8]) -> Option<srtp::Context> {
    let (key, salt) = key.split_at_checked(KEY)?;
    let master = MasterKey { key: key.try_into().ok()?, salt: salt.to_vec(), identifier: Vec::new() };
    srtp::Context::new(srtp.suite(), &master)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn a_path_is_read_from_an_answer() {
        let options = Options::parse_from(["load", "--srtp", "gcm"]);
        let answer = offer(&options, 3, 4000);
        let path = path(&options, 3, &answer).unwrap();
        assert_eq!((path.remote, path.payload_type), ("127.0.0.1:4000".parse().unwrap(), 0));
        assert!(path.protection.is_some());
        assert!(self::path(&options, 3, &answer.replace("a=crypto", "a=x")).is_none(), "no key, no sound");
    }
}
