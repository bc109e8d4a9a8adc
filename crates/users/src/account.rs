//! A user's account: who may sign in, under which name, with which sealed secrets.
//!
//! The store keeps accounts; the front end loads one before it judges a sign-in. What is sealed is
//! opened only by the front end, whose key is not in the database.

use confab_machine::Time;
use confab_schema::uri::UserUri;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest user part of an address, in characters. OCS keeps SIP addresses in 454 characters; a
/// name that people type needs far less.
pub const MAX_USER_PART: usize = 64;
/// Longest display name, in bytes of UTF-8.
pub const MAX_DISPLAY_NAME: usize = 256;
/// Most secrets one account may hold: one for each kind, and as many again while keys change.
pub const MAX_SECRETS: usize = 4;
/// Largest sealed secret in bytes.
pub const MAX_SEALED: usize = 512;

/// Who may sign in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The address: `sip:ann@example.test`.
    pub user: UserUri,
    /// The name other people see.
    pub display_name: String,
    /// What a sign-in is judged by, one for each way of signing in.
    pub secrets: Vec<SealedSecret>,
    /// When the account was made.
    pub created: Time,
}

/// A secret as the database holds it: useless without the key that sealed it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecret {
    /// What the sealed bytes are once opened.
    pub kind: SecretKind,
    /// Nonce, ciphertext and tag, as the sealer wrote them.
    pub sealed: Vec<u8>,
}

/// What a secret is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SecretKind {
    /// HA1 of Digest with MD5 (RFC 7616 §3.4.2; realm = the SIP domain).
    DigestMd5,
    /// HA1 of Digest with SHA-256.
    DigestSha256,
}

/// Why an account cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidAccount {
    /// The part before the @ cannot be an address here.
    #[error(
        "\"{0}\" cannot be a user name: use 1 to {MAX_USER_PART} of the letters a-z, digits, dot, hyphen, underscore \
         and plus, beginning with a letter, digit or plus and ending with a letter or digit"
    )]
    UserPart(String),
    /// There is no display name, or it is too long or holds control characters.
    #[error("a display name has 1 to {MAX_DISPLAY_NAME} bytes and no control characters")]
    DisplayName,
    /// More or larger secrets than an account may hold.
    #[error("an account holds at most {MAX_SECRETS} secrets of at most {MAX_SEALED} bytes")]
    Secrets,
}

impl Account {
    /// An account without secrets; fails if one of the names cannot be.
    pub fn new(user: UserUri, display_name: &str, created: Time) -> Result<Account, InvalidAccount> {
        let account =
            Account { user, display_name: display_name.trim().to_owned(), secrets: Vec::new(), created };
        account.check()?;
        Ok(account)
    }

    /// Whether names and secrets keep the limits.
    pub fn check(&self) -> Result<(), InvalidAccount> {
        check_user_part(self.user.user())?;
        if !is_display_name(&self.display_name) {
            return Err(InvalidAccount::DisplayName);
        }
        if self.secrets.len() > MAX_SECRETS || self.secrets.iter().any(|s| s.sealed.len() > MAX_SEALED) {
            return Err(InvalidAccount::Secrets);
        }
        Ok(())
    }

    /// The secret of one kind; the newest if there are several.
    pub fn secret(&self, kind: SecretKind) -> Option<&SealedSecret> {
        self.secrets.iter().rfind(|secret| secret.kind == kind)
    }

    /// Puts `secret` in the place of all others of its kind.
    pub fn replace_secret(&mut self, secret: SealedSecret) {
        self.secrets.retain(|old| old.kind != secret.kind);
        self.secrets.push(secret);
    }
}

/// Whether `name` can be the part before the @.
///
/// Stricter than RFC 3261 §25 on purpose: no character here is ever escaped in a URI, in XML or in
/// a file name, and lower-case only means that two spellings are never two people.
pub fn check_user_part(name: &str) -> Result<(), InvalidAccount> {
    let bytes = name.as_bytes();
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let good = (1..=MAX_USER_PART).contains(&bytes.len())
        && bytes.iter().all(|b| plain(b) || b".-_+".contains(b))
        && (bytes.first().is_some_and(plain) || bytes.first() == Some(&b'+') && bytes.len() > 1)
        && bytes.last().is_some_and(plain);
    if good { Ok(()) } else { Err(InvalidAccount::UserPart(name.to_owned())) }
}

fn is_display_name(name: &str) -> bool {
    !name.trim().is_empty() && name.len() <= MAX_DISPLAY_NAME && !name.chars().any(char::is_control)
}

/// Shows the kind only: a sealed secret is still nothing for a log.
impl std::fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealedSecret({:?}, {} bytes)", self.kind, self.sealed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, good: bool) {
        assert_eq!(check_user_part(name).is_ok(), good, "{name:?}");
    }

    #[test]
    fn user_parts() {
        check("ann", true);
        check("ann.miller", true);
        check("a", true);
        check("room_4-b2", true);
        check("+14255550100", true);
        check(&"a".repeat(MAX_USER_PART), true);
        check("", false);
        check("+", false);
        check("Ann", false);
        check(".ann", false);
        check("ann.", false);
        check("ann;gruu", false);
        check("ann%41", false);
        check("jörg", false);
        check(&"a".repeat(MAX_USER_PART + 1), false);
    }

    #[test]
    fn names_and_secrets_are_limited() {
        let user = UserUri::parse("sip:ann@example.test").unwrap();
        let mut account = Account::new(user.clone(), " Ann Miller ", Time::EPOCH).unwrap();
        assert_eq!(account.display_name, "Ann Miller");
        assert_eq!(Account::new(user.clone(), " ", Time::EPOCH), Err(InvalidAccount::DisplayName));
        assert_eq!(Account::new(user, "a\nb", Time::EPOCH), Err(InvalidAccount::DisplayName));
        account.replace_secret(SealedSecret { kind: SecretKind::DigestMd5, sealed: vec![1] });
        account.replace_secret(SealedSecret { kind: SecretKind::DigestMd5, sealed: vec![2] });
        assert_eq!(account.secrets.len(), 1);
        assert_eq!(account.secret(SecretKind::DigestMd5).map(|s| s.sealed.as_slice()), Some(&[2][..]));
        assert_eq!(account.secret(SecretKind::DigestSha256), None);
        account
            .replace_secret(SealedSecret { kind: SecretKind::DigestSha256, sealed: vec![0; MAX_SEALED + 1] });
        assert_eq!(account.check(), Err(InvalidAccount::Secrets));
    }
}
