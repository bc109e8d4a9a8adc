//! `confab conference …`: asks the running server.

use hyper::Method;

use super::{Place, conference_id};
use crate::admin;

/// What to do with conferences.
#[derive(clap::Subcommand)]
pub enum Command {
    /// List the scheduled conferences and who is in them.
    List {
        /// Where the server runs.
        #[command(flatten)]
        place: Place,
    },
    /// Show one conference.
    Show {
        /// Where the server runs.
        #[command(flatten)]
        place: Place,
        /// The conference's ID, or its beginning.
        id: String,
    },
    /// End the meeting of one conference for everybody; its record stays.
    End {
        /// Where the server runs.
        #[command(flatten)]
        place: Place,
        /// The conference's ID, or its beginning.
        id: String,
    },
}

/// Runs the command.
///
/// # Errors
/// If no server runs, or what it refuses with.
pub async fn run(command: &Command) -> anyhow::Result<()> {
    let (place, method, path) = match command {
        Command::List { place } => (place, Method::GET, "/conferences".to_owned()),
        Command::Show { place, id } => (place, Method::GET, format!("/conferences/{}", conference_id(id)?)),
        Command::End { place, id } => {
            (place, Method::POST, format!("/conferences/{}/end", conference_id(id)?))
        }
    };
    print!("{}", admin::ask(&place.config()?.data, method, &path).await?);
    Ok(())
}
