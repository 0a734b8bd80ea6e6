//! A publisher for trying it out: Conway's Life in four colours, on a torus.

use std::time::Duration;

use switchboard::{CloseReason, Closing, Failure, TimerId};
use switchboard_websocket::{Handler, Message, Peer};

use crate::common::note;
use crate::stage::KEY;

const WIDTH: u16 = 128;
const HEIGHT: u16 = 72;
const CELLS: usize = WIDTH as usize * HEIGHT as usize;

/// The picture, and the WebSocket client that publishes it.
///
/// A frame is its kind, the time in ms, the checksum of the whole picture with it, width and height, all big-endian.
/// Then a key frame has a byte a cell, row by row; another one each cell that changes: where (2 bytes), and to what.
pub(crate) struct Demo {
    period: Duration,
    key_every: u32,
    frames: u32,
    /// 0 is dead, 1 to 4 are colours.
    cells: Vec<u8>,
    next: Vec<u8>,
}

impl Demo {
    /// So many frames a second; each `key_every`th is a key frame.
    pub(crate) fn new(rate: u32, key_every: u32) -> Self {
        let period = Duration::from_secs(1) / rate;
        Self { period, key_every, frames: 0, cells: vec![0; CELLS], next: vec![0; CELLS] }
    }

    /// The next generation, into `next`; now and then somebody comes from nowhere.
    fn step(&mut self, random: u32) {
        for (at, next) in self.next.iter_mut().enumerate() {
            *next = fate(self.cells[at], neighbours(at).map(|at| self.cells[at]));
        }
        if self.frames.is_multiple_of(8) || self.frames == 0 {
            let born = if self.frames == 0 { CELLS / 5 } else { 12 };
            let mut seed = random;
            for _ in 0..born {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let spread = if self.frames == 0 {
                    seed >> 8
                } else {
                    (random >> 8) + (seed >> 20) % 6 + (seed >> 24) % 6 * u32::from(WIDTH)
                };
                self.next[spread as usize % CELLS] = colour(seed >> 16);
            }
        }
    }

    /// The frame that makes `cells` into `next`.
    fn frame(&self, millis: u32) -> Vec<u8> {
        let is_key = self.frames.is_multiple_of(self.key_every);
        let mut frame = vec![if is_key { KEY } else { 0 }];
        frame.extend(millis.to_be_bytes());
        frame.extend(checksum(&self.next).to_be_bytes());
        frame.extend([WIDTH.to_be_bytes(), HEIGHT.to_be_bytes()].as_flattened());
        if is_key {
            frame.extend(&self.next);
            return frame;
        }
        for (at, (old, new)) in (0_u16..).zip(self.cells.iter().zip(&self.next)) {
            if old != new {
                let [high, low] = at.to_be_bytes();
                frame.extend([high, low, *new]);
            }
        }
        frame
    }

    fn publish(&mut self, peer: &mut Peer<'_, '_>) {
        if peer.has_room() {
            let random = peer.random_u32();
            self.step(random);
            let millis = peer.now().as_nanos() / 1_000_000;
            peer.binary(&self.frame(u32::try_from(millis & u64::from(u32::MAX)).unwrap_or(0)));
            std::mem::swap(&mut self.cells, &mut self.next);
            self.frames = self.frames.wrapping_add(1);
        }
        peer.set_timer(self.period);
    }
}

impl Handler for Demo {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.publish(peer);
        Ok(())
    }

    fn on_timer(&mut self, peer: &mut Peer<'_, '_>, _: TimerId) -> Result<(), Failure> {
        if peer.is_open() {
            self.publish(peer);
        }
        Ok(())
    }

    fn on_failed(&mut self, _: &mut Closing<'_>, cause: &CloseReason) {
        note(format_args!("error: the demonstration cannot publish: {cause}"));
    }

    fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

/// Who is around a cell: the picture's edges meet.
fn neighbours(at: usize) -> [usize; 8] {
    let (width, height) = (usize::from(WIDTH), usize::from(HEIGHT));
    let (x, y) = (at % width, at / width);
    let (left, right) = ((x + width - 1) % width, (x + 1) % width);
    let [up, same, down] = [(y + height - 1) % height, y, (y + 1) % height].map(|y| y * width);
    [up + left, up + x, up + right, same + left, same + right, down + left, down + x, down + right]
}

/// Who has two or three neighbours lives on; where there are three, one is born, of the colour that most of them have.
fn fate(cell: u8, around: [u8; 8]) -> u8 {
    let mut counts = [0_u8; 5];
    around.iter().for_each(|&cell| counts[usize::from(cell)] += 1);
    match (8 - counts[0], cell) {
        (2 | 3, 1..) => cell,
        (3, 0) => {
            let having = |count: u8| (1..=4).find(|&colour| counts[usize::from(colour)] >= count);
            // Three different ones have the fourth as their child.
            having(2).or_else(|| (1..=4).find(|&colour| counts[usize::from(colour)] == 0)).unwrap_or(0)
        }
        _ => 0,
    }
}

fn colour(random: u32) -> u8 {
    [1, 2, 3, 4][random as usize % 4]
}

/// FNV-1a, 32 bits.
fn checksum(cells: &[u8]) -> u32 {
    cells.iter().fold(0x811c_9dc5, |sum, &cell| (sum ^ u32::from(cell)).wrapping_mul(0x0100_0193))
}
