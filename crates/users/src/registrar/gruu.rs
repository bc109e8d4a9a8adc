//! The address of one endpoint of a user: `sip:ann@example.test;opaque=user:epid:ENC;gruu`
//! (MS-SIPRE §3, MS-SIPREGE §3.1.5).

use base64::{Engine, engine::general_purpose::URL_SAFE};
use confab_schema::uri::UserUri;
use confab_sip::Uri;

/// What stands before ENC in `opaque`.
const PREFIX: &str = "user:epid:";

/// The GRUU of the endpoint whose `+sip.instance` is `instance` (`<urn:uuid:…>`, brackets
/// optional); `None` if that is no UUID.
pub(super) fn of_instance(user: &UserUri, instance: &str) -> Option<Uri> {
    // Deviation: the UUID is not checked to be the one that is derived from the epid; a user can
    // only name his own endpoints either way.
    let mut bytes = [0_u8; 18];
    bytes[..16].copy_from_slice(&uuid(instance)?);
    // A GUID in memory has its first three fields little-endian.
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    let opaque = format!("{PREFIX}{}", URL_SAFE.encode(bytes));
    Some(Uri::sip(user.user(), user.domain()).with_param("opaque", &opaque).with_flag("gruu"))
}

/// What `uri` says about which endpoint of its user is meant, if it says anything.
pub(super) fn opaque(uri: &Uri) -> Option<&str> {
    uri.param("opaque")
}

/// The sixteen bytes of `<urn:uuid:…>` in the order they are written.
fn uuid(instance: &str) -> Option<[u8; 16]> {
    let bare = instance.trim().trim_start_matches('<').trim_end_matches('>');
    let prefix = bare.get(..9).filter(|prefix| prefix.eq_ignore_ascii_case("urn:uuid:"))?;
    let text = &bare[prefix.len()..];
    let shape = [8, 4, 4, 4, 12];
    let fields: Vec<&str> = text.split('-').collect();
    if fields.len() != shape.len() || fields.iter().zip(shape).any(|(field, len)| field.len() != len) {
        return None;
    }
    let digits: Vec<u8> = fields.concat().chars().map_while(|c| c.to_digit(16)).map(|d| d as u8).collect();
    let pairs: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    pairs.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(instance: &str, expect: Option<&str>) {
        let user = UserUri::parse("sip:ann@example.test").unwrap();
        assert_eq!(of_instance(&user, instance).map(|uri| uri.to_string()).as_deref(), expect, "{instance}");
    }

    #[test]
    fn gruus() {
        // 00112233-4455-6677-8899-aabbccddeeff lies in memory as 33221100 5544 7766 8899aabbccddeeff.
        let expect = "sip:ann@example.test;opaque=user:epid:MyIRAFVEd2aImaq7zN3u_wAA;gruu";
        check("<urn:uuid:00112233-4455-6677-8899-aabbccddeeff>", Some(expect));
        check("urn:UUID:00112233-4455-6677-8899-AABBCCDDEEFF", Some(expect));
        check("<urn:uuid:00112233-4455-6677-8899-aabbccddeef>", None);
        check("<urn:uuid:0011223g-4455-6677-8899-aabbccddeeff>", None);
        check("<urn:uuid:0+112233-4455-6677-8899-aabbccddeeff>", None);
        check("<urn:imei:1234>", None);
        check("é", None);
        check("", None);
    }
}
