//! Secrets at rest: what passwords hash to, and conference keys, are sealed with a key that lies
//! outside the database, so that a copy of the database alone is of no use (AES-256-GCM, NIST SP
//! 800-38D).

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use confab_conference::{
    conference_key::{ConferenceKey, SealedKey},
    record::ConferenceRecord,
};
use confab_schema::uri::{ConferenceUri, UserUri};
use confab_sip::auth::{Algorithm, Ha1s, ha1};
use confab_users::account::{Account, SealedSecret, SecretKind};

use crate::sip_transport::write_private;

/// The file in the data directory that holds the key.
const KEY_FILE: &str = "secrets.key";
const KEY_LENGTH: usize = 32;

/// Seals and opens secrets.
pub struct Vault {
    key: LessSafeKey,
}

impl Vault {
    /// The vault of this data directory; its key is made at first use.
    ///
    /// # Errors
    /// If the key cannot be read or written, or is damaged.
    pub fn open(data: &Path) -> anyhow::Result<Vault> {
        let path = data.join(KEY_FILE);
        if !path.exists() {
            let key: [u8; KEY_LENGTH] = crate::clock::entropy().bytes();
            write_private(&path, &key)?;
        }
        let key = fs::read(&path).with_context(|| format!("the key {} cannot be read", path.display()))?;
        ensure!(
            key.len() == KEY_LENGTH,
            "the key {} is damaged: it has {} bytes, not {KEY_LENGTH}; restore it from a backup",
            path.display(),
            key.len()
        );
        let key = UnboundKey::new(&AES_256_GCM, &key).context("the key has the right length")?;
        Ok(Vault { key: LessSafeKey::new(key) })
    }

    /// The sealed secrets of an account with this password, for every Digest algorithm.
    pub fn seal_password(&self, user: &UserUri, password: &str) -> Vec<SealedSecret> {
        [(SecretKind::DigestMd5, Algorithm::Md5), (SecretKind::DigestSha256, Algorithm::Sha256)]
            .map(|(kind, algorithm)| {
                let secret = ha1(algorithm, user.user(), user.domain(), password);
                SealedSecret { kind, sealed: self.seal(belongs_to(user, kind), secret.as_bytes()) }
            })
            .into()
    }

    /// What the account's password hashes to. A secret that cannot be opened counts as none.
    pub fn digest_secrets(&self, account: &Account) -> Ha1s {
        let open = |kind| {
            let sealed = account.secret(kind)?;
            String::from_utf8(self.unseal(belongs_to(&account.user, kind), &sealed.sealed)?).ok()
        };
        Ha1s { md5: open(SecretKind::DigestMd5), sha256: open(SecretKind::DigestSha256) }
    }

    /// The sealed form of a conference's key.
    pub fn seal_conference_key(&self, conference: &ConferenceUri, key: &ConferenceKey) -> SealedKey {
        SealedKey(self.seal(belongs_to_conference(conference), key.reveal().as_bytes()))
    }

    /// The key of the conference. One that cannot be opened counts as none.
    pub fn conference_key(&self, record: &ConferenceRecord) -> Option<ConferenceKey> {
        let SealedKey(sealed) = record.conference_key.as_ref()?;
        let opened = self.unseal(belongs_to_conference(&record.uri), sealed)?;
        ConferenceKey::parse(std::str::from_utf8(&opened).ok()?)
    }

    fn seal(&self, belongs_to: Aad<String>, secret: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = crate::clock::entropy().bytes();
        let mut sealed = secret.to_vec();
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), belongs_to, &mut sealed)
            .expect("a hash or a key is short enough to seal");
        [&nonce[..], &sealed].concat()
    }

    fn unseal(&self, belongs_to: Aad<String>, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut secret = sealed.to_vec();
        let secret = self.key.open_in_place(nonce, belongs_to, &mut secret).ok()?;
        Some(secret.to_vec())
    }
}

/// A sealed secret moved to another account or kind does not open.
fn belongs_to(user: &UserUri, kind: SecretKind) -> Aad<String> {
    Aad::from(format!("{user} {kind:?}"))
}

/// A sealed key moved to another conference does not open. Case does not tell conferences apart.
fn belongs_to_conference(conference: &ConferenceUri) -> Aad<String> {
    Aad::from(format!("{conference} key").to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use confab_machine::Time;
    use confab_schema::conference_info::AdmissionPolicy;

    use super::*;

    #[test]
    fn opens_only_with_its_key_and_for_its_account() {
        let data = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        let ann = UserUri::parse("sip:ann@example.test").unwrap();
        let bob = UserUri::parse("sip:bob@example.test").unwrap();
        let vault = Vault::open(data.path()).unwrap();
        let mut account = Account::new(ann.clone(), "Ann", Time::EPOCH).unwrap();
        account.secrets = vault.seal_password(&ann, "correct horse");
        let expected = Ha1s::of("ann", "example.test", "correct horse");

        assert!(Vault::open(data.path()).unwrap().digest_secrets(&account) == expected);
        assert!(Vault::open(other.path()).unwrap().digest_secrets(&account) == Ha1s::default());
        let mut moved = Account::new(bob, "Bob", Time::EPOCH).unwrap();
        moved.secrets = account.secrets.clone();
        assert!(vault.digest_secrets(&moved) == Ha1s::default());
        assert!(!account.secrets[0].sealed.windows(4).any(|part| part == b"hors"));
    }

    #[test]
    fn a_conference_key_opens_only_for_its_conference() {
        let data = tempfile::tempdir().unwrap();
        let vault = Vault::open(data.path()).unwrap();
        let uri = |id: &str| {
            ConferenceUri::parse(&format!("sip:ann@example.test;gruu;opaque=app:conf:focus:id:{id}")).unwrap()
        };
        let key = ConferenceKey::parse("crayon-pencil").unwrap();
        let sealed = vault.seal_conference_key(&uri("3E1C92F0"), &key);
        let opened = |id: &str, conference_key| {
            let record = ConferenceRecord {
                uri: uri(id),
                version: 1,
                subject: String::new(),
                description: String::new(),
                expires: Time::EPOCH,
                admission: AdmissionPolicy::Anonymous,
                conference_key,
                locked: false,
                lobby: false,
                participants: Vec::new(),
                media: Vec::new(),
                notification_data: None,
                organizer_data: None,
                created: Time::EPOCH,
                updated: Time::EPOCH,
                last_activated: None,
            };
            vault.conference_key(&record)
        };
        assert_eq!(opened("3E1C92F0", Some(sealed.clone())), Some(key.clone()));
        assert_eq!(opened("3e1c92f0", Some(sealed.clone())), Some(key), "an ID may be written in any case");
        assert_eq!(opened("3E1C92F1", Some(sealed.clone())), None);
        assert_eq!(opened("3E1C92F0", None), None);
        let SealedKey(bytes) = sealed;
        assert!(!bytes.windows(6).any(|part| part == b"crayon"));
    }
}
