//! `/metrics`: what a running server has done, in the text form of Prometheus (exposition format 0.0.4).

use std::fmt::Write;

use crate::media_host::DataPlane;

/// The counters of a server with so many active conferences and people in them, and of its data plane if it
/// has one.
pub fn text(conferences: u64, people: u64, media: Option<&dyn DataPlane>) -> String {
    let mut text = String::new();
    let mut put = |name: &str, kind: &str, help: &str, value: u64| {
        // Writing to memory cannot fail.
        let _ =
            write!(text, "# HELP confab_{name} {help}\n# TYPE confab_{name} {kind}\nconfab_{name} {value}\n");
    };
    put("conferences", "gauge", "Conferences that are active.", conferences);
    put("participants", "gauge", "People in them.", people);
    let Some(media) = media else { return text };
    let totals = media.totals();
    put("media_rooms", "gauge", "Conferences that have a room for audio and video.", totals.rooms);
    for (name, help, value) in [
        ("media_datagrams_received", "Datagrams that came for audio and video.", totals.received),
        ("media_datagrams_sent", "Datagrams that were sent for audio and video.", totals.sent),
        ("media_slots_late", "Slots of 2 ms that were let go for want of time.", totals.late_slots),
        ("calls_ended", "Calls that are over.", totals.calls),
        ("call_packets", "Packets of sound taken from calls that are over.", totals.packets),
        ("call_packets_lost", "Packets that did not come.", totals.lost),
        ("call_packets_late", "Packets that came too late to be played.", totals.late),
        ("call_packets_refused", "Packets that were refused.", totals.rejected),
        ("call_mos_hundredths", "Sum of the estimated mean opinion scores, in hundredths.", totals.mos),
    ] {
        put(&format!("{name}_total"), "counter", help, value);
    }
    text
}
