//! A server on PostgreSQL, which goes away in the middle of a meeting and comes back.

use std::{fs, os::unix::fs::PermissionsExt as _, time::Duration};

use confab_client::{Command, NewConference, Observation, Refusal, Secret};
use confab_schema::{
    conference_info::AdmissionPolicy,
    uri::{ConferenceUri, McuType, UserUri},
};
use confab_server::{
    client_host::{RunningClient, ServerAddress},
    clock::Clock,
};
use confab_sip::Transport;

use crate::{
    calling::Caller,
    cluster::Cluster,
    program::{DOMAIN, Place, Server, confab},
};

/// Everybody's.
const PASSWORD: &str = "correct horse";
/// The name of the database.
const DATABASE: &str = "meetings";
/// How long an answer may take that waits for a database in vain.
const PATIENCE: Duration = Duration::from_secs(60);

/// A place whose configuration leads to a database of the cluster's.
fn place(cluster: &Cluster) -> Place {
    cluster.create(DATABASE);
    another_place(cluster)
}

/// Another one on the same database.
fn another_place(cluster: &Cluster) -> Place {
    let place = Place::with("");
    let url = place.write("url", &format!("{}\n", cluster.url(DATABASE)));
    fs::set_permissions(&url, fs::Permissions::from_mode(0o600)).unwrap();
    let listen = r#"["tcp:127.0.0.1:0"]"#;
    let configuration =
        format!("domain = \"{DOMAIN}\"\ndatabase_url_file = \"{url}\"\n[front_end]\nlisten = {listen}\n");
    place.write("confab.toml", &configuration);
    place.write("password", &format!("{PASSWORD}\n"));
    place
}

/// A client that has signed in and keeps its connection.
async fn sign_in(server: &Server, name: &str) -> RunningClient {
    let user = UserUri::parse(&format!("sip:{name}@{DOMAIN}")).unwrap();
    let (_, address) = server.at("tcp").split_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let address = ServerAddress { transport: Transport::Tcp, address: address.parse().unwrap(), tls: None };
    let password = Some(Secret::from(PASSWORD.to_owned()));
    let mut client =
        RunningClient::start(user, name.to_owned(), password, &address, Clock::start()).await.unwrap();
    client.command(Command::Register).await.unwrap();
    let registered = |seen| matches!(seen, Observation::Registered { .. }).then_some(());
    client.wait(PATIENCE, "signing in", registered).await.unwrap();
    client
}

async fn create(client: &mut RunningClient) -> Result<ConferenceUri, Refusal> {
    let new = NewConference {
        subject: "Dredging".to_owned(),
        invitees: Vec::new(),
        media: vec![McuType::Chat],
        admission: AdmissionPolicy::OpenAuthenticated,
        expires: None,
    };
    client.command(Command::Create(new)).await.unwrap();
    let answer = |seen| match seen {
        Observation::Created { conference } => Some(Ok(conference)),
        Observation::Refused { refusal, .. } => Some(Err(refusal)),
        _ => None,
    };
    client.wait(PATIENCE, "an answer", answer).await.unwrap()
}

async fn join(client: &mut RunningClient, conference: ConferenceUri) -> Result<(), Refusal> {
    client.command(Command::Join { conference }).await.unwrap();
    let answer = |seen| match seen {
        Observation::Joined { .. } => Some(Ok(())),
        Observation::Refused { refusal, .. } => Some(Err(refusal)),
        _ => None,
    };
    client.wait(PATIENCE, "an answer", answer).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meeting_outlives_its_database() {
    let Some(mut cluster) = Cluster::of("a_meeting_outlives_its_database") else { return };
    let place = place(&cluster);
    for name in ["ann", "bob", "cleo", "dan"] {
        place.add(name, PASSWORD);
    }
    assert_eq!(cluster.sql(DATABASE, "SELECT count(*) FROM confab.accounts"), "4");
    let server = place.serve();
    assert!(server.program.out.contains("records are in meetings of the PostgreSQL server at"));
    let (tcp, password) = (server.at("tcp"), place.file("password").display().to_string());
    let with_password = ["--password-file", password.as_str()];

    let mut ann = Caller::creates(&tcp, "ann", &with_password);
    let mut bob = Caller::creates(&tcp, "bob", &[&[ann.conference.as_str()], &with_password[..]].concat());
    bob.program.types("here I am");
    ann.program.says("bob@example.test: here I am");
    let mut dan = sign_in(&server, "dan").await;
    let asleep = create(&mut dan).await.unwrap();
    assert_eq!(cluster.sql(DATABASE, "SELECT count(*) FROM confab.conferences"), "2");

    for outage in [Cluster::kill, Cluster::stop] {
        outage(&mut cluster);
        // Who is in a meeting stays in it.
        ann.program.types("can you hear me?");
        bob.program.says("ann@example.test: can you hear me?");
        bob.program.types("as before");
        ann.program.says("bob@example.test: as before");
        // What would have to be kept is not done, and said so.
        ann.program.types("/lock");
        ann.program.says("The server refused the command: otherFailure.");
        // New meetings and sleeping ones are refused.
        for refusal in
            [create(&mut dan).await.unwrap_err(), join(&mut dan, asleep.clone()).await.unwrap_err()]
        {
            assert_eq!(refusal.status, 503, "{refusal:?}");
            assert!(refusal.sentence.contains("conferencing database does not answer"), "{refusal:?}");
        }
        // So is signing in.
        let call = ["call", "--user", "cleo@example.test", "--server", &tcp];
        let refused = confab(&[&call, &with_password[..]].concat(), "").refused();
        assert!(refused.contains("503") && refused.contains("user database does not answer"), "{refused}");
        assert!(place.confab(&["user", "list"], "").refused().contains("cannot be opened"));

        cluster.start();
        create(&mut dan).await.unwrap();
        ann.program.types("/lock");
        bob.program.says("The conference is locked.");
        ann.program.types("/unlock");
        bob.program.says("The conference is open.");
    }

    join(&mut dan, asleep).await.unwrap();
    Caller::creates(&tcp, "cleo", &with_password);
    assert_eq!(cluster.sql(DATABASE, "SELECT count(*) FROM confab.conferences"), "5");
    assert!(!place.data().join("confab.sqlite").exists(), "everything is in one place");
    ann.program.hangs_up();
    assert!(ann.program.ends().success);
    bob.program.says("ann@example.test has left.");
}

#[test]
fn a_database_that_is_away_at_the_start_is_named() {
    let Some(mut cluster) = Cluster::of("a_database_that_is_away_at_the_start_is_named") else { return };
    let place = place(&cluster);
    place.confab(&["check"], "").fine();
    cluster.stop();
    let configuration = fs::read_to_string(place.file("confab.toml")).unwrap();
    place.write("confab.toml", &format!("database_wait_seconds = 0\n{configuration}"));
    let refused = place.confab(&["serve"], "").refused();
    assert!(refused.contains("meetings of the PostgreSQL server at"), "{refused}");
    assert!(refused.contains("cannot be opened"), "{refused}");
}

#[test]
fn a_second_server_on_the_same_database_is_refused() {
    let Some(cluster) = Cluster::of("a_second_server_on_the_same_database_is_refused") else { return };
    let first = place(&cluster);
    let second = another_place(&cluster);
    let server = first.serve();
    let refused = second.confab(&["serve"], "").refused();
    assert!(refused.contains("another Confab server works on meetings of"), "{refused}");
    // Commands work beside it, and the next server when it is gone.
    second.confab(&["user", "list"], "").fine();
    drop(server);
    second.serve();
}

#[test]
fn a_server_that_starts_before_its_database_waits_for_it() {
    let Some(mut cluster) = Cluster::of("a_server_that_starts_before_its_database_waits_for_it") else {
        return;
    };
    let place = place(&cluster);
    place.add("ann", PASSWORD);
    cluster.stop();
    let mut server = place.begins_to_serve("info");
    server.warns("it is waited for, 60 s at most");
    assert!(server.err.contains("meetings of the PostgreSQL server at"), "{}", server.err);
    cluster.start();
    server.says("ready");
    server.is_told_to_stop();
    assert!(server.ends().success);

    // A mistake is no reason to wait.
    let url = cluster.url("nowhere");
    place.write("url", &format!("{url}\n"));
    let refused = place.confab(&["serve"], "").refused();
    assert!(refused.contains("does not exist") && !refused.contains("waited"), "{refused}");
}
