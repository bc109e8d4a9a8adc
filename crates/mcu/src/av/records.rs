//! What became of each leg: who, how, when, why it ended and how it sounded, told to the Focus once the data
//! plane has said how it was.

use std::time::Duration;

use confab_machine::Time;
use confab_media::session::{self, Codec, Command, Quality};
use confab_schema::{
    cccp,
    conference_info::{CallQuality, CallRecord, DisconnectionMethod},
};

use super::{VoiceSession, Voices, Waking};
use crate::{
    Action,
    conference::{Farewell, Leg, LegId, Room},
};

/// How long the data plane may take to say how a leg was.
const QUALITY_LIMIT: Duration = Duration::from_secs(1);

impl Room<Voices> {
    /// A leg is out of the roster: the data plane is told, and its record waits for the answer.
    pub(super) fn close(
        &mut self,
        now: Time,
        id: LegId,
        leg: &Leg<VoiceSession>,
        farewell: Option<Farewell>,
        out: &mut Vec<Action>,
    ) {
        let Some(call) = self.medium.calls.remove(&id) else { return };
        self.medium.speaking.remove(&id);
        out.push(Action::Media(Command::Close { leg: session::LegId(id.0) }));
        let Some(from) = call.since() else { return };
        let record = CallRecord {
            user: leg.user.to_string(),
            endpoint: leg.entity.clone(),
            endpoint_uri: leg.endpoint_uri.clone(),
            joining_method: leg.joining_method,
            from,
            until: now,
            ending: farewell.map_or(DisconnectionMethod::Departed, |farewell| farewell.method),
            reason: farewell.map(|farewell| farewell.sentence.to_owned()),
            codec: call.codec().map(|codec| name(codec).to_owned()),
            quality: None,
        };
        self.medium.closing.insert(id, record);
        self.wake(now + QUALITY_LIMIT, Waking::Closing(id));
    }

    /// The data plane says how a leg was that is over.
    pub(super) fn closed(&mut self, id: LegId, quality: Option<Quality>, out: &mut Vec<Action>) {
        let Some(mut record) = self.medium.closing.remove(&id) else { return };
        record.quality = quality.map(written);
        self.medium.records.push(record);
        self.changes.news = true;
        if self.medium.closing.is_empty()
            && let Some((control, request)) = self.medium.ending.take()
        {
            let records = std::mem::take(&mut self.medium.records);
            self.finish((control, &request), records, out);
        }
    }

    /// Everybody is out; `true` if the data plane has yet to say how it was for somebody.
    pub(super) fn wind_up(
        &mut self,
        now: Time,
        control: (u64, &cccp::Request),
        out: &mut Vec<Action>,
    ) -> bool {
        let unanswered: Vec<u64> = self.medium.gatings.keys().copied().collect();
        for gating in unanswered {
            self.not_gated(gating, out);
        }
        if self.medium.closing.is_empty() {
            return false;
        }
        self.medium.ending = Some((control.0, control.1.clone()));
        for id in self.medium.closing.keys().copied().collect::<Vec<_>>() {
            self.wake(now + QUALITY_LIMIT, Waking::Closing(id));
        }
        true
    }
}

fn written(quality: Quality) -> CallQuality {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    CallQuality {
        received: quality.received,
        lost: quality.lost,
        late: quality.late,
        rejected: quality.rejected,
        sent: quality.sent,
        sent_lost: quality.sent_lost,
        jitter_us: micros(quality.jitter),
        round_trip_us: quality.round_trip.map(micros),
        mos: quality.mos.into(),
    }
}

/// As session descriptions call it.
fn name(codec: Codec) -> &'static str {
    match codec {
        Codec::Pcmu => "PCMU",
        Codec::Pcma => "PCMA",
        Codec::G722 => "G722",
        Codec::Opus => "opus",
        Codec::H264 => "H264",
        Codec::Vp8 => "VP8",
    }
}
