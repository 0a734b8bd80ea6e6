//! The same conversation, cut into other pieces.

use crate::testkit::Operation;

/// The operations with all bytes that arrive without anything else in between arriving at once, the half-close with
/// the last of them.
pub(super) fn merged(operations: &[Operation]) -> Vec<Operation> {
    regrouped(operations, |bytes, eof, out| {
        out.push(if eof { Operation::FeedEof(bytes) } else { Operation::Feed(bytes) });
    })
}

/// The operations with the bytes arriving in many small pieces; `seed` chooses them.
pub(super) fn cut(operations: &[Operation], seed: &[u8]) -> Vec<Operation> {
    let mut random = Random::new(seed);
    regrouped(operations, |bytes, eof, out| {
        // Long ones in longer pieces, so that a run stays short.
        let scale = bytes.len() / 256 + 1;
        let mut rest = &bytes[..];
        while rest.len() > 1 {
            let size = [1, 1, 1, 2, 3, 5, 8, 40][random.below(8)] * scale;
            let (piece, after) = rest.split_at(size.min(rest.len() - 1));
            out.push(Operation::Feed(piece.to_vec()));
            rest = after;
        }
        match (eof, random.below(2)) {
            (true, 0) => out.push(Operation::FeedEof(rest.to_vec())),
            (true, _) => out.extend([Operation::Feed(rest.to_vec()), Operation::Eof]),
            (false, _) => out.push(Operation::Feed(rest.to_vec())),
        }
    })
}

/// Hands each run of bytes, and whether a half-close is behind them, to `emit`; everything else stays as it is.
///
/// Left alone is what arrives while the peer does not take all output (a protocol that waits for it may stop
/// anywhere), and what arrives together with timers that are late (who comes first is then a matter of chance).
fn regrouped(operations: &[Operation], mut emit: impl FnMut(Vec<u8>, bool, &mut Vec<Operation>)) -> Vec<Operation> {
    let mut out = Vec::new();
    let mut pending = Vec::new();
    let (mut takes_all, mut jumped) = (true, false);
    for operation in operations {
        let free = takes_all && !jumped;
        match operation {
            Operation::Sent(_) | Operation::Closed(_) | Operation::Gap => continue,
            Operation::Feed(bytes) if free => {
                pending.extend_from_slice(bytes);
                continue;
            }
            Operation::FeedEof(bytes) if free => {
                pending.extend_from_slice(bytes);
                emit(std::mem::take(&mut pending), true, &mut out);
                continue;
            }
            Operation::Eof if free && !pending.is_empty() => {
                emit(std::mem::take(&mut pending), true, &mut out);
                continue;
            }
            _ => {}
        }
        if !pending.is_empty() {
            emit(std::mem::take(&mut pending), false, &mut out);
        }
        jumped = match operation {
            Operation::Jump(_) => true,
            Operation::CutReads(_) | Operation::CutWrites(_) => jumped, // the loop has no turn for them
            _ => false,
        };
        if let Operation::Window(window) = operation {
            takes_all = *window == usize::MAX;
        }
        out.push(operation.clone());
    }
    if !pending.is_empty() {
        emit(pending, false, &mut out);
    }
    out
}

/// Marsaglia's xorshift64, seeded with an FNV-1a hash: the same pieces for the same bytes, always.
struct Random(u64);

impl Random {
    fn new(seed: &[u8]) -> Self {
        let hash = seed
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Self(hash | 1)
    }

    fn below(&mut self, bound: u8) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::from(self.0.to_le_bytes()[4] % bound)
    }
}
