//! More than anybody should keep.

use super::Check;
use super::play::play_part;
use super::script::Step;
use crate::Protocol;
use crate::testkit::trial::{Outcome, Trial, demand, with_context};

/// What the runtime and the kit themselves take beside [`Limits::loop_memory`](crate::Limits::loop_memory).
const MARGIN: usize = 1 << 20;
/// No flood is longer.
const LONGEST: usize = 16 << 20;
/// How many times as long its answers may be.
const ANSWERS: usize = 4;
/// How long the flood is where the first byte kept is too much.
const ENOUGH_TO_BE_FULL: usize = 256 << 10;
/// Bytes that come at once, at least.
const BLOCK: usize = 4096;

/// A way to be flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Read,
    Unread,
    /// Others hold all the memory of the loop: whatever the protocol declares beyond what it had is too much.
    Full,
}

impl How {
    fn in_words(self) -> &'static str {
        match self {
            Self::Read => "by a peer that reads the answers",
            Self::Unread => "by a peer that does not read the answers",
            Self::Full => "by a peer that reads the answers, while others hold all the memory of the loop",
        }
    }
}

impl<P: Protocol, F: FnMut() -> P> Check<F> {
    /// Floods the connection after all that comes before the script's last input.
    pub(super) fn flood(&mut self) {
        let last = self.script.steps.iter().rposition(|step| matches!(step, Step::Send(_)));
        let input = self.script.inputs().last().unwrap_or_default().to_vec();
        let mut before = self.script.clone();
        before.steps.truncate(last.unwrap_or(before.steps.len()));
        if before.steps.iter().any(|step| matches!(step, Step::Eof)) {
            return;
        }
        let mut floods = vec![input.clone(), vec![0], vec![b'\n'], vec![0xff]];
        floods.extend(input.first().map(|&byte| vec![byte]));
        floods.retain(|piece| !piece.is_empty());
        for piece in floods {
            let shown = String::from_utf8_lossy(&piece[..piece.len().min(40)]).escape_debug().to_string();
            for how in [How::Read, How::Unread, How::Full] {
                with_context(
                    || self.pour(&before, &piece, how),
                    |text| format!("{text}\n  delivery: a flood of \"{shown}\" {}", how.in_words()),
                );
            }
        }
    }

    fn pour(&mut self, before: &super::Script, piece: &[u8], how: How) {
        let bound = before.limits.loop_memory + MARGIN;
        // Of what is not measured only what is declared can be seen.
        let enough = if before.measure.is_some() { bound } else { before.limits.loop_memory };
        let amount = if how == How::Full { ENOUGH_TO_BE_FULL } else { (2 * enough).min(LONGEST) };
        let mut protocol = Some((self.protocol)());
        let mut callbacks = 0;
        let mut run = || {
            let Some(protocol) = protocol.take() else { return };
            callbacks = pour(play_part(protocol, before), piece, how, amount);
        };
        let allocated = match before.measure {
            Some(measure) => measure(&mut run),
            None => {
                run();
                0
            }
        };
        self.done.runs += 1;
        self.done.callbacks += callbacks;
        demand!(
            allocated <= bound,
            "it grows without bound: {allocated} bytes were allocated at one time, and a flood of {amount} bytes \
             must not take more than {bound} (loop_memory and a MiB)"
        );
    }
}

/// Nobody sends on and on without asking for room.
pub(super) fn check_room(outcome: &Outcome) {
    demand!(
        !outcome.overflowed,
        "it goes on sending although has_room() says no: {} (if a single message is that large, give the script \
         a larger send_buffer)",
        outcome.close_reason
    );
}

/// Pours at most `amount` bytes into a connection, as long as they are read.
fn pour(mut trial: Trial, piece: &[u8], how: How, amount: usize) -> u64 {
    let block = piece.repeat(BLOCK.div_ceil(piece.len()));
    let (mut poured, mut answered) = (0, 0);
    match how {
        How::Read => {}
        How::Unread => trial.set_window(0),
        How::Full => trial.watch().fill_memory(),
    }
    while poured < amount
        && answered < ANSWERS * amount
        && trial.unread() == 0
        && trial.is_open()
        && !trial.watch().has_ended()
    {
        trial.feed(&block);
        answered += trial.sent().len();
        trial.forget();
        poured += block.len();
    }
    trial.be_silent();
    let callbacks = trial.watch().callbacks();
    check_room(&trial.end());
    callbacks
}
