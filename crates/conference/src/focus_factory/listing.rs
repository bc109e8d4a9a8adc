//! What `getConferences` answers (c3p §6.7): as many conferences as have room, the most important first.

use std::cmp::Reverse;

use confab_machine::Time;
use confab_schema::{
    cccp::{Code, Request, Response, ResultBody},
    conference_info::{ConferenceInfo, Description, View},
};

use super::Known;
use crate::record::ConferenceSummary;

/// The longest subject in a list, in bytes; the whole of it is in `getConference`.
const SUBJECT_LIMIT: usize = 256;
/// What stands for the rest of a subject.
const ELLIPSIS: char = '…';

/// The organizer's conferences, those that can be joined before those that have expired, and among
/// them the last changed first; and how many had no room.
// Deviation: a list that is too long is cut; the texts know neither a limit nor pages.
pub(super) fn list(now: Time, request: &Request, known: &Known) -> (Vec<ConferenceInfo>, usize) {
    let mut conferences: Vec<&ConferenceSummary> = known.conferences.iter().collect();
    conferences.sort_by_key(|conference| (conference.expires <= now, Reverse(conference.updated)));
    let around = Response::new(request, Code::Success, ResultBody::Conferences(Vec::new())).to_bytes().len();
    let mut room = known.room.saturating_sub(around);
    let mut listed = Vec::new();
    for conference in &conferences {
        let info = summary(conference, known);
        // A document of its own is a little longer than the same within another.
        let Some(left) = room.checked_sub(info.to_bytes(View::Microsoft).len()) else { break };
        room = left;
        listed.push(info);
    }
    let left_out = conferences.len() - listed.len();
    (listed, left_out)
}

/// What is told of each.
// Deviation: the texts leave open whether entity is empty, as in getConference; here it is the URI.
fn summary(conference: &ConferenceSummary, known: &Known) -> ConferenceInfo {
    let description = Description {
        subject: Some(cut(&conference.subject)),
        conference_id: Some(conference.uri.id.to_string()),
        expiry: Some(conference.expires),
        last_update: Some(conference.updated),
        last_activate: conference.last_activated,
        is_active: Some(known.active.contains(&conference.uri)),
        admission: Some(conference.admission),
        ..Description::default()
    };
    let mut summary = ConferenceInfo::full(conference.uri.to_string(), conference.version);
    summary.description = Some(description);
    summary
}

fn cut(subject: &str) -> String {
    if subject.len() <= SUBJECT_LIMIT {
        return subject.to_owned();
    }
    let end = subject.floor_char_boundary(SUBJECT_LIMIT - ELLIPSIS.len_utf8());
    format!("{}{ELLIPSIS}", &subject[..end])
}
