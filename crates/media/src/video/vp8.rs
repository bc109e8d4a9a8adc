//! The descriptor before each payload of VP8 (RFC 7741 §4.2). Its numbers of pictures are counted on for each
//! receiver, whoever is shown: a jump would look like loss.

/// Where what stands in a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// Where the payload begins.
    pub len: usize,
    /// Whether a picture begins there: the first partition of one.
    pub begins: bool,
    /// Where the number of the picture stands, and the bits it has.
    picture: Option<(usize, u16)>,
    /// Where the number of the lowest layer's picture stands (TL0PICIDX).
    layer: Option<usize>,
}

/// Numbers of seven bits, and of fifteen.
const SHORT: u16 = 0x007f;
const LONG: u16 = 0x7fff;

impl Descriptor {
    /// Reads a descriptor: any bytes at all.
    pub fn read(payload: &[u8]) -> Option<Descriptor> {
        let first = *payload.first()?;
        let begins = first & 0x10 != 0 && first & 0x07 == 0;
        let mut read = Descriptor { len: 1, begins, picture: None, layer: None };
        if first & 0x80 != 0 {
            let extension = *payload.get(1)?;
            read.len = 2;
            if extension & 0x80 != 0 {
                let bits = if payload.get(2)? & 0x80 != 0 { LONG } else { SHORT };
                read.picture = Some((2, bits));
                read.len += 1 + usize::from(bits == LONG);
            }
            if extension & 0x40 != 0 {
                read.layer = Some(read.len);
                read.len += 1;
            }
            read.len += usize::from(extension & 0x30 != 0);
        }
        (read.len <= payload.len()).then_some(read)
    }

    fn picture(&self, payload: &[u8]) -> Option<u16> {
        let (at, bits) = self.picture?;
        let low = u16::from(payload[at]);
        Some(if bits == LONG { (low << 8 | u16::from(payload[at + 1])) & LONG } else { low & SHORT })
    }
}

/// How the pictures are numbered that one receiver is sent.
#[derive(Debug, Default)]
pub(super) struct Numbering {
    picture_shift: u16,
    layer_shift: u8,
    /// The latest that were sent.
    picture: Option<u16>,
    layer: Option<u8>,
}

impl Numbering {
    /// Somebody else is shown from this payload on: it has the next numbers.
    pub fn begin(&mut self, payload: &[u8]) {
        let Some(read) = Descriptor::read(payload) else { return };
        if let Some((last, own)) = self.picture.zip(read.picture(payload)) {
            self.picture_shift = last.wrapping_add(1).wrapping_sub(own);
        }
        if let Some((last, own)) = self.layer.zip(read.layer.map(|at| payload[at])) {
            self.layer_shift = last.wrapping_add(1).wrapping_sub(own);
        }
    }

    /// Numbers a payload; `latest`: it is the newest of all that were sent.
    pub fn renumber(&mut self, payload: &mut [u8], latest: bool) {
        let Some(read) = Descriptor::read(payload) else { return };
        if let Some(((at, bits), own)) = read.picture.zip(read.picture(payload)) {
            let new = own.wrapping_add(self.picture_shift) & bits;
            if bits == LONG {
                payload[at..at + 2].copy_from_slice(&(new | !LONG).to_be_bytes());
            } else {
                payload[at] = new as u8;
            }
            self.picture = if latest { Some(new) } else { self.picture };
        }
        if let Some(at) = read.layer {
            let new = payload[at].wrapping_add(self.layer_shift);
            payload[at] = new;
            self.layer = if latest { Some(new) } else { self.layer };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A payload with a number of 7 or 15 bits and one of its layer.
    fn payload(picture: u16, long: bool, layer: Option<u8>) -> Vec<u8> {
        let mut bytes = vec![0x90, 0x80 | if layer.is_some() { 0x60 } else { 0 }];
        if long {
            bytes.extend((picture | 0x8000).to_be_bytes());
        } else {
            bytes.push(picture as u8);
        }
        bytes.extend(layer.into_iter().flat_map(|layer| [layer, 0x20]));
        bytes.push(0x50);
        bytes
    }

    fn sent(numbering: &mut Numbering, mut payload: Vec<u8>, latest: bool) -> (Option<u16>, Option<u8>) {
        let before = payload.clone();
        numbering.renumber(&mut payload, latest);
        let read = Descriptor::read(&payload).unwrap();
        assert_eq!((Some(read), payload.len()), (Descriptor::read(&before), before.len()), "nothing moves");
        assert_eq!(payload.last(), Some(&0x50));
        (read.picture(&payload), read.layer.map(|at| payload[at]))
    }

    #[test]
    fn pictures_are_numbered_on_whoever_is_shown() {
        let mut numbering = Numbering::default();
        for (picture, layer) in [(32_766, 254), (32_767, 255), (0, 0)] {
            let expected = (Some(picture), Some(layer));
            assert_eq!(sent(&mut numbering, payload(picture, true, Some(layer)), true), expected);
        }
        let other = payload(900, true, Some(77));
        numbering.begin(&other);
        assert_eq!(sent(&mut numbering, other, true), (Some(1), Some(1)));
        assert_eq!(sent(&mut numbering, payload(902, true, Some(78)), true), (Some(3), Some(2)));
        assert_eq!(sent(&mut numbering, payload(901, true, Some(77)), false), (Some(2), Some(1)), "late");
        // One whose numbers are short, and one who has none of layers.
        numbering.begin(&payload(125, false, None));
        let short: Vec<_> =
            (125..130).map(|own| sent(&mut numbering, payload(own & 0x7f, false, None), true).0).collect();
        assert_eq!(short, [4, 5, 6, 7, 8].map(Some));
        // One who has none at all changes nothing; then the first again.
        let none = vec![0x10, 0x50];
        numbering.begin(&none);
        let mut plain = none.clone();
        numbering.renumber(&mut plain, true);
        assert_eq!(plain, none);
        numbering.begin(&payload(32_700, true, Some(9)));
        assert_eq!(sent(&mut numbering, payload(32_700, true, Some(9)), true), (Some(9), Some(3)));
    }

    #[test]
    fn any_bytes_are_a_descriptor_or_none() {
        let mut numbering = Numbering { picture_shift: 5, layer_shift: 6, ..Numbering::default() };
        for first in 0..=255 {
            for second in 0..=255 {
                for len in 0..6 {
                    let mut payload = [first, second, 0xff, 0x80, 0x01, 0xff];
                    numbering.begin(&payload[..len]);
                    numbering.renumber(&mut payload[..len], true);
                }
            }
        }
    }
}
