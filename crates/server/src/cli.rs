//! The command line: what each subcommand does.

pub mod call;
pub mod cert;
pub mod conference;
pub mod drain;
pub mod load;
pub mod try_out;
pub mod user;

use std::{fs::File, io::Write as _, path::PathBuf, sync::Arc};

use anyhow::{Context, ensure};
use confab_store::PostgresClaim;
use hyper::Method;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::{
    admin::{self, Behind},
    clock::Clock,
    config::{self, Config},
    data::{self, Data},
    open_files,
    roles::{self, Resources, Server},
};

/// Where a command works.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Place {
    /// The configuration file; without one the defaults hold.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data directory, whatever the configuration says.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl Place {
    /// The configuration in effect.
    ///
    /// # Errors
    /// What [`Config::load`] says.
    pub fn config(&self) -> anyhow::Result<Config> {
        let mut config = Config::load(self.config.as_ref())?;
        if let Some(data) = &self.data {
            config.data.clone_from(data);
        }
        Ok(config)
    }
}

/// Sends the log to standard error; `CONFAB_LOG` chooses what (`info` by default).
pub fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("CONFAB_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // A second subscriber is refused, which only tests meet.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(fmt::layer().with_writer(std::io::stderr).with_target(false))
        .try_init();
}

/// `confab serve`
///
/// # Errors
/// Sentences about the configuration, the data directory or a listener.
pub async fn serve(place: &Place) -> anyhow::Result<()> {
    let config = place.config()?;
    let data = Data::for_server(&config.data, &config.auth)?;
    // Listened for before anybody can think us ready.
    let stop = Stop::listen()?;
    let connections = if config.own_mcu().is_some() { 0 } else { config.front_end.max_connections };
    let mixes = config.av_mcu.is_some() || config.own_mcu().is_none() && config.control.is_none();
    let ports = if mixes { config.media.port_count() } else { 0 };
    if let Some(sentence) = open_files::allow(connections, ports) {
        eprintln!("{sentence}");
    }
    if config.own_mcu().is_some() {
        return serve_mcu(&config, &data, stop).await;
    }
    let claim = data.claim(&config).await?;
    let server = start(&config, &data).await?;
    if config.auth.is_empty() {
        eprintln!(
            "\x1b[31mauth = []: nobody is challenged, everybody can be anybody. For tests only.\x1b[0m"
        );
    }
    println!("Confab serves {} with its data in {}.", config.domain, data.path().display());
    if let Some(database) = data::database(&config)? {
        println!("Accounts and conference records are in {database}.");
    }
    for bound in &server.bound {
        println!("SIP over {} on {}", bound.transport, bound.address);
    }
    if let Some(control) = &server.control {
        println!("Conferencing servers report to {control}");
    }
    println!("ready");
    tokio::select! {
        told = stop.told() => told,
        lost = kept(claim) => Err(lost),
    }
}

/// Returns only when another server has the database: two would split each meeting.
async fn kept(claim: Option<PostgresClaim>) -> anyhow::Error {
    match claim {
        Some(claim) => claim.keep().await.into(),
        None => std::future::pending().await,
    }
}

/// The conferencing server of a machine of its own.
async fn serve_mcu(config: &Config, data: &Data, stop: Stop) -> anyhow::Result<()> {
    let mcu = roles::start_mcu_server(config, data.path(), Clock::start()).await?;
    admin::serve(data.path(), Behind::Mcu(mcu.clone()))?;
    println!("{} runs here; its front end is {}.", mcu.name, mcu.factory);
    println!("Control link on {}", mcu.control_url);
    println!("SIP at {}", mcu.server_uri);
    println!("ready");
    stop.told().await
}

/// Starts the server of `config` on `data`, with its administrator's door.
pub(crate) async fn start(config: &Config, data: &Data) -> anyhow::Result<Arc<Server>> {
    let resources =
        Resources { store: data.store(config).await?, vault: data.vault()?, clock: Clock::start() };
    let server = Arc::new(roles::start(config, data.path(), resources).await?);
    admin::serve(data.path(), Behind::Server(Arc::clone(&server)))?;
    Ok(server)
}

/// What tells the process to stop: Ctrl-C or SIGTERM.
pub(crate) struct Stop {
    interrupt: Signal,
    terminate: Signal,
}

impl Stop {
    /// From now on neither ends the process by itself.
    pub(crate) fn listen() -> anyhow::Result<Stop> {
        let signal = |kind| signal(kind).context("signals cannot be listened for");
        Ok(Stop { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Returns when the process is told to stop.
    pub(crate) async fn told(mut self) -> anyhow::Result<()> {
        tokio::select! {
            _ = self.interrupt.recv() => Ok(()),
            _ = self.terminate.recv() => Ok(()),
        }
    }
}

/// What a person typed as a conference's ID, or as its beginning.
fn conference_id(typed: &str) -> anyhow::Result<&str> {
    let is_one = !typed.is_empty() && typed.chars().all(|c| c.is_ascii_alphanumeric());
    ensure!(
        is_one,
        "`{typed}` is no conference ID: those are letters and digits; `confab conference list` shows them"
    );
    Ok(typed)
}

/// `confab check`
///
/// # Errors
/// What is wrong with the configuration.
pub fn check(place: &Place, print: bool) -> anyhow::Result<()> {
    let config = place.config()?;
    if print {
        print!("{}", config::print(&config));
    } else {
        println!("The configuration is right.");
    }
    Ok(())
}

/// `confab metrics`
///
/// # Errors
/// If no server runs.
pub async fn metrics(place: &Place) -> anyhow::Result<()> {
    print!("{}", admin::ask(&place.config()?.data, Method::GET, "/metrics").await?);
    Ok(())
}

/// `confab flow`
///
/// # Errors
/// If no server runs, or it knows no such conference, or the file to save to exists.
pub async fn flow(place: &Place, id: &str, save: Option<&PathBuf>) -> anyhow::Result<()> {
    let id = conference_id(id)?;
    let ask = async |path: String| admin::ask(&place.config()?.data, Method::GET, &path).await;
    let Some(file) = save else {
        print!("{}", ask(format!("/flow/{id}")).await?);
        return Ok(());
    };
    let unwritable = || format!("{} cannot be written", file.display());
    let flow = ask(format!("/flow/{id}/saved")).await?;
    let mut created = File::create_new(file).with_context(unwritable)?;
    created.write_all(flow.as_bytes()).with_context(unwritable)?;
    println!("The flow is in {}. Names, phone numbers and secrets are placeholders.", file.display());
    Ok(())
}
