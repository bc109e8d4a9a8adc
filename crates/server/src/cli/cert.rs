//! `confab cert`: a certificate for the role that another machine shall play.

use std::path::PathBuf;

use super::Place;
use crate::{
    data::Data,
    private_ca::{PeerRole, PrivateCa},
};

/// Which role, and where to put the files.
#[derive(Clone, Debug, clap::Args)]
pub struct Arguments {
    /// Where the front end runs.
    #[command(flatten)]
    place: Place,
    /// What the other machine shall be.
    role: PeerRole,
    /// The directory for the certificate, its key and the authority's certificate.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// A name or address that the certificate is valid for besides, for programs other than Confab;
    /// may be given several times.
    #[arg(long, value_name = "HOST")]
    host: Vec<String>,
}

/// Issues the certificate, making the private authority at the first time.
///
/// # Errors
/// If the data directory or the files cannot be used.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let data = Data::for_command(&arguments.place.config()?.data)?;
    let authority = PrivateCa::open(data.path())?;
    let files = authority.issue_into(&arguments.out, arguments.role, &arguments.host)?;
    println!("{} lets a machine be {}.", files.certificate.display(), arguments.role);
    println!(
        "{} is its key: who has it can be that, so copy it to that machine alone.",
        files.private_key.display()
    );
    println!("{} is whom it trusts.", files.authority.display());
    Ok(())
}
