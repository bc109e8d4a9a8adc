//! `confab user …`: the accounts of the people who may sign in.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    path::PathBuf,
};

use anyhow::{Context, bail, ensure};
use confab_schema::uri::UserUri;
use confab_store::StoreError;
use confab_users::account::Account;

use super::Place;
use crate::{clock::Clock, data::Data};

/// What to do with accounts.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Add a person, or give one a new password.
    Add {
        /// Where the accounts are.
        #[command(flatten)]
        place: Place,
        /// The name before the @ of the address; the domain is the configuration's.
        name: String,
        /// What others see.
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
        /// A file whose first line is the password; otherwise it is read from standard input.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// List everybody.
    List {
        /// Where the accounts are.
        #[command(flatten)]
        place: Place,
    },
    /// Remove a person.
    Remove {
        /// Where the accounts are.
        #[command(flatten)]
        place: Place,
        /// The name before the @ of the address.
        name: String,
    },
}

/// Runs the command.
///
/// # Errors
/// Sentences about the name, the password or the database.
pub async fn run(command: &Command) -> anyhow::Result<()> {
    match command {
        Command::Add { place, name, display_name, password_file } => {
            let password = read_password(password_file.as_ref())?;
            let display_name = display_name.as_deref().unwrap_or(name);
            add(place, name, display_name, &password).await
        }
        Command::List { place } => list(place).await,
        Command::Remove { place, name } => remove(place, name).await,
    }
}

async fn add(place: &Place, name: &str, display_name: &str, password: &str) -> anyhow::Result<()> {
    let config = place.config()?;
    let data = Data::for_command(&config.data)?;
    let (store, vault) = (data.store(&config).await?, data.vault()?);
    let user = address(name, &config.domain)?;
    ensure!(
        config.conferences.factory_address(&config.domain).as_ref() != Some(&user),
        "{user} is what phones call to make a conference (conferences.factory); choose another name"
    );
    let mut account = Account::new(user.clone(), display_name, Clock::start().now())?;
    account.secrets = vault.seal_password(&user, password);
    match store.create_account(&account).await {
        Ok(()) => println!("{user} can sign in now."),
        Err(StoreError::AlreadyExists) => {
            store.save_account(&account).await?;
            println!("{user} has a new password and the name {display_name} now.");
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn list(place: &Place) -> anyhow::Result<()> {
    let config = place.config()?;
    let data = Data::for_command(&config.data)?;
    let accounts = data.store(&config).await?.accounts().await?;
    if accounts.is_empty() {
        println!("There is nobody yet. Add the first with: confab user add NAME");
    }
    for account in accounts {
        println!("{:<40} {}", account.user.address(), account.display_name);
    }
    Ok(())
}

async fn remove(place: &Place, name: &str) -> anyhow::Result<()> {
    let config = place.config()?;
    let data = Data::for_command(&config.data)?;
    let user = address(name, &config.domain)?;
    match data.store(&config).await?.delete_account(&user).await {
        Ok(()) => println!("{user} cannot sign in any more."),
        Err(StoreError::NotFound) => bail!("there is no {user}; `confab user list` shows everybody"),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn address(name: &str, domain: &str) -> anyhow::Result<UserUri> {
    let name = name.strip_suffix(domain).and_then(|name| name.strip_suffix('@')).unwrap_or(name);
    UserUri::parse(&format!("sip:{name}@{domain}"))
        .with_context(|| format!("{name} cannot stand before the @ of an address"))
}

/// The password, from a file, a pipe or a person; never from the arguments, which others can see.
pub(super) fn read_password(file: Option<&PathBuf>) -> anyhow::Result<String> {
    let line = match file {
        Some(file) => std::fs::read_to_string(file)
            .with_context(|| format!("the password file {} cannot be read", file.display()))?,
        None => {
            if std::io::stdin().is_terminal() {
                eprint!("Password (it is shown as you type): ");
                std::io::stderr().flush()?;
            }
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line).context("the password cannot be read")?;
            line
        }
    };
    let password = line.lines().next().unwrap_or_default().to_owned();
    ensure!(!password.is_empty(), "the password is empty; give it on standard input or with --password-file");
    Ok(password)
}
