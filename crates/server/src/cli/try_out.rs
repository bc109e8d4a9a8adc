//! `confab try`: a server on loopback with demo people, a conference that our own client creates,
//! two robots that join and chat, and the eight steps printed as they happen. Then it stays up.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context;
use confab_client::{Command, NewConference, Observation, RosterChange, Secret};
use confab_machine::{FlowRecord, Time};
use confab_schema::{
    conference_info::{AdmissionPolicy, Role},
    uri::{ConferenceUri, McuType, UserUri},
};
use confab_sip::Transport;
use confab_users::account::Account;
use tokio::sync::{broadcast, oneshot};

use super::{Stop, start};
use crate::{
    client_host::{RunningClient, ServerAddress},
    clock,
    config::{AuthScheme, Config, Listen, ListenTransport},
    data::Data,
    flow_log,
    roles::Server,
};

/// The people of the demo: names before the @, and what others see. The first organizes, the last
/// is for whoever tries.
const PEOPLE: [(&str, &str); 4] = [("vivian", "Vivian"), ("amy", "Amy"), ("hao", "Hao"), ("guest", "Guest")];
/// The demo's SIP domain, which no DNS knows.
const DOMAIN: &str = "confab.test";
/// How long any step of the demo may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What can be chosen.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Stop after the demonstration instead of staying up.
    #[arg(long)]
    once: bool,
    /// The port for SIP over UDP and TCP; TLS gets the next one. If either is not free, or with 0,
    /// any are taken.
    #[arg(long, default_value_t = 5060)]
    port: u16,
}

/// Runs the demonstration.
///
/// # Errors
/// A sentence that says which step did not happen.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let directory = tempfile::tempdir().context("a directory for the demo's data cannot be made")?;
    let config = config(arguments.port);
    let data = Data::for_server(directory.path(), &config.auth)?;
    let server = start(&config, &data).await?;
    let passwords = add_people(&data, &server).await?;
    println!("Confab runs on this machine only, for the people of {DOMAIN}.\n");

    let (over, curtain) = oneshot::channel();
    let printing = tokio::spawn(print_ladder(server.flows.live(), curtain));
    let (conference, staying) = demonstrate(&server, &passwords).await?;
    drop(over);
    println!("\n{} lines.", printing.await.context("the ladder could not be printed to its end")?);
    if arguments.once {
        return Ok(());
    }
    let stop = Stop::listen()?;
    println!(
        "The whole ladder again: confab flow {} --data {}",
        short(&conference),
        directory.path().display()
    );
    explain(&server, &conference, &passwords);
    for robot in staying {
        tokio::spawn(keep_company(robot));
    }
    stop.told().await
}

fn config(port: u16) -> Config {
    let mut config = Config { domain: DOMAIN.into(), auth: vec![AuthScheme::Digest], ..Config::default() };
    let free = |port: u16| {
        let address = (Ipv4Addr::LOCALHOST, port);
        std::net::TcpListener::bind(address).is_ok() && std::net::UdpSocket::bind(address).is_ok()
    };
    let next = port.checked_add(1).filter(|next| port > 0 && free(port) && free(*next));
    let (plain, tls) = next.map_or((0, 0), |next| (port, next));
    let listen =
        |transport, port| Listen { transport, address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)) };
    config.front_end.listen = vec![
        listen(ListenTransport::Udp, plain),
        listen(ListenTransport::Tcp, plain),
        listen(ListenTransport::Tls, tls),
    ];
    config
}

/// Makes the demo people's accounts, each with a password for this run.
async fn add_people(data: &Data, server: &Server) -> anyhow::Result<Vec<(UserUri, String)>> {
    let vault = data.vault()?;
    let mut entropy = clock::entropy();
    let mut passwords = Vec::new();
    for (name, display_name) in PEOPLE {
        let user = UserUri::parse(&format!("sip:{name}@{DOMAIN}"))?;
        let password = entropy.hex::<5>();
        let mut account = Account::new(user.clone(), display_name, server.clock.now())?;
        account.secrets = vault.seal_password(&user, &password);
        server.store.create_account(&account).await?;
        passwords.push((user, password));
    }
    Ok(passwords)
}

/// The demonstration proper. Hao leaves in it; Vivian and Amy, who are returned, stay.
async fn demonstrate(
    server: &Server,
    people: &[(UserUri, String)],
) -> anyhow::Result<(ConferenceUri, Vec<RunningClient>)> {
    let address = server
        .bound
        .iter()
        .find(|bound| bound.transport == Transport::Tcp)
        .map(|bound| ServerAddress { transport: Transport::Tcp, address: bound.address, tls: None })
        .context("the demo listens on TCP")?;
    let mut clients = Vec::new();
    for ((user, password), (_, display_name)) in people.iter().zip(PEOPLE).take(3) {
        let password = Some(Secret::from(password.as_str()));
        let mut client =
            RunningClient::start(user.clone(), display_name.into(), password, &address, server.clock).await?;
        client.command(Command::Register).await?;
        client
            .wait(PATIENCE, "signing in", |seen| matches!(seen, Observation::Registered { .. }).then_some(()))
            .await?;
        clients.push(client);
    }
    let [vivian, amy, hao] = clients.as_mut_slice() else { unreachable!("three were started") };

    let invitees = vec![(people[1].0.clone(), Role::Attendee), (people[2].0.clone(), Role::Attendee)];
    let wanted = NewConference {
        subject: "Shall we talk it through?".into(),
        invitees,
        media: vec![McuType::Chat],
        admission: AdmissionPolicy::OpenAuthenticated,
        expires: None,
    };
    vivian.command(Command::Create(wanted)).await?;
    let conference = vivian
        .wait(PATIENCE, "creating the conference", |seen| match seen {
            Observation::Created { conference } => Some(conference),
            _ => None,
        })
        .await?;
    join(vivian, &conference).await?;
    for (robot, (user, _)) in [&mut *amy, &mut *hao].into_iter().zip(&people[1..]) {
        join(robot, &conference).await?;
        vivian.wait(PATIENCE, "the roster", |seen| shows(&seen, user).then_some(())).await?;
    }
    say(vivian, "shall we talk it through?", &mut [amy, hao]).await?;
    say(amy, "yes, calling you both", &mut [vivian, hao]).await?;
    say(hao, "I am in", &mut [vivian, amy]).await?;
    hao.command(Command::Leave).await?;
    hao.wait(PATIENCE, "leaving", |seen| matches!(seen, Observation::Ended { .. }).then_some(())).await?;
    // Vivian sees him go before the curtain falls.
    vivian.wait(PATIENCE, "the roster", |seen| shows_gone(&seen, &people[2].0).then_some(())).await?;
    clients.truncate(2);
    Ok((conference, clients))
}

/// A robot that answers whoever joins and speaks.
async fn keep_company(mut robot: RunningClient) {
    while let Some(seen) = robot.observe().await {
        let Observation::MessageReceived { from: Some(from), .. } = seen else { continue };
        // Robots do not answer each other.
        let guest = PEOPLE.last().is_some_and(|(name, _)| from.user() == *name);
        let text = format!("I read you, {}.", from.user());
        if guest && robot.command(Command::Say { text }).await.is_err() {
            return;
        }
    }
}

async fn join(client: &mut RunningClient, conference: &ConferenceUri) -> anyhow::Result<()> {
    client.command(Command::Join { conference: conference.clone() }).await?;
    client.wait(PATIENCE, "joining", |seen| matches!(seen, Observation::ChatOpened).then_some(())).await
}

/// Whether a roster's change shows `user`.
fn shows(seen: &Observation, user: &UserUri) -> bool {
    let Observation::Roster { changes, .. } = seen else { return false };
    changes.iter().any(|change| match change {
        RosterChange::Snapshot(roster) => roster.participant(user).is_some(),
        RosterChange::Changed(person) => person.user == *user,
        _ => false,
    })
}

/// Whether a roster's change shows that `user` has left.
fn shows_gone(seen: &Observation, gone: &UserUri) -> bool {
    let Observation::Roster { changes, .. } = seen else { return false };
    changes.iter().any(|change| matches!(change, RosterChange::Left { user } if user == gone))
}

/// One speaks and the others hear it.
async fn say(speaker: &RunningClient, text: &str, hearers: &mut [&mut RunningClient]) -> anyhow::Result<()> {
    speaker.command(Command::Say { text: text.into() }).await?;
    for hearer in hearers {
        hearer
            .wait(PATIENCE, "a message", |seen| match seen {
                Observation::MessageReceived { text: heard, .. } if heard == text => Some(()),
                _ => None,
            })
            .await?;
    }
    Ok(())
}

/// Prints each record of the flow trace as it is made, to the last one before `curtain` falls;
/// returns how many.
async fn print_ladder(
    mut live: broadcast::Receiver<(String, FlowRecord)>,
    mut curtain: oneshot::Receiver<()>,
) -> usize {
    print!("{}", flow_log::ladder_heading());
    let mut start: Option<Time> = None;
    let mut number = 0;
    loop {
        let (_, record) = tokio::select! {
            biased;
            made = live.recv() => match made {
                Ok(made) => made,
                // A terminal that stands still has missed some.
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => return number,
            },
            _ = &mut curtain => return number,
        };
        number += 1;
        print!("{}", flow_log::ladder_line(number, *start.get_or_insert(record.at), &record));
    }
}

/// Says how to connect a SIP client of one's own.
fn explain(server: &Server, conference: &ConferenceUri, people: &[(UserUri, String)]) {
    println!("\nConnect a SIP client of your own (baresip, linphone, …):");
    for bound in &server.bound {
        println!("  server    {} {}", bound.transport, bound.address);
    }
    println!("  people    (authentication is Digest; the passwords are for this run)");
    for (user, password) in people {
        println!("    {:<28} {password}", user.address());
    }
    println!("\nOr join the conference from another terminal:");
    let tcp = server.bound.iter().find(|bound| bound.transport == Transport::Tcp);
    if let (Some(bound), Some((user, password))) = (tcp, people.last()) {
        let name = user.address();
        println!("  echo {password} > password");
        println!(
            "  confab call '{conference}' --user {name} --password-file password --server tcp:{}",
            bound.address
        );
    }
    println!("\nCtrl-C ends it and removes its data.");
}

/// Enough of a conference's ID to name it.
fn short(conference: &ConferenceUri) -> &str {
    &conference.id.as_str()[..8]
}
