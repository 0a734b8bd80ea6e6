//! A compressor of messages (RFC 7692) that leaves nothing out that a peer may do.

use flate2::{Compress, Compression, FlushCompress, Status};

use crate::dice::Dice;

/// Compresses messages, each in another way: any level, in one block or several, flushed in any way, with the last block
/// marked as the last one, by itself or behind those before.
#[derive(Debug)]
pub struct Deflater {
    stream: Compress,
    takeover: bool,
    /// What was said before, as far as a window goes: a new beginning refers back to it.
    said: Vec<u8>,
}

impl Deflater {
    /// One that refers back to earlier messages, or does not.
    #[must_use]
    pub fn new(takeover: bool) -> Self {
        Self { stream: new(6), takeover, said: Vec::new() }
    }

    /// A message's payload.
    pub fn message(&mut self, dice: &mut Dice<'_>, plain: &[u8]) -> Vec<u8> {
        if !self.takeover || dice.one_in(4) {
            self.begin_anew(dice.below(10));
        }
        let (first, second) = plain.split_at(if dice.one_in(3) { dice.index(plain.len() + 1) } else { 0 });
        let flush = [FlushCompress::Partial, FlushCompress::Sync, FlushCompress::Full][dice.index(3)];
        let mut out = Vec::new();
        if !first.is_empty() {
            self.run(first, flush, &mut out);
        }
        if dice.one_in(5) {
            // RFC 7692 §7.2.3.4: the last block says so, and an empty one follows, without its last four octets.
            self.run(second, FlushCompress::Finish, &mut out);
            out.push(0);
            self.said.extend(plain);
            self.begin_anew(6);
            return out;
        }
        self.run(second, FlushCompress::Sync, &mut out);
        self.said.extend(plain);
        match out.strip_suffix(&[0x00, 0x00, 0xff, 0xff]) {
            Some([]) | None => vec![0], // nothing new to flush: an empty block, without its last four octets
            Some(payload) => payload.to_vec(),
        }
    }

    fn begin_anew(&mut self, level: u32) {
        self.stream = new(level);
        if self.takeover && !self.said.is_empty() {
            let window = &self.said[self.said.len().saturating_sub(32 * 1024)..];
            self.stream.set_dictionary(window).expect("a raw stream at its beginning");
        }
    }

    fn run(&mut self, mut input: &[u8], flush: FlushCompress, out: &mut Vec<u8>) {
        loop {
            out.reserve(input.len() + 100);
            let before = self.stream.total_in();
            let status = self.stream.compress_vec(input, out, flush).expect("it compresses anything");
            input = &input[usize::try_from(self.stream.total_in() - before).expect("what it was given")..];
            if status == Status::StreamEnd || (input.is_empty() && out.len() < out.capacity()) {
                return;
            }
        }
    }
}

fn new(level: u32) -> Compress {
    Compress::new(Compression::new(level), false)
}
