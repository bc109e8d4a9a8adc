//! `confab`: the one binary.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use confab_server::cli;

/// A conferencing server for organisations with telephones and browsers, after Office
/// Communications Server 2007 R2.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve(cli::Place),
    /// Show a conference on this machine: a server on loopback, demo people, two robots that chat.
    Try(cli::try_out::Arguments),
    /// Check the configuration.
    Check {
        #[command(flatten)]
        place: cli::Place,
        /// Print the effective configuration with a comment for each setting.
        #[arg(long)]
        print: bool,
    },
    /// Add, list and remove the people who may sign in.
    #[command(subcommand)]
    User(cli::user::Command),
    /// List, show and end conferences.
    #[command(subcommand)]
    Conference(cli::conference::Command),
    /// Print what the parts of a conference said to each other.
    Flow {
        #[command(flatten)]
        place: cli::Place,
        /// The conference's ID, or its beginning.
        id: String,
        /// Save instead what its Focus heard of late, as a file that can be replayed; personal data
        /// become placeholders.
        #[arg(long, value_name = "FILE")]
        save: Option<std::path::PathBuf>,
    },
    /// Print what a running server has done, in the text form of Prometheus.
    Metrics(cli::Place),
    /// Issue a certificate for the role that another machine shall play.
    Cert(cli::cert::Arguments),
    /// Have a conferencing server take no more conferences, and wait for the last to end.
    Drain(cli::drain::Arguments),
    /// Put load on a SIP conference server, this one or another, and judge its sound (`confab load --help`).
    #[command(disable_help_flag = true)]
    Load(cli::load::Arguments),
    /// Join a conference from this terminal, or create one, and chat.
    Call(cli::call::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    cli::log_to_stderr();
    let done = match arguments.command {
        Command::Serve(place) => cli::serve(&place).await,
        Command::Try(arguments) => cli::try_out::run(&arguments).await,
        Command::Check { place, print } => cli::check(&place, print),
        Command::User(command) => cli::user::run(&command).await,
        Command::Conference(command) => cli::conference::run(&command).await,
        Command::Flow { place, id, save } => cli::flow(&place, &id, save.as_ref()).await,
        Command::Metrics(place) => cli::metrics(&place).await,
        Command::Cert(arguments) => cli::cert::run(&arguments),
        Command::Drain(arguments) => cli::drain::run(&arguments).await,
        Command::Load(arguments) => cli::load::run(&arguments),
        Command::Call(arguments) => cli::call::run(&arguments).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("confab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
