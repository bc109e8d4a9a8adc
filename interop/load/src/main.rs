//! Load for any SIP conference server: many people join, a few of them say tones in turn, and everybody's sound is judged.
//!
//! It shares no code with the server but the protection of packets (SRTP). One thread paces and judges all sound; the other does the
//! signalling. It prints what it has measured as JSON and ends with 0 when the conference passed every check, 1 when it did not, and 2
//! when it could not begin.
//!
//! - `options.rs`: what it is told.
//! - `agents.rs`: the callers, with `sip.rs` and `sdp.rs`.
//! - `media.rs`: their sound, with `schedule.rs` (who talks when), `tones.rs`, `reception.rs` and `judge.rs`.
//! - `run.rs`, `report.rs`, `machine.rs`: the phases of a run, and what is said of it.

mod agents;
mod clock;
mod judge;
mod machine;
mod media;
mod options;
mod reception;
mod report;
mod run;
mod schedule;
mod sdp;
mod sip;
mod tones;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let options = options::Options::parse();
    match run::run(&options) {
        Ok((report, passed)) => {
            println!("{report:#}");
            ExitCode::from(u8::from(!passed))
        }
        Err(why) => {
            eprintln!("confab-load: {why}");
            ExitCode::from(2)
        }
    }
}
