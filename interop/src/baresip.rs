//! baresip, a plain SIP phone, driven through its ctrl_tcp module (JSON in netstrings).

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::sound::{self, Ear, TONES};
use crate::voice::{Encryption, Voice};
use crate::{Deadline, Process, Scratch, poll, ports, server};

/// No netstring of ctrl_tcp is longer.
const LONGEST_FRAME: usize = 1 << 20;
/// How many of the last events a failed wait shows.
const SHOWN_EVENTS: usize = 12;

/// How a phone signs on.
pub struct Account<'a> {
    /// The user part of its address at example.test.
    pub user: &'a str,
    /// The password it knows.
    pub password: &'a str,
    /// `udp` or `tcp`.
    pub transport: &'a str,
    /// The server it registers with and sends everything to.
    pub server: SocketAddr,
}

/// A running phone. It answers calls by itself, after 180.
pub struct Baresip {
    name: String,
    control: TcpStream,
    received: Vec<u8>,
    unread: Vec<Value>,
    all: Vec<Value>,
    ear: Ear,
    /// Where it is at home, and puts pictures of what it sees.
    folder: PathBuf,
    log: PathBuf,
    _process: Process,
}

impl Baresip {
    /// Starts a phone that registers.
    pub fn start(scratch: &Scratch, account: &Account) -> Baresip {
        Baresip::registered(scratch, account, &Voice::plain(TONES[0]))
    }

    /// The same with a voice of its own.
    pub fn registered(scratch: &Scratch, account: &Account, voice: &Voice) -> Baresip {
        let Account { user, password, transport, server } = account;
        let line = format!(
            "<sip:{user}@{};transport={transport}>;auth_user={user};auth_pass={password};\
             outbound=\"sip:{server};transport={transport}\";regint=3600;{}",
            server::DOMAIN,
            parameters(voice)
        );
        // Port 0: each transport takes a free one, and the Contact names it.
        let mut phone =
            Baresip::run(scratch, user, voice, &SocketAddr::new(voice.address, 0).to_string(), "");
        // Only now, or the outcome of the registration could come before anybody listens.
        phone.command("uanew", &line);
        phone
    }

    /// Starts a phone that registers with nobody and sends everything to this server over TCP.
    pub fn guest(scratch: &Scratch, user: &str, server: SocketAddr, voice: &Voice) -> Baresip {
        let line = format!(
            "<sip:{user}@{};transport=tcp>;outbound=\"sip:{server};transport=tcp\";regint=0;{}",
            server::DOMAIN,
            parameters(voice)
        );
        Baresip::run(scratch, user, voice, &SocketAddr::new(voice.address, 0).to_string(), &line)
    }

    /// Starts one of somebody who has no account but the conference's key.
    pub fn stranger(scratch: &Scratch, user: &str, server: SocketAddr, key: &str, voice: &Voice) -> Baresip {
        let line = format!(
            "<sip:{user}@anonymous.invalid;transport=tcp>;auth_user={user};auth_pass={key};\
             outbound=\"sip:{server};transport=tcp\";regint=0;{}",
            parameters(voice)
        );
        Baresip::run(scratch, user, voice, &SocketAddr::new(voice.address, 0).to_string(), &line)
    }

    /// Starts a phone without a registrar that is called at this address.
    pub fn unregistered(scratch: &Scratch, user: &str, address: SocketAddr, voice: &Voice) -> Baresip {
        let line = format!("<sip:{user}@{address};transport=tcp>;regint=0;{}", parameters(voice));
        Baresip::run(scratch, user, voice, &address.to_string(), &line)
    }

    fn run(scratch: &Scratch, name: &str, voice: &Voice, listen: &str, account: &str) -> Baresip {
        let folder = scratch.file(&format!("baresip-{name}"));
        let control = SocketAddr::new(voice.address, ports::free().port());
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let write = |file: &str, text: String| {
            fs::write(folder.join(file), text).expect("the temporary folder can be written");
        };
        let path = folder.to_str().expect("the temporary folder has a plain name");
        write("config", config(voice, listen, control, path));
        write("accounts", format!("{account}\n"));
        write("contacts", String::new());
        sound::write_wav(&folder.join("says.wav"), voice.tone);
        let mut command = voice.command("baresip");
        command.current_dir(&folder).args(["-s", "-f", path]); // -s: every SIP message is in the log
        let process = Process::start(scratch, &format!("baresip-{name}"), command);
        let control = poll(Deadline::step(), || TcpStream::connect(control).ok());
        Baresip {
            name: name.to_owned(),
            control: control.unwrap_or_else(|| panic!("{name} opens no control port")),
            received: Vec::new(),
            unread: Vec::new(),
            all: Vec::new(),
            ear: Ear::newest(name, folder.clone(), "-dec.wav"),
            folder,
            log: scratch.log(&format!("baresip-{name}.log")),
            _process: process,
        }
    }

    /// What it hears.
    pub fn ear(&self) -> &Ear {
        &self.ear
    }

    /// The port of the first description that it has sent or got, for its sound: its own, when it has called.
    pub fn port(&self) -> u16 {
        self.described(0)
    }

    /// The port of the second one: the other end's, when it has called.
    pub fn remote_port(&self) -> u16 {
        self.described(1)
    }

    fn described(&self, number: usize) -> u16 {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let mut lines = log.lines().filter_map(|line| line.strip_prefix("m=audio "));
        let port = lines.nth(number).and_then(|line| line.split(' ').next()?.parse().ok());
        port.unwrap_or_else(|| panic!("{} has called nobody", self.name))
    }

    /// Waits until it sees a whole picture of somebody else's; returns the file it is in (PNG).
    pub fn sees(&mut self) -> PathBuf {
        self.command("snapshot", "");
        let folder = self.folder.clone();
        let is_it = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // A PNG is whole when its last part is there.
            let whole = || fs::read(path).is_ok_and(|png| png.ends_with(b"IEND\xaeB`\x82"));
            name.starts_with("snapshot-recv") && whole()
        };
        let seen = poll(Deadline::step(), || {
            let files = fs::read_dir(&folder).ok()?.flatten().map(|file| file.path());
            files.into_iter().find(is_it)
        });
        seen.unwrap_or_else(|| panic!("{} sees nobody", self.name))
    }

    /// Calls this address and waits until it is answered.
    pub fn dial(&mut self, uri: &str) {
        self.command("dial", uri);
        let answer = self.wait_any(&["CALL_ESTABLISHED", "CALL_CLOSED"]);
        assert_eq!(answer["type"], "CALL_ESTABLISHED", "{}: {answer}", self.name);
    }

    /// Sends a command; what comes of it is an event.
    pub fn command(&mut self, command: &str, params: &str) {
        let body = json!({ "command": command, "params": params, "token": command }).to_string();
        let sent = self.control.write_all(format!("{}:{body},", body.len()).as_bytes());
        sent.unwrap_or_else(|error| panic!("{} takes no command: {error}", self.name));
    }

    /// Waits for an event of this type (`REGISTER_OK`, `CALL_ESTABLISHED`); others stay there for later waits.
    pub fn wait(&mut self, kind: &str) -> Value {
        self.wait_any(&[kind])
    }

    /// As [`Baresip::wait`], for an event of any of these types.
    pub fn wait_any(&mut self, kinds: &[&str]) -> Value {
        let deadline = Deadline::step();
        let wanted = |event: &Value| event["type"].as_str().is_some_and(|kind| kinds.contains(&kind));
        if let Some(index) = self.unread.iter().position(wanted) {
            return self.unread.remove(index);
        }
        loop {
            let Some(event) = self.next(deadline) else {
                let from = self.all.len().saturating_sub(SHOWN_EVENTS);
                let last: Vec<String> = self.all[from..].iter().map(Value::to_string).collect();
                panic!("{}: no {kinds:?} in time; its last events:\n{}", self.name, last.join("\n"));
            };
            self.all.push(event.clone());
            if wanted(&event) {
                return event;
            }
            self.unread.push(event);
        }
    }

    fn next(&mut self, deadline: Deadline) -> Option<Value> {
        loop {
            if let Some(frame) = take_netstring(&mut self.received) {
                return Some(serde_json::from_slice(&frame).expect("ctrl_tcp writes JSON"));
            }
            self.control.set_read_timeout(Some(deadline.left()?)).expect("a socket takes a timeout");
            let mut chunk = [0; 4096];
            match self.control.read(&mut chunk) {
                Ok(0) => panic!("{} closed its control connection", self.name),
                Ok(length) => self.received.extend_from_slice(&chunk[..length]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{} broke its control connection: {error}", self.name),
            }
        }
    }
}

/// Takes the first whole netstring (`5:hello,`) out of the buffer.
fn take_netstring(buffer: &mut Vec<u8>) -> Option<Vec<u8>> {
    let colon = buffer.iter().position(|byte| *byte == b':')?;
    let length = std::str::from_utf8(&buffer[..colon]).ok().and_then(|digits| digits.parse::<usize>().ok());
    let length = length.filter(|length| *length <= LONGEST_FRAME).expect("ctrl_tcp writes netstrings");
    let end = colon + 1 + length;
    if buffer.len() <= end {
        return None;
    }
    let frame = buffer[colon + 1..end].to_vec();
    buffer.drain(..=end); // with the comma
    Some(frame)
}

/// What an account is told of its calls.
fn parameters(voice: &Voice) -> String {
    let mut parameters = format!("answermode=auto;audio_codecs={};dtmfmode=rtpevent", voice.codecs);
    parameters.push_str(match voice.encryption {
        Encryption::None => "",
        Encryption::Optional => ";mediaenc=srtp",
        Encryption::Required => ";mediaenc=srtp-mand",
    });
    match voice.turn {
        Some((server, user, password)) => parameters.push_str(&format!(
            ";medianat=turn;stunserver=\"turn:{server}\";stunuser={user};stunpass={password}"
        )),
        None if voice.ice => parameters.push_str(";medianat=ice"),
        None => {}
    }
    parameters
}

/// File audio, one address only. `net_interface` wants an address; without it the SDP names another one. What it hears is
/// recorded as it is decoded, in a file for each call.
fn config(voice: &Voice, listen: &str, control: SocketAddr, folder: &str) -> String {
    let mut modules = vec!["g711", "g722", "opus", "aufile", "sndfile", "srtp", "stun", "turn", "ice"];
    let mut picture = "";
    if voice.picture {
        modules.extend(["vp8", "fakevideo", "snapshot"]);
        picture =
            "video_source fakevideo,nil\nvideo_display fakevideo,nil\nvideo_size 320x240\nvideo_fps 10\n";
    }
    let modules: String = modules.iter().map(|module| format!("module {module}.so\n")).collect();
    let rate = sound::RATE;
    format!(
        "sip_listen {listen}\n\
         net_interface {}\n\
         ctrl_tcp_listen {control}\n\
         audio_source aufile,{folder}/says.wav\n\
         audio_player aufile,{folder}/heard.wav\n\
         audio_alert aufile,/dev/null\n\
         ausrc_srate {rate}\n\
         ausrc_channels 1\n\
         auplay_srate {rate}\n\
         auplay_channels 1\n\
         {picture}\
         module_path /usr/lib/baresip/modules\n\
         {modules}\
         module_tmp account.so\n\
         module_app menu.so\n\
         module_app ctrl_tcp.so\n\
         snd_path {folder}\n",
        voice.address
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netstrings_are_taken_whole() {
        let mut buffer = b"5:hello,2:o".to_vec();
        assert_eq!(take_netstring(&mut buffer), Some(b"hello".to_vec()));
        assert_eq!(take_netstring(&mut buffer), None);
        buffer.extend_from_slice(b"k,");
        assert_eq!(take_netstring(&mut buffer), Some(b"ok".to_vec()));
        assert!(buffer.is_empty());
    }
}
