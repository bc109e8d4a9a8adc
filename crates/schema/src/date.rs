//! Dates as XML writes them: `xsd:dateTime` (XML Schema part 2 §3.2.7), always printed in UTC.

use confab_machine::Time;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::xml::{Malformed, quoted};

/// The last second that has a four-digit year: 9999-12-31T23:59:59Z.
const LAST_SECOND: u64 = 253_402_300_799;

/// `2026-11-21T03:45:29Z`; fractions of a second are cut off.
pub fn format(time: Time) -> String {
    let seconds = i64::try_from(time.as_unix_secs().min(LAST_SECOND)).expect("the year 9999 fits");
    let date = OffsetDateTime::from_unix_timestamp(seconds).expect("the year 9999 is the last one known");
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    let (hour, minute, second) = (date.hour(), date.minute(), date.second());
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Reads a date with or without a fraction and with or without an offset (none means UTC). A date
/// before 1970 is read as the epoch: it is past either way.
///
/// # Errors
/// If the text is no `xsd:dateTime`.
pub fn parse(text: &str) -> Result<Time, Malformed> {
    let text = text.trim();
    let date = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| OffsetDateTime::parse(&[text, "Z"].concat(), &Rfc3339))
        .map_err(|_| Malformed::new(format!("{} is not a date and time.", quoted(text))))?;
    let micros = date.unix_timestamp_nanos() / 1000;
    Ok(Time::from_micros(u64::try_from(micros).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_write() {
        let check = |text: &str, expect: Option<&str>| {
            assert_eq!(parse(text).ok().map(format).as_deref(), expect, "{text}");
        };
        check("2026-11-21T03:45:29Z", Some("2026-11-21T03:45:29Z"));
        check(" 2026-11-21T03:45:29.1234567Z\n", Some("2026-11-21T03:45:29Z"));
        check("2026-11-21T03:45:29+01:00", Some("2026-11-21T02:45:29Z"));
        check("2026-11-21T03:45:29", Some("2026-11-21T03:45:29Z"));
        check("0001-01-01T00:00:00Z", Some("1970-01-01T00:00:00Z"));
        check("2024-02-29T23:59:59-00:30", Some("2024-03-01T00:29:59Z"));
        check("2023-02-29T00:00:00Z", None);
        check("2026-11-21", None);
        check("", None);
        check("tomorrow", None);
    }

    #[test]
    fn every_time_can_be_printed() {
        assert_eq!(format(Time::from_micros(u64::MAX)), "9999-12-31T23:59:59Z");
        assert_eq!(parse("1970-01-01T00:00:00.000001Z"), Ok(Time::from_micros(1)));
    }
}
