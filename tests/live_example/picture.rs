//! The picture as `examples/live/demo.rs` describes it, put together by other code.

/// What a viewer has, or a publisher makes.
#[derive(Default)]
pub(crate) struct Picture {
    width: u16,
    height: u16,
    pub(crate) cells: Vec<u8>,
}

/// What is to be known of a frame that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) number: u64,
    pub(crate) is_key: bool,
}

impl Picture {
    pub(crate) fn new(width: u16, height: u16) -> Self {
        Self { width, height, cells: vec![0; usize::from(width) * usize::from(height)] }
    }

    /// Puts a frame into it, and checks what has come out.
    pub(crate) fn apply(&mut self, frame: &[u8]) -> Frame {
        let (&kind, rest) = frame.split_first().expect("a kind");
        let (number, rest) = rest.split_first_chunk().expect("a number");
        let (_millis, rest) = rest.split_first_chunk::<4>().expect("a time");
        let (checksum, rest) = rest.split_first_chunk().expect("a checksum");
        let (width, rest) = rest.split_first_chunk().expect("a width");
        let (height, rest) = rest.split_first_chunk().expect("a height");
        let is_key = kind == 1;
        if is_key {
            *self = Self::new(u16::from_be_bytes(*width), u16::from_be_bytes(*height));
            self.cells.copy_from_slice(rest);
        } else {
            assert_eq!(kind, 0);
            assert!(!self.cells.is_empty(), "a change comes behind a key frame");
            for change in rest.chunks(3) {
                let &[high, low, cell] = change else { panic!("half a change") };
                self.cells[usize::from(u16::from_be_bytes([high, low]))] = cell;
            }
        }
        let number = u64::from_be_bytes(*number);
        assert_eq!(checksum_of(&self.cells), u32::from_be_bytes(*checksum), "the picture of frame {number}");
        Frame { number, is_key }
    }

    /// Changes some cells, others for each `seed`, and gives the frame that says so.
    pub(crate) fn change(&mut self, seed: usize, is_key: bool) -> Vec<u8> {
        let mut changes = Vec::new();
        for step in 0..1 + seed % 7 {
            let at = (seed * 131 + step * 37) % self.cells.len();
            self.cells[at] = u8::try_from((seed + step) % 5).unwrap();
            changes.extend(u16::try_from(at).unwrap().to_be_bytes());
            changes.push(self.cells[at]);
        }
        let mut frame = vec![u8::from(is_key), 0, 0, 0, 0];
        frame.extend(checksum_of(&self.cells).to_be_bytes());
        frame.extend(self.width.to_be_bytes());
        frame.extend(self.height.to_be_bytes());
        frame.extend(if is_key { &self.cells } else { &changes });
        frame
    }
}

/// FNV-1a of 32 bits, which FNV's authors give as: offset basis 2166136261, prime 16777619.
fn checksum_of(cells: &[u8]) -> u32 {
    let mut sum: u32 = 2_166_136_261;
    for &cell in cells {
        sum = (sum ^ u32::from(cell)).wrapping_mul(16_777_619);
    }
    sum
}

#[test]
fn the_checksum_is_the_one_that_it_is_said_to_be() {
    assert_eq!(checksum_of(b""), 0x811c_9dc5);
    assert_eq!(checksum_of(b"foobar"), 0xbf9c_f968);
}
