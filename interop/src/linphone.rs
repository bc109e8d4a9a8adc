//! linphone, a second SIP phone with a stack of its own, driven through linphonec's standard input.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::sound::{self, Ear};
use crate::voice::{Encryption, Voice};
use crate::{Deadline, Process, Scratch, poll, ports, server};

/// The codecs it knows and has switched on by itself; speex, which has three, stands last.
const CODECS: [&str; 7] = ["opus", "PCMU", "PCMA", "GSM", "G722", "G729", "speex"];

/// A running linphone. It answers calls by itself.
pub struct Linphone {
    name: String,
    address: SocketAddr,
    process: Process,
    log: PathBuf,
    ear: Ear,
}

impl Linphone {
    /// Starts a phone that is called at its own address and registers with nobody.
    pub fn unregistered(scratch: &Scratch, name: &str, voice: &Voice) -> Linphone {
        Linphone::start(scratch, name, voice, "")
    }

    /// Starts a phone that registers with this server over TCP and sends everything to it.
    pub fn registered(scratch: &Scratch, name: &str, voice: &Voice, server: SocketAddr) -> Linphone {
        let domain = server::DOMAIN;
        let account = format!(
            "[proxy_0]\nreg_proxy=<sip:{server};transport=tcp>\nreg_route=<sip:{server};transport=tcp>\n\
             reg_identity=sip:{name}@{domain}\nreg_expires=3600\nreg_sendregister=1\npublish=0\n"
        );
        let phone = Linphone::start(scratch, name, voice, &account);
        // It says so in its log only.
        let registered =
            || fs::read_to_string(&phone.log).is_ok_and(|log| log.contains("to [LinphoneRegistrationOk]"));
        let registered = poll(Deadline::step(), || registered().then_some(()));
        assert!(registered.is_some(), "linphone {name} is not registered");
        phone
    }

    fn start(scratch: &Scratch, name: &str, voice: &Voice, account: &str) -> Linphone {
        let home = scratch.file(&format!("linphone-{name}"));
        // Without them it cannot open its database, and then it never listens.
        for folder in [".local/share/linphone", ".config/linphone"] {
            fs::create_dir_all(home.join(folder)).expect("the temporary folder can be written");
        }
        let address = SocketAddr::new(voice.address, ports::free().port());
        let write = |file: &str, text: String| {
            fs::write(home.join(file), text).expect("the temporary folder can be written");
        };
        write("config", config(voice, address, account));
        sound::write_wav(&home.join("says.wav"), voice.tone);
        let mut command = voice.command("linphonec");
        command.arg("-a").arg("-c").arg(home.join("config"));
        let log = scratch.log(&format!("linphone-{name}.messages"));
        command.args(["-d", "1"]).arg("-l").arg(&log);
        command.env("HOME", &home).env("XDG_DATA_HOME", home.join(".local/share"));
        command.env("XDG_CONFIG_HOME", home.join(".config"));
        let mut process = Process::start(scratch, &format!("linphone-{name}"), command);
        process.also_log(log.clone());
        let heard = home.join("heard.wav");
        process.write_line("soundcard use files");
        process.wait_line(Deadline::step(), |line| line.contains("Using wav files"));
        process.write_line(&format!("play {}", home.join("says.wav").display()));
        process.write_line(&format!("record {}", heard.display()));
        // The header is written when the recording ends; until then there is room for it, which sounds like silence.
        let ear = Ear::raw(name, heard, if voice.codecs.starts_with("pcm") { 8_000 } else { 16_000 });
        Linphone { name: name.to_owned(), address, process, log, ear }
    }

    /// Where it can be called.
    pub fn address(&self) -> SocketAddr {
        ports::wait_until_open(self.address, Deadline::step());
        self.address
    }

    /// What it hears.
    pub fn ear(&self) -> &Ear {
        &self.ear
    }

    /// Types a line.
    pub fn command(&mut self, line: &str) {
        self.process.write_line(line);
    }

    /// Calls this address and waits until sound flows.
    pub fn dial(&mut self, uri: &str) {
        self.command(&format!("call {uri}"));
        self.is_connected();
    }

    /// Waits until sound flows.
    pub fn is_connected(&mut self) {
        self.wait("Media streams established", "");
    }

    /// Waits until its call is over; returns what it says of that.
    pub fn is_over(&mut self) -> String {
        self.process.wait_line(Deadline::step(), |line| {
            line.contains("Call ") && (line.contains(" ended") || line.contains(" error"))
        })
    }

    /// Waits for a line that holds both texts.
    pub fn wait(&mut self, text: &str, more: &str) -> String {
        self.process.wait_line(Deadline::step(), |line| line.contains(text) && line.contains(more))
    }

    /// Hangs up and ends.
    pub fn quit(mut self) {
        self.process.write_line("terminate");
        self.process.write_line("quit");
        let status = self.process.wait(Deadline::step());
        assert!(status.success(), "linphone {} ended with {status}", self.name);
    }
}

/// What it is told of the world: file audio, one TCP port, nothing that changes what is said.
fn config(voice: &Voice, address: SocketAddr, account: &str) -> String {
    let encryption = match voice.encryption {
        Encryption::None => "none",
        Encryption::Optional | Encryption::Required => "srtp",
    };
    let required = u8::from(matches!(voice.encryption, Encryption::Required));
    let ice = if voice.ice { "[nat_policy_0]\nref=ice\nice_enabled=1\nstun_enabled=0\n" } else { "" };
    let policy = if voice.ice { "nat_policy_ref=ice\n" } else { "" };
    let known = |codec: &&str| voice.codecs.split(',').any(|wanted| wanted.eq_ignore_ascii_case(codec));
    let wanted = voice.codecs.split(',').map(|codec| (codec, true));
    // Those that stand nowhere it would add.
    let others = CODECS.iter().filter(|codec| !known(codec)).map(|codec| (*codec, false));
    let codecs: String = (wanted.chain(others).enumerate())
        .flat_map(|(number, (codec, on))| {
            let (rates, channels): (&[u32], u32) = match codec {
                "opus" => (&[48_000], 2),
                "speex" => (&[8_000, 16_000, 32_000], 1),
                _ => (&[8_000], 1), // G.722's clock, too (RFC 3551 §4.5.2)
            };
            rates.iter().enumerate().map(move |(place, rate)| {
                let number = number + place;
                let on = u8::from(on);
                format!(
                    "[audio_codec_{number}]\nmime={codec}\nrate={rate}\nchannels={channels}\nenabled={on}\n"
                )
            })
        })
        .collect();
    format!(
        "[sip]\nsip_port=0\nsip_tcp_port={}\nsip_tls_port=0\nguess_hostname=0\nmedia_encryption={encryption}\n\
         media_encryption_mandatory={required}\ndefault_proxy={}\nuse_ipv6={}\n\
         [net]\nmtu=1300\n{policy}\
         [sound]\nechocancellation=0\nagc=0\n[rtp]\naudio_rtp_port={}\naudio_adaptive_jitt_comp_enabled=1\n\
         [video]\ncapture=0\ndisplay=0\nenabled=0\nautomatically_initiate=0\nautomatically_accept=0\n{ice}{codecs}{account}",
        address.port(),
        if account.is_empty() { -1 } else { 0 },
        u8::from(address.is_ipv6()),
        ports::free().port(),
    )
}
