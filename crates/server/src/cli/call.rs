//! `confab call URI`: our own client in a terminal. It finds the server by DNS or a given address,
//! creates or joins a conference, and chats line by line.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use confab_client::{
    Command, Ending, InvitationAnswer, NewConference, Observation, Outcome, Participant, Refusal,
    RosterChange, Secret, Undertaking,
};
use confab_schema::{
    conference_info::{AdmissionPolicy, Role},
    uri::{ConferenceUri, McuType, UserUri},
};
use confab_sip::Transport;
use tokio::sync::mpsc;

use super::user::read_password;
use crate::{
    client_host::{RunningClient, ServerAddress, anonymous_address},
    clock::Clock,
    config::Listen,
    discovery::{self, Candidate},
    front_end::ANONYMOUS_DOMAIN,
    sip_transport,
};

/// How long signing in or creating may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the program waits at its end for the server to have heard everything.
const GOODBYE: Duration = Duration::from_secs(5);
/// Lines that may be typed before they are dealt with.
const TYPED_AHEAD: usize = 64;

/// What to call, and as whom.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// The conference's SIP URI; without one a new conference is created.
    conference: Option<String>,
    /// Your address, like ann@example.com.
    #[arg(long, value_name = "ADDRESS", required_unless_present = "anonymous")]
    user: Option<String>,
    /// Join without signing in. The conference's key stands in its URI (?conf-key=...), or is the first
    /// line of the password file.
    #[arg(long, conflicts_with = "user", requires = "conference")]
    anonymous: bool,
    /// Open a new conference to people who have not signed in; its key is printed.
    #[arg(long, conflicts_with = "conference")]
    admit_anonymous: bool,
    /// What others see; your address otherwise.
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// A file whose first line is your password. Without it none is used.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The server, like tcp:192.0.2.1:5060; without it the DNS is asked.
    #[arg(long, value_name = "SERVER")]
    server: Option<Listen>,
    /// A PEM file with the certificates to trust for TLS.
    #[arg(long, value_name = "FILE")]
    trust: Option<PathBuf>,
    /// The subject of a new conference.
    #[arg(long, default_value = "Conference")]
    subject: String,
    /// Somebody to invite to the conference; may be given several times.
    #[arg(long, value_name = "ADDRESS")]
    invite: Vec<String>,
}

/// Calls, and chats until the input ends or the conference does.
///
/// # Errors
/// Sentences about addresses, the server, or what it refused.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let caller = caller(arguments)?;
    let invitees = arguments.invite.iter().map(|name| address(name)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut client = connect(arguments, &caller).await?;
    if !arguments.anonymous {
        client.command(Command::Register).await?;
        let registered = |seen| matches!(seen, Observation::Registered { .. }).then_some(());
        until(&mut client, "signing in", registered).await?;
    }
    let conference = match &arguments.conference {
        Some(uri) => conference_uri(uri)?,
        None => create(&mut client, arguments, &invitees).await?,
    };
    client.command(Command::Join { conference: conference.clone() }).await?;
    let joined = |seen| match seen {
        Observation::Joined { role, .. } => Some(role),
        _ => None,
    };
    let role = until(&mut client, "joining", joined).await?;
    println!("* You are in {conference} as {}.", role.as_str());
    println!(
        "* Type to chat. /invite ADDRESS /lock /unlock /promote ADDRESS /demote ADDRESS /eject ADDRESS /mute ADDRESS /unmute ADDRESS /admit ADDRESS \
         /deny ADDRESS /end /leave"
    );
    for user in invitees {
        client.command(Command::Invite { user }).await?;
    }
    chat(&mut client).await?;
    sign_off(&mut client, arguments.anonymous).await
}

/// Has a conference scheduled.
async fn create(
    client: &mut RunningClient,
    arguments: &Arguments,
    invitees: &[UserUri],
) -> anyhow::Result<ConferenceUri> {
    let admission = if arguments.admit_anonymous {
        AdmissionPolicy::Anonymous
    } else {
        AdmissionPolicy::OpenAuthenticated
    };
    let wanted = NewConference {
        subject: arguments.subject.clone(),
        invitees: invitees.iter().map(|user| (user.clone(), Role::Attendee)).collect(),
        media: vec![McuType::Chat],
        admission,
        expires: None,
    };
    client.command(Command::Create(wanted)).await?;
    let created = |seen| match seen {
        Observation::Created { conference } => Some(conference),
        _ => None,
    };
    let conference = until(client, "creating the conference", created).await?;
    if arguments.admit_anonymous {
        client.command(Command::GetConference { conference: conference.clone() }).await?;
        let read = |seen| match seen {
            Observation::Conference(summary) => summary.key,
            _ => None,
        };
        let key = until(client, "reading the conference's key", read).await?;
        println!("* Its key, for people who do not sign in: {}", key.reveal());
    }
    Ok(conference)
}

/// Between the keyboard and the conference. What was typed before the input ended is done before
/// the conference is left.
async fn chat(client: &mut RunningClient) -> anyhow::Result<()> {
    let mut lines = typed_lines();
    let (mut typing, mut leaving, mut unanswered) = (true, false, 0_usize);
    let mut names = Names::default();
    loop {
        if !typing && !leaving && unanswered == 0 {
            leaving = true;
            client.command(Command::Leave).await?;
        }
        tokio::select! {
            line = lines.recv(), if typing => match line {
                Some(line) => match command(line.trim()) {
                    Ok(Some(wanted)) => {
                        leaving = matches!(wanted, Command::Leave);
                        typing = !leaving;
                        unanswered += usize::from(is_answered(&wanted));
                        client.command(wanted).await?;
                    }
                    Ok(None) => {}
                    Err(error) => println!("* {error}"),
                },
                None => typing = false,
            },
            seen = client.observe() => match seen {
                Some(Observation::Ended { reason, .. }) => {
                    println!("* {}", ending(reason));
                    return Ok(());
                }
                Some(seen) => {
                    let answer = matches!(seen, Observation::CommandDone { .. });
                    unanswered = unanswered.saturating_sub(usize::from(answer));
                    show(&seen, &mut names);
                }
                None => return Ok(()),
            },
        }
    }
}

/// Whether the Focus says how a command ended.
fn is_answered(command: &Command) -> bool {
    matches!(
        command,
        Command::Lock { .. }
            | Command::Promote { .. }
            | Command::Demote { .. }
            | Command::Eject { .. }
            | Command::Mute { .. }
            | Command::SetLobbyAccess { .. }
            | Command::End
    )
}

/// Signs off. Its answer comes after everything that was sent before has been heard, so the program
/// does not end with a BYE in its hands; a server that is gone is not waited for long. Who has not
/// signed in asks something else, and is refused it.
async fn sign_off(client: &mut RunningClient, anonymous: bool) -> anyhow::Result<()> {
    let last = if anonymous { Command::GetCapabilities } else { Command::Unregister };
    if client.command(last).await.is_ok() {
        let answers = |seen: &Observation| {
            matches!(
                seen,
                Observation::SignedOff { .. }
                    | Observation::Refused { what: Undertaking::GetCapabilities, .. }
            )
        };
        let off = |seen: Observation| answers(&seen).then_some(());
        let _nobody_there = client.wait(GOODBYE, "signing off", off).await;
    }
    Ok(())
}

/// The lines of standard input, read by a thread of its own: one that waits for a line must not keep
/// the program from ending.
fn typed_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(TYPED_AHEAD);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

/// What a typed line asks for; `None` for an empty one.
fn command(line: &str) -> anyhow::Result<Option<Command>> {
    let Some(typed) = line.strip_prefix('/') else {
        return Ok((!line.is_empty()).then(|| Command::Say { text: line.into() }));
    };
    let (word, rest) = typed.split_once(' ').unwrap_or((typed, ""));
    Ok(Some(match word {
        "invite" => Command::Invite { user: address(rest)? },
        "lock" => Command::Lock { locked: true },
        "unlock" => Command::Lock { locked: false },
        "promote" => Command::Promote { user: address(rest)? },
        "demote" => Command::Demote { user: address(rest)? },
        "eject" => Command::Eject { user: address(rest)? },
        "mute" => Command::Mute { user: address(rest)?, muted: true },
        "unmute" => Command::Mute { user: address(rest)?, muted: false },
        "admit" => Command::SetLobbyAccess { user: address(rest)?, granted: true },
        "deny" => Command::SetLobbyAccess { user: address(rest)?, granted: false },
        "end" => Command::End,
        "leave" => Command::Leave,
        other => bail!("there is no command /{other}"),
    }))
}

/// What people are called whose addresses say nothing.
type Names = BTreeMap<UserUri, String>;

/// That somebody of the roster is here, or waits.
fn introduce(person: &Participant, names: &mut Names) -> String {
    let who = name_of(person, names);
    if person.waits() {
        return format!("{who} waits in the lobby.");
    }
    format!("{who} is here as {}.", person.role.as_str())
}

/// Somebody of the roster: by his address, which commands name him by.
fn name_of(person: &Participant, names: &mut Names) -> String {
    let address = person.user.address();
    match person.display_name.clone().filter(|_| person.user.domain() == ANONYMOUS_DOMAIN) {
        None => address.to_owned(),
        Some(name) => {
            let both = format!("{name} ({address})");
            names.insert(person.user.clone(), name);
            both
        }
    }
}

fn show(seen: &Observation, names: &mut Names) {
    let name =
        |names: &Names, user: &UserUri| names.get(user).cloned().unwrap_or_else(|| user.address().to_owned());
    match seen {
        Observation::MessageReceived { from, text, .. } => {
            println!("{}: {text}", from.as_ref().map_or_else(|| "somebody".into(), |user| name(names, user)));
        }
        Observation::MessageUndelivered { recipients, .. } => {
            let recipients: Vec<&str> = recipients.iter().map(|(who, _)| who.as_str()).collect();
            println!("* Your message did not reach {}.", recipients.join(", "));
        }
        Observation::Roster { changes, .. } => changes.iter().for_each(|change| match change {
            RosterChange::Snapshot(roster) => {
                for person in roster.participants() {
                    println!("* {}", introduce(person, names));
                }
                if let Some(people) = roster.head_count() {
                    println!("* {people} people are here.");
                }
            }
            RosterChange::Count { people } => println!("* {people} people are here."),
            RosterChange::Changed(person) => {
                println!("* {}", introduce(person, names));
            }
            RosterChange::Left { user } => println!("* {} has left.", name(names, user)),
            RosterChange::Locked { locked: true } => println!("* The conference is locked."),
            RosterChange::Locked { locked: false } => println!("* The conference is open."),
            RosterChange::Subject { subject } => println!("* The subject is: {subject}"),
        }),
        Observation::Refused { refusal, .. }
        | Observation::CommandDone { outcome: Outcome::Refused(refusal), .. }
        | Observation::InvitationAnswered { answer: InvitationAnswer::Failed(refusal), .. } => {
            println!("* {}", refusal.sentence);
        }
        Observation::InvitationAnswered { user, answer: InvitationAnswer::Declined } => {
            println!("* {} declined.", name(names, user));
        }
        _ => {}
    }
}

fn ending(reason: Ending) -> &'static str {
    match reason {
        Ending::Ejected => "A leader removed you from the conference.",
        Ending::ConferenceEnded => "The conference was ended.",
        Ending::Left => "You have left the conference.",
        Ending::Lost => "The connection to the conference was lost.",
    }
}

/// Waits for `wanted`; what the server refuses meanwhile ends the wait with its sentence.
async fn until<T>(
    client: &mut RunningClient,
    what: &str,
    mut wanted: impl FnMut(Observation) -> Option<T>,
) -> anyhow::Result<T> {
    let found = client
        .wait(PATIENCE, what, |seen| match seen {
            Observation::Refused { refusal, .. } => Some(Err(refusal)),
            seen => wanted(seen).map(Ok),
        })
        .await?;
    found.map_err(|Refusal { status, sentence, .. }| {
        anyhow::anyhow!("{what} was refused ({status}): {sentence}")
    })
}

/// Who calls, and whose server.
struct Calling {
    user: UserUri,
    display_name: String,
    password: Option<Secret>,
    domain: String,
}

/// Somebody with an address, or somebody who only knows a conference's key.
fn caller(arguments: &Arguments) -> anyhow::Result<Calling> {
    let password = match &arguments.password_file {
        Some(file) => Some(Secret::from(read_password(Some(file))?)),
        None => None,
    };
    let display_name = arguments.display_name.clone();
    if let Some(user) = &arguments.user {
        let user = address(user)?;
        let display_name = display_name.unwrap_or_else(|| user.user().to_owned());
        return Ok(Calling { domain: user.domain().to_owned(), user, display_name, password });
    }
    let typed = arguments.conference.as_deref().context("name the conference to join")?;
    let password = conference_key(typed).map(Secret::from).or(password);
    let domain = conference_uri(typed)?.organizer.domain().to_owned();
    let display_name = display_name.unwrap_or_default();
    Ok(Calling { user: anonymous_address(), display_name, password, domain })
}

async fn connect(arguments: &Arguments, caller: &Calling) -> anyhow::Result<RunningClient> {
    let Calling { user, display_name, password, domain } = caller;
    let candidates = match arguments.server {
        Some(server) => vec![discovery::configured(server, domain)],
        None => discovery::discover(domain).await?,
    };
    let clock = Clock::start();
    let mut last = None;
    for candidate in candidates {
        let server = server_address(candidate, arguments)?;
        match RunningClient::start(user.clone(), display_name.clone(), password.clone(), &server, clock).await
        {
            Ok(client) => return Ok(client),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("there is no server to try")?)
}

fn server_address(candidate: Candidate, arguments: &Arguments) -> anyhow::Result<ServerAddress> {
    let Candidate { transport, address, host } = candidate;
    let tls = match (transport, &arguments.trust) {
        (Transport::Tls, Some(trust)) => Some((host, sip_transport::connector_for(trust)?)),
        (Transport::Tls, None) => bail!("the server speaks TLS; name the certificates to trust with --trust"),
        _ => None,
    };
    Ok(ServerAddress { transport, address, tls })
}

fn address(text: &str) -> anyhow::Result<UserUri> {
    let uri = if text.starts_with("sip:") { text.to_owned() } else { format!("sip:{text}") };
    UserUri::parse(&uri).with_context(|| format!("{text} is no address; write it like ann@example.com"))
}

/// A conference's URI, also in the forms that join links give it.
fn conference_uri(text: &str) -> anyhow::Result<ConferenceUri> {
    let uri = text.trim_start_matches("meet:").trim_start_matches("conf:");
    let uri = uri.split('?').next().unwrap_or_default();
    ConferenceUri::parse(uri).with_context(|| {
        format!(
            "{text} is no conference; its URI looks like sip:ann@example.com;gruu;opaque=app:conf:focus:id:…"
        )
    })
}

/// The key in a conference's URI, as join links have it.
fn conference_key(text: &str) -> Option<&str> {
    let (_, headers) = text.split_once('?')?;
    headers.split('&').find_map(|header| header.strip_prefix("conf-key="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_text_or_commands() {
        assert_eq!(command("").unwrap(), None);
        assert_eq!(command("hello").unwrap(), Some(Command::Say { text: "hello".into() }));
        assert_eq!(command("/lock").unwrap(), Some(Command::Lock { locked: true }));
        let amy = UserUri::parse("sip:amy@example.test").unwrap();
        assert_eq!(command("/eject amy@example.test").unwrap(), Some(Command::Eject { user: amy }));
        for (line, granted) in [("/admit eve@example.test", true), ("/deny eve@example.test", false)] {
            let user = UserUri::parse("sip:eve@example.test").unwrap();
            assert_eq!(command(line).unwrap(), Some(Command::SetLobbyAccess { user, granted }));
        }
        assert!(command("/dance").is_err());
        assert!(command("/eject nobody").is_err());
        let muted = |line: &str| matches!(command(line), Ok(Some(Command::Mute { muted: true, .. })));
        assert!(muted("/mute bob@example.test") && !muted("/unmute bob@example.test"));
    }

    #[test]
    fn conferences_come_with_and_without_a_prefix() {
        let uri = "sip:ann@example.test;gruu;opaque=app:conf:focus:id:ABCD1234";
        for text in [uri.to_owned(), format!("meet:{uri}?conf-key=1"), format!("conf:{uri}")] {
            assert_eq!(conference_uri(&text).unwrap().to_string(), uri);
        }
        assert_eq!(conference_key(&format!("meet:{uri}?a=b&conf-key=crayon")), Some("crayon"));
        assert_eq!(conference_key(uri), None);
        assert!(conference_uri("sip:ann@example.test").is_err());
    }
}
