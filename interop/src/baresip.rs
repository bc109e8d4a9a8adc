//! baresip, a plain SIP phone, driven through its ctrl_tcp module (JSON in netstrings).

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use serde_json::{Value, json};

use crate::{Deadline, Process, Scratch, ports, tools};

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
    _process: Process,
}

impl Baresip {
    /// Starts a phone that registers.
    pub fn start(scratch: &Scratch, account: &Account) -> Baresip {
        let Account { user, password, transport, server } = account;
        let line = format!(
            "<sip:{user}@example.test;transport={transport}>;auth_user={user};auth_pass={password};\
             outbound=\"sip:{server};transport={transport}\";regint=3600"
        );
        // Port 0: each transport takes a free one, and the Contact names it.
        Baresip::with_account(scratch, user, "127.0.0.1:0", &line)
    }

    /// Starts a phone without a registrar that is called at this address.
    pub fn unregistered(scratch: &Scratch, user: &str, address: SocketAddr) -> Baresip {
        let line = format!("<sip:{user}@{address};transport=tcp>;regint=0");
        Baresip::with_account(scratch, user, &address.to_string(), &line)
    }

    fn with_account(scratch: &Scratch, name: &str, listen: &str, account: &str) -> Baresip {
        let folder = scratch.file(&format!("baresip-{name}"));
        let control = ports::free();
        fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let write = |file: &str, text: String| {
            fs::write(folder.join(file), text).expect("the temporary folder can be written");
        };
        let path = folder.to_str().expect("the temporary folder has a plain name");
        write("config", config(listen, control, path));
        write("accounts", String::new());
        write("contacts", String::new());
        let mut command = Command::new(tools::program("baresip").expect("the scenario has asked for it"));
        command.args(["-s", "-f", path]); // -s: every SIP message is in the log
        let process = Process::start(scratch, &format!("baresip-{name}"), command);
        ports::wait_until_open(control, Deadline::step());
        let control = TcpStream::connect(control).expect("ctrl_tcp listens");
        let mut phone = Baresip {
            name: name.to_owned(),
            control,
            received: Vec::new(),
            unread: Vec::new(),
            all: Vec::new(),
            _process: process,
        };
        // Only now, or the outcome of the registration could come before anybody listens.
        phone.command("uanew", &format!("{account};answermode=auto;audio_codecs=pcmu,pcma"));
        phone
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

/// File audio, loopback only. Two channels at 48 kHz are what `ausine` insists on: otherwise the audio does not start, and
/// then baresip 1.0.0 never sends its 200. `net_interface` wants an address; without it the SDP names another one.
fn config(listen: &str, control: SocketAddr, folder: &str) -> String {
    format!(
        "sip_listen {listen}\n\
         net_interface 127.0.0.1\n\
         ctrl_tcp_listen {control}\n\
         audio_source ausine,440\n\
         audio_player aufile,{folder}/heard.wav\n\
         audio_alert aufile,/dev/null\n\
         ausrc_srate 48000\n\
         ausrc_channels 2\n\
         auplay_srate 48000\n\
         auplay_channels 1\n\
         module_path /usr/lib/baresip/modules\n\
         module g711.so\n\
         module aufile.so\n\
         module ausine.so\n\
         module_tmp account.so\n\
         module_app menu.so\n\
         module_app ctrl_tcp.so\n\
         snd_path {folder}\n"
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
