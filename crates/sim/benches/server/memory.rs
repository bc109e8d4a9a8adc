//! Memory: what a server process holds more for each connection and each participant. The server is
//! a process of its own here, and the people are sockets on this machine.

use std::{
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpStream, time::sleep};

use crate::{
    bed::Bed,
    participant::{Participant, Told},
    report::{line, resident},
};

/// The word that makes this program such a server.
pub const SERVE: &str = "--serve";
/// Connections that are opened and say one thing.
const CONNECTIONS: [usize; 2] = [1000, 5000];
/// People who join one conference.
const PEOPLE: [usize; 2] = [250, 1000];
/// The server has done what there was to do by then.
const CALM: Duration = Duration::from_millis(1500);

/// The server: says where it listens and lives until its input ends.
pub async fn serve() {
    let bed = Bed::on_loopback().await;
    println!("{}", bed.server.bound[0].address);
    let until_told = || std::io::stdin().read_to_end(&mut Vec::new());
    let _ = tokio::task::spawn_blocking(until_told).await;
}

/// A server in a process of its own. It ends with this.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start() -> Process {
        let program = std::env::current_exe().expect("this program has a path");
        let mut command = Command::new(program);
        let mut child = command
            .arg(SERVE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let mut address = String::new();
        let output = child.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut address).expect("the server says where it listens");
        Process { child, address: address.trim().parse().expect("it is an address") }
    }

    async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.expect("the server takes many connections");
        stream.set_nodelay(true).expect("it is a socket");
        stream
    }

    /// The memory it holds when there is nothing to do.
    async fn resident(&self) -> usize {
        sleep(CALM).await;
        resident(self.child.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Measures both.
pub async fn measure() {
    let told = Arc::new(Told::default());
    let server = Process::start();
    let empty = server.resident().await;
    line("memory of a server to which nobody has come", &format!("{:>8.1} MB", empty as f64 / 1e6));
    let mut people = Vec::new();
    for count in CONNECTIONS {
        while people.len() < count {
            let name = format!("person{}", people.len());
            let mut person = Participant::new(&name, server.connect().await, &told);
            person.greet().await;
            people.push(person);
        }
        let each = server.resident().await.saturating_sub(empty) / count;
        line(&format!("memory of each of {count} idle connections"), &kilobytes(each));
    }
    drop((people, server));
    let server = Process::start();
    let empty = server.resident().await;
    let mut organizer = Participant::new("ann", server.connect().await, &Arc::default());
    let conference = organizer.schedule("0123456789ABCDEF").await;
    let mut people = Vec::new();
    for count in PEOPLE {
        while people.len() < count {
            let name = format!("person{}", people.len());
            let mut person = Participant::new(&name, server.connect().await, &told);
            person.enter(&conference).await;
            people.push(person);
        }
        let each = server.resident().await.saturating_sub(empty) / count;
        line(&format!("memory of each of {count} participants with connection"), &kilobytes(each));
    }
}

fn kilobytes(bytes: usize) -> String {
    format!("{:>8.1} kB", bytes as f64 / 1e3)
}
