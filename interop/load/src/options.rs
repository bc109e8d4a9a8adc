//! What a run is told.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::tones::Codec;

/// Whether sound is measured, or coming and going.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Everybody joins, talks and is judged.
    Load,
    /// INVITE, 200, ACK, BYE over and over, without sound.
    Churn,
}

/// How SIP travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// UDP.
    Udp,
    /// One TCP connection for all.
    Tcp,
}

/// How sound is protected (SRTP with keys in SDP, RFC 4568).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Srtp {
    /// AES-CM 128, HMAC-SHA1 80.
    Sha1_80,
    /// AES-CM 128, HMAC-SHA1 32.
    Sha1_32,
    /// AES-GCM 128.
    Gcm,
}

/// Joins conferences of a SIP server with many people, has some of them say tones, and judges what everybody hears.
#[derive(Clone, Debug, Parser)]
#[command(name = "confab load", version, args_override_self = true)]
pub struct Options {
    /// The address each person calls; {conf} is the number of the conference, {n} that of the person
    #[arg(long, default_value = "sip:{conf}@127.0.0.1:5060")]
    pub target: String,
    /// A file with the address of one conference in each line, in place of --target
    #[arg(long)]
    pub targets: Option<PathBuf>,
    /// An address that makes a conference when it is called (RFC 4579): one person of each conference calls it, and the
    /// others call what its answer names as Contact; in place of --target
    #[arg(long)]
    pub factory: Option<String>,
    /// Whom each person says he is
    #[arg(long, default_value = "sip:load{n}@127.0.0.1")]
    pub from: String,
    /// Where SIP is sent
    #[arg(long, default_value = "127.0.0.1:5060")]
    pub server: SocketAddr,
    /// How SIP travels
    #[arg(long, value_enum, default_value_t = Transport::Udp)]
    pub transport: Transport,
    /// Our own address
    #[arg(long, default_value = "127.0.0.1")]
    pub bind: IpAddr,
    /// The first port for sound; each person has the next even one
    #[arg(long, default_value_t = 20_000)]
    pub rtp_base: u16,
    /// How many conferences
    #[arg(long, default_value_t = 1)]
    pub conferences: usize,
    /// The number of the first conference
    #[arg(long, default_value_t = 1000)]
    pub conference_base: usize,
    /// People in each conference
    #[arg(long, default_value_t = 4)]
    pub size: usize,
    /// People in each conference who talk at once
    #[arg(long, default_value_t = 3)]
    pub talkers: usize,
    /// The same people talk all the time
    #[arg(long)]
    pub no_rotation: bool,
    /// People in each conference who send anything at all (everybody)
    #[arg(long)]
    pub senders: Option<usize>,
    /// The codec of everybody
    #[arg(long, value_enum, default_value_t = Codec::Pcmu)]
    pub codec: Codec,
    /// Protect sound, and offer nothing else
    #[arg(long, value_enum)]
    pub srtp: Option<Srtp>,
    /// Joins a second
    #[arg(long, default_value_t = 50.0)]
    pub rate: f64,
    /// Seconds between the last join and the measuring
    #[arg(long, default_value_t = 2.0)]
    pub settle: f64,
    /// Seconds that are measured
    #[arg(long, default_value_t = 20.0)]
    pub duration: f64,
    /// Milliseconds of a turn: its first talker is alone for a quarter, all talk for a half, all are silent for a quarter
    #[arg(long, default_value_t = 2000)]
    pub turn_ms: u64,
    /// People in each conference whose sound is judged; 0: all
    #[arg(long, default_value_t = 8)]
    pub judged: usize,
    /// What is measured
    #[arg(long, value_enum, default_value_t = Mode::Load)]
    pub mode: Mode,
    /// Seconds between an answer and its BYE, with --mode churn
    #[arg(long, default_value_t = 0.5)]
    pub hold: f64,
    /// Processes of the server whose work and memory are measured
    #[arg(long, value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// A further header of each INVITE, 'Name: value'
    #[arg(long)]
    pub header: Vec<String>,
    /// The user of Digest
    #[arg(long, default_value = "")]
    pub user: String,
    /// His password
    #[arg(long, default_value = "")]
    pub password: String,
    /// No SIP: each line of this file is the server's 'ADDRESS:PORT PAYLOAD-TYPE' for one person, who was joined by other means
    #[arg(long)]
    pub remotes: Option<PathBuf>,
    /// Stands in the report
    #[arg(long, default_value = "")]
    pub label: String,
    /// Seconds that an INVITE is waited for
    #[arg(long, default_value_t = 10.0)]
    pub timeout: f64,
}

impl Options {
    /// People in each conference who send.
    pub fn senders(&self) -> usize {
        self.senders.unwrap_or(self.size).clamp(1, self.size)
    }

    /// People in each conference who are judged.
    pub fn judged(&self) -> usize {
        if self.judged == 0 { self.size } else { self.judged }
    }

    /// Who makes the conference that this person joins, if it has to be made.
    pub fn leader(&self, person: usize) -> usize {
        match self.mode {
            Mode::Load => person - person % self.size,
            Mode::Churn => person % self.conferences,
        }
    }

    /// Everybody, in all conferences.
    pub fn people(&self) -> usize {
        self.conferences * self.size
    }
}
