//! Parts of a server that are ours, but break on purpose: the Focus, the MCUs and the room of each conference
//! panic at the moment that is asked for.

use std::sync::{
    Arc, Once,
    atomic::{AtomicU32, Ordering},
};

use confab_machine::{Entropy, Machine, Time};
use confab_mcu::{AvMcu, Conference, ConferenceSpec, ImMcu, Mcu, Refusal};
use confab_schema::uri::McuType;
use confab_server::{
    focus_host::{self, FocusHost, Restorable},
    roles::Parts,
};

/// What a panic says that was wanted.
const WANTED: &str = "this breaks on purpose";

/// When what breaks. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    focus: Fuse,
    mcu: Fuse,
    voices: Fuse,
    room: Fuse,
}

/// So many things are heard until it breaks; never, at zero.
#[derive(Clone, Debug, Default)]
pub struct Fuse {
    left: Arc<AtomicU32>,
    burnt: Arc<AtomicU32>,
}

impl Fuse {
    /// Something was heard: it breaks if this was the last.
    pub(crate) fn burn(&self) {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if left == Ok(1) {
            self.burnt.fetch_add(1, Ordering::Relaxed);
            panic!("{WANTED}");
        }
    }
}

impl Faults {
    /// A Focus breaks at the `nth` thing that any hears from now on; 1 is the next.
    pub fn break_focus(&self, nth: u32) {
        self.focus.left.store(nth, Ordering::Relaxed);
    }

    /// A conference of the IM MCU breaks at the `nth` thing that any hears from now on.
    pub fn break_mcu(&self, nth: u32) {
        self.mcu.left.store(nth, Ordering::Relaxed);
    }

    /// A conference of the A/V MCU breaks at the `nth` thing that any hears from now on.
    pub fn break_voices(&self, nth: u32) {
        self.voices.left.store(nth, Ordering::Relaxed);
    }

    /// A room of the A/V MCU's data plane breaks in the `nth` 20 ms that any mixes from now on.
    pub fn break_room(&self, nth: u32) {
        self.room.left.store(nth, Ordering::Relaxed);
    }

    /// How often a conference of the A/V MCU was lost, with its room or by itself.
    pub fn lost_voices(&self) -> u32 {
        self.voices.burnt.load(Ordering::Relaxed) + self.lost_rooms()
    }

    /// How often a room has broken.
    pub fn lost_rooms(&self) -> u32 {
        self.room.burnt.load(Ordering::Relaxed)
    }

    /// Burns with each 20 ms that a room mixes.
    pub(crate) fn room_fuse(&self) -> Fuse {
        self.room.clone()
    }

    /// How often a Focus has broken.
    pub fn breaks(&self) -> u32 {
        self.focus.burnt.load(Ordering::Relaxed)
    }

    /// Whether nothing is going to break any more.
    pub fn are_over(&self) -> bool {
        let fuses = [&self.focus, &self.mcu, &self.voices, &self.room];
        fuses.iter().all(|fuse| fuse.left.load(Ordering::Relaxed) == 0)
    }

    /// The parts of a server that breaks as is asked for here.
    pub fn parts(&self) -> Parts {
        let fuse = self.focus.clone();
        Parts {
            im_mcu: Box::new(FragileMcu { whole: Box::new(ImMcu), fuse: self.mcu.clone() }),
            make_host: Arc::new(move |whole| Box::new(FragileHost { whole, fuse: fuse.clone() })),
            ..Parts::default()
        }
    }
}

impl Faults {
    /// The A/V MCU that breaks as is asked for here.
    pub fn av_mcu(&self) -> Box<dyn Mcu> {
        Box::new(FragileMcu { whole: Box::new(AvMcu::default()), fuse: self.voices.clone() })
    }
}

/// From now on a panic that was wanted is not printed.
pub fn hush() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload_as_str() != Some(WANTED) {
                print(panic);
            }
        }));
    });
}

#[derive(Clone)]
struct FragileHost {
    whole: FocusHost,
    fuse: Fuse,
}

impl Machine for FragileHost {
    type Event = focus_host::Event;
    type Action = focus_host::Action;

    fn handle(&mut self, now: Time, event: focus_host::Event, out: &mut Vec<focus_host::Action>) {
        self.whole.handle(now, event, out);
        self.fuse.burn();
    }

    fn deadline(&self) -> Option<Time> {
        self.whole.deadline()
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<focus_host::Action>) {
        self.whole.handle_timeout(now, out);
        self.fuse.burn();
    }
}

impl Restorable for FragileHost {
    fn copy(&self) -> Box<dyn Restorable> {
        Box::new(self.clone())
    }

    fn host(&self) -> &FocusHost {
        &self.whole
    }

    fn host_mut(&mut self) -> &mut FocusHost {
        &mut self.whole
    }
}

struct FragileMcu {
    whole: Box<dyn Mcu>,
    fuse: Fuse,
}

struct FragileConference {
    whole: Conference,
    fuse: Fuse,
}

impl Mcu for FragileMcu {
    fn media(&self) -> McuType {
        self.whole.media()
    }

    fn add_conference(&mut self, spec: ConferenceSpec, entropy: Entropy) -> Result<Conference, Refusal> {
        let fragile = |whole| Box::new(FragileConference { whole, fuse: self.fuse.clone() }) as Conference;
        self.whole.add_conference(spec, entropy).map(fragile)
    }
}

impl Machine for FragileConference {
    type Event = confab_mcu::Event;
    type Action = confab_mcu::Action;

    fn handle(&mut self, now: Time, event: confab_mcu::Event, out: &mut Vec<confab_mcu::Action>) {
        self.fuse.burn();
        self.whole.handle(now, event, out);
    }

    fn deadline(&self) -> Option<Time> {
        self.whole.deadline()
    }

    fn handle_timeout(&mut self, now: Time, out: &mut Vec<confab_mcu::Action>) {
        self.fuse.burn();
        self.whole.handle_timeout(now, out);
    }
}
