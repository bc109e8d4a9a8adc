//! How a phone treats its sound, whichever program it is.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;

use crate::tools;
use crate::wire::{self, Wire};

/// Whether a phone encrypts (SRTP with keys in SDP, RFC 4568).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// It does not.
    None,
    /// It offers keys, and goes on without if they are not wanted.
    Optional,
    /// It takes no call without.
    Required,
}

/// How a phone treats its sound.
#[derive(Clone, Copy)]
pub struct Voice<'a> {
    /// What it says all the time, in Hz; see [`crate::sound::TONES`].
    pub tone: u32,
    /// The codecs it knows, the best first: `pcmu`, `pcma`, `g722`, `opus`, with commas between them.
    pub codecs: &'a str,
    /// Whether it encrypts.
    pub encryption: Encryption,
    /// Whether it finds its way by ICE (RFC 8445).
    pub ice: bool,
    /// A TURN server that it takes an address from, with user and password.
    pub turn: Option<(SocketAddr, &'a str, &'a str)>,
    /// Whether it has a camera (a pattern that moves, VP8) and a screen; baresip alone.
    pub picture: bool,
    /// The address it has.
    pub address: IpAddr,
    /// The line at whose far end it is.
    pub line: Option<&'a Wire>,
}

impl<'a> Voice<'a> {
    /// A plain phone at 127.0.0.1 that says this: G.711, no encryption, no ICE.
    pub fn plain(tone: u32) -> Voice<'a> {
        Voice {
            tone,
            codecs: "pcmu,pcma",
            encryption: Encryption::None,
            ice: false,
            turn: None,
            picture: false,
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            line: None,
        }
    }

    /// The same at the far end of this line.
    pub fn behind(self, line: &'a Wire) -> Voice<'a> {
        Voice { address: wire::FAR, line: Some(line), ..self }
    }

    /// The same with these codecs.
    pub fn with_codecs(self, codecs: &'a str) -> Voice<'a> {
        Voice { codecs, ..self }
    }

    /// The same, encrypted like this.
    pub fn encrypted(self, encryption: Encryption) -> Voice<'a> {
        Voice { encryption, ..self }
    }

    /// The same with a camera and a screen.
    pub fn with_picture(self) -> Voice<'a> {
        Voice { picture: true, ..self }
    }

    /// The same with ICE.
    pub fn with_ice(self) -> Voice<'a> {
        Voice { ice: true, ..self }
    }

    /// Starts a program where this phone is.
    pub(crate) fn command(&self, program: &str) -> Command {
        match self.line {
            Some(line) => line.command(program),
            None => Command::new(tools::program(program).expect("the scenario has asked for it")),
        }
    }
}
