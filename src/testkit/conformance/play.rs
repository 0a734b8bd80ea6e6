//! One run of a script, delivered in one way.

use std::time::Duration;

use super::compare;
use super::delivery::{Cuts, Delivery, Ending, How, Reads, TIGHT, Taken};
use super::script::{Script, Step};
use crate::Protocol;
use crate::testkit::trial::{Outcome, Trial, fail};

/// How long a loop that drains where the conversation breaks off waits for its protocol.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// What a run came to.
pub(super) struct Run {
    pub(super) outcome: Outcome,
    /// How much had been sent, and how many notes made, when it broke off or ended.
    pub(super) sent_before: usize,
    pub(super) notes_before: usize,
    pub(super) callbacks: u64,
    /// How often bytes were read straight into what it lent.
    pub(super) fills: u64,
}

/// Plays `script` with `protocol`, delivered as `delivery` says.
pub(super) fn play(protocol: impl Protocol, script: &Script, delivery: &Delivery) -> Run {
    let trial = begin(protocol, script, delivery);
    let (sent_before, notes_before, callbacks) = (trial.sent().len(), trial.notes(), trial.watch().callbacks());
    let fills = trial.watch().fills();
    let outcome = match delivery.ending {
        Some(Ending { how, .. }) => end(trial, how),
        None => trial.end(),
    };
    Run { outcome, sent_before, notes_before, callbacks, fills }
}

/// Plays `script` with `protocol`, and leaves what comes then to the caller.
pub(super) fn play_part(protocol: impl Protocol, script: &Script) -> Trial {
    begin(protocol, script, &Delivery::default())
}

fn begin(protocol: impl Protocol, script: &Script, delivery: &Delivery) -> Trial {
    let window = match delivery.taken {
        Taken::All | Taken::Bytes => usize::MAX,
        Taken::UpTo(bytes) => bytes,
        Taken::AfterEachStep => 0,
    };
    let mut limits = script.limits.clone();
    if delivery.tight {
        (limits.high_water, limits.low_water) = (TIGHT, TIGHT / 4);
    }
    let trial = Trial::prepared(protocol, limits, window, |peer| {
        /// As many reads or writes are cut: each costs two turns, and too many at one time are a spin.
        const CUT: usize = 2_000;
        match delivery.reads {
            Reads::Whole => {}
            Reads::Bytes => peer.cut_reads([1; CUT]),
            Reads::Stutter => peer.cut_reads([1, 0].repeat(CUT)),
        }
        if let Taken::Bytes = delivery.taken {
            peer.cut_writes([1, 0].repeat(CUT));
        }
    });
    if delivery.copied {
        trial.watch().copy_all();
    }
    let mut player = Player { trial, script, delivery, fed: 0, demanded: 0 };
    player.play();
    player.trial
}

/// Breaks off, and sees the run to its end.
fn end(mut trial: Trial, how: How) -> Outcome {
    match how {
        How::Eof => trial.eof(),
        How::EofAtOnce => {} // came with the bytes
        How::Reset => trial.reset(),
        How::Shutdown => trial.shutdown(PATIENCE),
        How::Silence => trial.be_silent(),
    }
    trial.end()
}

struct Player<'a> {
    trial: Trial,
    script: &'a Script,
    delivery: &'a Delivery,
    /// Bytes of input sent.
    fed: usize,
    /// Bytes of output that the script has demanded.
    demanded: usize,
}

impl Player<'_> {
    fn play(&mut self) {
        self.take_rest();
        let script = self.script;
        for step in &script.steps {
            if self.is_over() {
                return;
            }
            if let Taken::AfterEachStep = self.delivery.taken
                && !matches!(step, Step::Advance(_) | Step::Expect(_))
            {
                self.trial.set_window(0);
            }
            match step {
                Step::Send(bytes) => self.send(bytes),
                Step::Expect(bytes) => self.expect(bytes),
                Step::Advance(by) => self.advance(*by),
                Step::Post(message) => drop(self.trial.post(message())),
                Step::Eof => self.trial.eof(),
                Step::Shutdown(timeout) => self.trial.shutdown(*timeout),
            }
            self.take_rest();
        }
    }

    /// Time passes, and at each deadline on the way the peer takes what it is to take.
    fn advance(&mut self, by: Duration) {
        let until = self.trial.elapsed() + by;
        while self.trial.advance_to_next_deadline(until.saturating_sub(self.trial.elapsed())) {
            self.take_rest();
        }
        self.trial.advance(until.saturating_sub(self.trial.elapsed()));
    }

    /// Whether the conversation is to break off here.
    fn is_over(&self) -> bool {
        self.delivery.ending.is_some_and(|ending| ending.after <= self.fed)
    }

    /// A step has come to rest: the peer takes what it did not take at once.
    fn take_rest(&mut self) {
        match self.delivery.taken {
            Taken::AfterEachStep => self.trial.set_window(usize::MAX),
            Taken::UpTo(bytes) if self.trial.sent().len() == bytes => self.trial.set_window(usize::MAX),
            _ => {}
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        if self.fed == 0
            && let Some(reason) = self.trial.close_reason()
        {
            fail(format!(
                "it ends before the script's first input (does it agree with the script's limits?): {reason}"
            ));
        }
        let start = self.fed;
        let end = match self.delivery.ending {
            Some(Ending { after, .. }) => bytes.len().min(after - start),
            None => bytes.len(),
        };
        self.fed += end;
        if let Some(Ending { after, how: How::EofAtOnce }) = self.delivery.ending
            && self.fed == after
        {
            self.trial.feed_eof(&bytes[..end]);
            return;
        }
        let mut from = 0;
        let mut piece = |player: &mut Self, to: usize| {
            if player.delivery.pauses && from > 0 {
                player.trial.advance(player.script.pause);
            }
            player.trial.feed(&bytes[from..to]);
            from = to;
        };
        match &self.delivery.cuts {
            Cuts::Nowhere => {}
            Cuts::EachByte => (1..end).for_each(|to| piece(self, to)),
            Cuts::At(places) => {
                let inside = places.iter().filter(|&&place| place > start && place < start + end);
                inside.for_each(|place| piece(self, place - start));
            }
        }
        piece(self, end);
    }

    /// What the script's author says is the judge of the whole conversation; all else is compared with that.
    fn expect(&mut self, bytes: &[u8]) {
        let sent = &self.trial.sent()[self.demanded.min(self.trial.sent().len())..];
        if let Some(difference) = compare::bytes(bytes, sent) {
            fail(format!("it does not send what the script expects after byte {}\n{difference}", self.fed));
        }
        self.demanded += bytes.len();
    }
}
