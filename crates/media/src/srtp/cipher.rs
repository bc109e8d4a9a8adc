//! The transforms: AES-CM with HMAC-SHA1 (RFC 3711 §4), AES-GCM (RFC 7714), and how both get their
//! session keys (RFC 3711 §4.3).

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey},
    constant_time::verify_slices_are_equal,
    hmac::{self, HMAC_SHA1_FOR_LEGACY_USE_ONLY},
    iv::FixedLength,
};

use super::{ENCRYPTED, RTCP_HEADER, append};
use crate::session::Suite;

/// What GCM appends.
const GCM_TAG: usize = 16;

/// The session keys of RTP or RTCP in one direction.
pub(super) enum Cipher {
    /// AES in counter mode, and a tag of HMAC-SHA1.
    CounterMode(Box<CounterMode>),
    /// AES-GCM.
    Gcm { key: LessSafeKey, salt: [u8; 12] },
}

/// Keys and salts are not for logs.
impl std::fmt::Debug for Cipher {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Cipher(…)")
    }
}

/// The keys of AES-CM with HMAC-SHA1.
pub(super) struct CounterMode {
    key: EncryptingKey,
    salt: [u8; 14],
    authentication: hmac::Key,
    tag_len: usize,
}

impl Cipher {
    /// The session keys of RTP.
    pub fn for_rtp(suite: Suite, master: &[u8; 16], salt: &[u8]) -> Cipher {
        let tag_len = if suite == Suite::AesCm32 { 4 } else { 10 };
        Cipher::derive(suite, master, salt, 0, tag_len)
    }

    /// The session keys of RTCP, whose tag of HMAC-SHA1 always has 80 bits (RFC 4568 §6.2).
    pub fn for_rtcp(suite: Suite, master: &[u8; 16], salt: &[u8]) -> Cipher {
        Cipher::derive(suite, master, salt, 3, 10)
    }

    fn derive(suite: Suite, master: &[u8; 16], master_salt: &[u8], label: u8, tag_len: usize) -> Cipher {
        let master = counter_mode(master);
        let mut key = [0; 16];
        expand(&master, master_salt, label, &mut key);
        let mut salt = [0; 14];
        expand(&master, master_salt, label + 2, &mut salt);
        if suite == Suite::AesGcm {
            return Cipher::gcm(&key, *salt.first_chunk().expect("14 are more than 12"));
        }
        let mut authentication = [0; 20];
        expand(&master, master_salt, label + 1, &mut authentication);
        Cipher::CounterMode(Box::new(CounterMode {
            key: counter_mode(&key),
            salt,
            authentication: hmac::Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, &authentication),
            tag_len,
        }))
    }

    pub(super) fn gcm(key: &[u8; 16], salt: [u8; 12]) -> Cipher {
        let key = UnboundKey::new(&AES_128_GCM, key).expect("16 bytes are a key of AES-128");
        Cipher::Gcm { key: LessSafeKey::new(key), salt }
    }

    /// How many bytes of tag a packet gets.
    pub fn tag_len(&self) -> usize {
        match self {
            Cipher::CounterMode(keys) => keys.tag_len,
            Cipher::Gcm { .. } => GCM_TAG,
        }
    }

    /// Protects the packet in `packet[..len]`, of which `header` bytes stay in clear. There is room behind.
    pub fn seal_rtp(
        &self,
        packet: &mut [u8],
        (header, len): (usize, usize),
        ssrc: u32,
        index: u64,
        identifier: &[u8],
    ) -> Option<usize> {
        match self {
            Cipher::CounterMode(keys) => {
                let CounterMode { key, salt, authentication, tag_len } = &**keys;
                apply(key, salt, ssrc, index, &mut packet[header..len]);
                let tag = tag(authentication, &packet[..len], &rounds(index));
                let end = append(packet, len, identifier);
                Some(append(packet, end, &tag.as_ref()[..*tag_len]))
            }
            Cipher::Gcm { key, salt } => {
                let (clear, text) = packet[..len].split_at_mut(header);
                let nonce = gcm_nonce(salt, ssrc, index);
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(&*clear), text).ok()?;
                let end = append(packet, len, tag.as_ref());
                Some(append(packet, end, identifier))
            }
        }
    }

    /// Opens a packet of which `header` bytes are in clear; the length of what stands there then.
    pub fn open_rtp(
        &self,
        packet: &mut [u8],
        header: usize,
        ssrc: u32,
        index: u64,
        identifier: &[u8],
    ) -> Option<usize> {
        match self {
            Cipher::CounterMode(keys) => {
                let CounterMode { key, salt, authentication, tag_len } = &**keys;
                let (rest, sent) = packet.split_at_checked(packet.len().checked_sub(*tag_len)?)?;
                let len = bodies(rest, identifier)
                    .filter(|len| *len >= header)
                    .find(|len| is_tag(authentication, &rest[..*len], &rounds(index), sent))?;
                apply(key, salt, ssrc, index, &mut packet[header..len]);
                Some(len)
            }
            Cipher::Gcm { key, salt } => {
                let end = bodies(packet, identifier).next()?;
                let (clear, text) = packet[..end].split_at_mut_checked(header)?;
                let nonce = gcm_nonce(salt, ssrc, index);
                let text = key.open_in_place(nonce, Aad::from(&*clear), text).ok()?;
                Some(header + text.len())
            }
        }
    }

    /// Protects the compound in `packet[..len]`; `index` has [`ENCRYPTED`] set. There is room behind.
    pub fn seal_rtcp(
        &self,
        packet: &mut [u8],
        len: usize,
        ssrc: u32,
        index: u32,
        identifier: &[u8],
    ) -> Option<usize> {
        let number = u64::from(index & !ENCRYPTED);
        match self {
            Cipher::CounterMode(keys) => {
                let CounterMode { key, salt, authentication, tag_len } = &**keys;
                apply(key, salt, ssrc, number, &mut packet[RTCP_HEADER..len]);
                let end = append(packet, len, &index.to_be_bytes());
                let tag = tag(authentication, &packet[..end], &[]);
                let end = append(packet, end, identifier);
                Some(append(packet, end, &tag.as_ref()[..*tag_len]))
            }
            Cipher::Gcm { key, salt } => {
                let clear = rtcp_clear(packet, index);
                let nonce = gcm_nonce(salt, ssrc, number);
                let text = &mut packet[RTCP_HEADER..len];
                let tag = key.seal_in_place_separate_tag(nonce, Aad::from(clear), text).ok()?;
                let end = append(packet, len, tag.as_ref());
                let end = append(packet, end, &index.to_be_bytes());
                Some(append(packet, end, identifier))
            }
        }
    }

    /// Opens a compound, if `fresh` takes its index: the length of what stands there then, and the index.
    pub fn open_rtcp(
        &self,
        packet: &mut [u8],
        ssrc: u32,
        identifier: &[u8],
        fresh: impl Fn(u32) -> bool,
    ) -> Option<(usize, u32)> {
        match self {
            Cipher::CounterMode(keys) => {
                let CounterMode { key, salt, authentication, tag_len } = &**keys;
                let (rest, sent) = packet.split_at_checked(packet.len().checked_sub(*tag_len)?)?;
                let end =
                    bodies(rest, identifier).find(|end| is_tag(authentication, &rest[..*end], &[], sent))?;
                let (len, index) = rtcp_index(&packet[..end])?;
                let number = index & !ENCRYPTED;
                if !fresh(number) {
                    return None;
                }
                if index & ENCRYPTED != 0 {
                    apply(key, salt, ssrc, u64::from(number), &mut packet[RTCP_HEADER..len]);
                }
                Some((len, number))
            }
            Cipher::Gcm { key, salt } => {
                let end = bodies(packet, identifier).next()?;
                let (tagged, index) = rtcp_index(&packet[..end])?;
                let number = index & !ENCRYPTED;
                let len = tagged.checked_sub(GCM_TAG).filter(|len| *len >= RTCP_HEADER)?;
                if !fresh(number) {
                    return None;
                }
                let nonce = gcm_nonce(salt, ssrc, u64::from(number));
                if index & ENCRYPTED != 0 {
                    let clear = rtcp_clear(packet, index);
                    key.open_in_place(nonce, Aad::from(clear), &mut packet[RTCP_HEADER..tagged]).ok()?;
                } else {
                    // The index is authenticated as if the tag did not stand before it.
                    let mut sent: [u8; GCM_TAG] = packet[len..tagged].try_into().ok()?;
                    append(packet, len, &index.to_be_bytes());
                    key.open_in_place(nonce, Aad::from(&packet[..len + 4]), &mut sent).ok()?;
                }
                Some((len, number))
            }
        }
    }
}

/// AES in counter mode with this key.
fn counter_mode(key: &[u8; 16]) -> EncryptingKey {
    let key = UnboundCipherKey::new(&AES_128, key).expect("16 bytes are a key of AES-128");
    EncryptingKey::ctr(key).expect("AES has a counter mode")
}

/// The key for one purpose (RFC 3711 §4.3.3). A shorter salt counts as if zeros followed (RFC 7714 §11).
fn expand(master: &EncryptingKey, salt: &[u8], label: u8, out: &mut [u8]) {
    let mut block = [0; 16];
    block[..salt.len()].copy_from_slice(salt);
    block[7] ^= label;
    out.fill(0);
    stream(master, block, out);
}

/// Encrypts or decrypts the payload of a packet (RFC 3711 §4.1.1).
fn apply(key: &EncryptingKey, salt: &[u8; 14], ssrc: u32, index: u64, payload: &mut [u8]) {
    let mut block = [0; 16];
    block[..14].copy_from_slice(salt);
    mix(&mut block[4..8], &ssrc.to_be_bytes());
    mix(&mut block[8..14], &index.to_be_bytes()[2..]);
    stream(key, block, payload);
}

fn stream(key: &EncryptingKey, block: [u8; 16], bytes: &mut [u8]) {
    let context = EncryptionContext::Iv128(FixedLength::from(block));
    key.less_safe_encrypt(bytes, context).expect("counter mode takes a block and any bytes");
}

/// The nonce of GCM (RFC 7714 §8.1, §9.1): of RTP the source and the 48-bit index, of RTCP with 31 bits.
fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: u64) -> Nonce {
    let mut nonce = *salt;
    mix(&mut nonce[2..6], &ssrc.to_be_bytes());
    mix(&mut nonce[6..], &index.to_be_bytes()[2..]);
    Nonce::assume_unique_for_key(nonce)
}

fn mix(into: &mut [u8], what: &[u8]) {
    for (into, what) in into.iter_mut().zip(what) {
        *into ^= what;
    }
}

/// How often the sequence numbers went round, as it is authenticated.
fn rounds(index: u64) -> [u8; 4] {
    ((index >> 16) as u32).to_be_bytes()
}

/// HMAC-SHA1 over both.
fn tag(key: &hmac::Key, packet: &[u8], behind: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(packet);
    context.update(behind);
    context.sign()
}

/// Whether `sent` is the beginning of the tag, compared in constant time.
fn is_tag(key: &hmac::Key, packet: &[u8], behind: &[u8], sent: &[u8]) -> bool {
    let tag = tag(key, packet, behind);
    verify_slices_are_equal(&tag.as_ref()[..sent.len()], sent).is_ok()
}

/// Where the packet may end: before the key identifier if it seems to bear one, or as it is.
fn bodies(packet: &[u8], identifier: &[u8]) -> impl Iterator<Item = usize> + use<> {
    let without = packet.strip_suffix(identifier).map(<[u8]>::len);
    without.into_iter().chain((!identifier.is_empty()).then_some(packet.len()))
}

/// The index at the end of a compound, and where it begins.
fn rtcp_index(packet: &[u8]) -> Option<(usize, u32)> {
    let (rest, index) = packet.split_last_chunk()?;
    (rest.len() >= RTCP_HEADER).then_some((rest.len(), u32::from_be_bytes(*index)))
}

/// What of an encrypted compound is authenticated in clear with GCM (RFC 7714 §9.2).
fn rtcp_clear(packet: &[u8], index: u32) -> [u8; 12] {
    let mut clear = [0; 12];
    clear[..RTCP_HEADER].copy_from_slice(&packet[..RTCP_HEADER]);
    clear[RTCP_HEADER..].copy_from_slice(&index.to_be_bytes());
    clear
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::tests::bytes;

    #[test]
    fn keys_of_rfc_3711() {
        let master = counter_mode(&bytes("E1F97A0D3E018BE0D64FA32C06DE4139").try_into().unwrap());
        let salt = bytes("0EC675AD498AFEEBB6960B3AABE6");
        let derive = |label, len| {
            let mut out = vec![1; len];
            expand(&master, &salt, label, &mut out);
            out
        };
        assert_eq!(derive(0, 16), bytes("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(derive(2, 14), bytes("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(derive(1, 20), bytes("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    }

    #[test]
    fn key_stream_of_rfc_3711() {
        let key = counter_mode(&bytes("2B7E151628AED2A6ABF7158809CF4F3C").try_into().unwrap());
        let salt = bytes("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").try_into().unwrap();
        let mut out = [0; 48];
        apply(&key, &salt, 0, 0, &mut out);
        let stream = "E03EAD0935C95E80E166B16DD92B4EB4D23513162B02D0F72A43A2FE4A5F97AB41E95B3BB0A2E8DD477901E4FCA894C0";
        assert_eq!(out[..], bytes(stream));
    }

    /// RFC 7714 §16.1: key, salt and packets.
    fn rfc_7714() -> Cipher {
        let key = bytes("000102030405060708090a0b0c0d0e0f").try_into().unwrap();
        Cipher::gcm(&key, bytes("517569642070726f2071756f").try_into().unwrap())
    }

    #[test]
    fn rtp_of_rfc_7714() {
        let plain = bytes(
            "8040f17b8041f8d35501a0b247616c6c696120657374206f6d6e69732064697669736120696e207061727465732074726573",
        );
        let sealed = bytes(
            "8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833899d7f27beb16a9152cf765ee4390cce",
        );
        let mut packet = plain.clone();
        packet.resize(sealed.len(), 0);
        let len = plain.len();
        assert_eq!(rfc_7714().seal_rtp(&mut packet, (12, len), 0x5501_a0b2, 0xf17b, &[]), Some(sealed.len()));
        assert_eq!(packet, sealed);
        assert_eq!(rfc_7714().open_rtp(&mut packet, 12, 0x5501_a0b2, 0xf17b, &[]), Some(len));
        assert_eq!(packet[..len], plain);
    }

    #[test]
    fn rtcp_of_rfc_7714() {
        let plain = bytes(
            "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
        );
        let sealed = bytes(
            "81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275bc84aa45896cf4d2fc5abf87245d9eade800005d4",
        );
        let mut packet = plain.clone();
        packet.resize(sealed.len(), 0);
        let (len, index) = (plain.len(), 0x8000_05d4);
        assert_eq!(rfc_7714().seal_rtcp(&mut packet, len, 0x4d61_7273, index, &[]), Some(sealed.len()));
        assert_eq!(packet, sealed);
        assert_eq!(rfc_7714().open_rtcp(&mut packet, 0x4d61_7273, &[], |_| true), Some((len, 0x5d4)));
        assert_eq!(packet[..len], plain);
    }

    #[test]
    fn rtcp_in_clear_of_rfc_7714() {
        let plain = bytes(
            "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef",
        );
        let sealed = bytes(
            "81c8000d4d6172734e5450314e545032525450200000042a0000e9304c756e61deadbeefdeadbeefdeadbeefdeadbeefdeadbeef841dd9683dd78ec92ae58790125f62b3000005d4",
        );
        let mut packet = sealed;
        assert_eq!(rfc_7714().open_rtcp(&mut packet, 0x4d61_7273, &[], |_| true), Some((plain.len(), 0x5d4)));
        assert_eq!(packet[..plain.len()], plain);
    }
}
