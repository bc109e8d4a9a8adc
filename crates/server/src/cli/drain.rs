//! `confab drain`: a conferencing server takes no more conferences, so that it can be stopped when
//! the last one is over.

use std::time::Duration;

use anyhow::Context;
use hyper::Method;

use super::Place;
use crate::admin;

/// How often the server is asked what is left.
const PERIOD: Duration = Duration::from_secs(1);

/// Which server, and whether to wait.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Where the conferencing server runs.
    #[command(flatten)]
    place: Place,
    /// Do not wait for the last conference to end.
    #[arg(long)]
    no_wait: bool,
}

/// Drains, and says how many conferences are left until none is.
///
/// # Errors
/// If no conferencing server runs there.
pub async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let data = arguments.place.config()?.data;
    let mut left = count(&admin::ask(&data, Method::POST, "/drain").await?)?;
    println!("This conferencing server takes no more conferences until it is started again.");
    while left > 0 {
        println!("{left} {} not over yet.", if left == 1 { "conference is" } else { "conferences are" });
        if arguments.no_wait {
            return Ok(());
        }
        let before = left;
        while left == before {
            tokio::time::sleep(PERIOD).await;
            left = count(&admin::ask(&data, Method::GET, "/drain").await?)?;
        }
    }
    println!("No conference is left; the server can be stopped.");
    Ok(())
}

fn count(text: &str) -> anyhow::Result<usize> {
    text.trim().parse().with_context(|| format!("the server answers `{}`, which is no number", text.trim()))
}
