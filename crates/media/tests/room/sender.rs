//! One end of a call: what it has agreed to, and the tone it sends.

use std::{net::SocketAddr, time::Duration};

use confab_media::{
    LegSpec,
    codec::Encoder,
    rtp::Header,
    session::{Codec, Format, PersonId, StreamSpec, TransportSpec},
};

/// What speaks.
pub struct Sender {
    pub codec: Codec,
    pub number: u8,
    pub hz: f32,
    pub talks: bool,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub address: SocketAddr,
    /// How much sound a packet of its holds, in units of 10 ms.
    pub tens: u32,
    phase: f64,
    pub encoder: Encoder,
}

pub fn payload_type(codec: Codec) -> u8 {
    match codec {
        Codec::Pcmu => 0,
        Codec::Pcma => 8,
        Codec::G722 => 9,
        _ => 111,
    }
}

/// The description of a telephone that speaks `codec`, at the `n`th address.
pub fn spec(n: u64, person: u64, codec: Codec) -> LegSpec {
    let format = |codec| Format { number: payload_type(codec), codec };
    let address = address(n);
    LegSpec {
        person: PersonId(person),
        audio: Some(StreamSpec {
            send: format(codec),
            receive: [Codec::Pcmu, Codec::Pcma, Codec::G722, Codec::Opus].map(format).to_vec(),
            receive_events: Some(101),
            packet_time: Duration::from_millis(20),
            we_send: true,
            we_receive: true,
            ssrc: 0x5000 + n as u32,
            protection: None,
            transport: TransportSpec::Plain {
                rtp: address,
                rtcp: SocketAddr::new(address.ip(), address.port() + 1),
            },
        }),
        video: None,
    }
}

pub fn address(n: u64) -> SocketAddr {
    format!("192.0.2.{}:{}", 1 + n / 1000, 20_000 + 2 * (n % 1000)).parse().unwrap()
}

impl Sender {
    /// The `n`th; its tone is 300 Hz and 50 more for each number.
    pub fn new(n: u64, codec: Codec) -> Sender {
        Sender {
            codec,
            number: payload_type(codec),
            hz: 300.0 + 50.0 * n as f32,
            talks: true,
            sequence: 65_000 + n as u16,
            timestamp: u32::MAX - 5000 * n as u32,
            ssrc: 100 + n as u32,
            address: address(n),
            tens: 2,
            phase: 0.0,
            encoder: Encoder::new(codec).unwrap(),
        }
    }

    /// Its next packet.
    pub fn speak(&mut self) -> Vec<u8> {
        let header = Header {
            marker: false,
            payload_type: self.number,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        let mut packet = vec![0; 12];
        header.write(&[], &mut packet);
        let rate = self.codec.rate().unwrap();
        let hz = rate.frame() as f64 * 50.0;
        let mut payload = vec![0; 1000];
        let mut filled = 0;
        if let Encoder::G711(law) = self.encoder {
            let sound: Vec<i16> = (0..self.tens * 80).map(|_| self.sample(hz)).collect();
            law.encode(&sound, &mut payload);
            filled = sound.len();
        }
        while filled == 0 || filled < self.tens as usize / 2 * 160 && self.codec == Codec::G722 {
            let sound: Vec<i16> = (0..rate.frame()).map(|_| self.sample(hz)).collect();
            filled += self.encoder.encode(&sound, &mut payload[filled..]);
        }
        payload.truncate(filled);
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        self.timestamp = self.timestamp.wrapping_add(self.tens * self.codec.clock_step() / 2);
        packet
    }

    fn sample(&mut self, rate: f64) -> i16 {
        self.phase += f64::from(self.hz) / rate;
        if self.talks { (8000.0 * (self.phase * std::f64::consts::TAU).sin()) as i16 } else { 0 }
    }
}
