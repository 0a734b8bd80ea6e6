//! The ways in which one conversation can reach a protocol.

use std::fmt;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Pairs of split points are all tried up to this many.
const PAIRS: usize = 4_000;
/// So are places of one cut; of a longer input as many, evenly.
const PLACES: usize = 2_000;

/// The [`high_water`](crate::Limits::high_water) where there is hardly room for output.
pub(super) const TIGHT: usize = 32;

/// How a conversation is delivered: how its input is cut and read, how its output is taken, where
/// it breaks off.
#[derive(Clone, Debug, Default)]
pub(super) struct Delivery {
    pub(super) cuts: Cuts,
    /// Whether time passes between the pieces.
    pub(super) pauses: bool,
    pub(super) reads: Reads,
    /// Whether nothing is read straight into what the protocol lends.
    pub(super) copied: bool,
    pub(super) taken: Taken,
    /// Whether there is hardly room for output, so that `has_room` often says no.
    pub(super) tight: bool,
    pub(super) ending: Option<Ending>,
}

/// Where the input is cut, in bytes from the beginning of the conversation.
#[derive(Clone, Debug, Default)]
pub(super) enum Cuts {
    #[default]
    Nowhere,
    At(Vec<usize>),
    EachByte,
}

/// What the system's reads give.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Reads {
    #[default]
    Whole,
    /// One byte.
    Bytes,
    /// One byte, then `WouldBlock`, and so on.
    Stutter,
}

/// What the peer takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Taken {
    #[default]
    All,
    /// This many bytes, and the rest when all that came of the step has come to rest.
    UpTo(usize),
    /// Nothing until all that came of a step has come to rest.
    AfterEachStep,
    /// One byte a write, with `WouldBlock` in between.
    Bytes,
}

/// The conversation breaks off when `after` bytes of input have been sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) after: usize,
    pub(super) how: How,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    Eof,
    /// In one event with the bytes before it.
    EofAtOnce,
    Reset,
    Shutdown,
    /// Only time passes.
    Silence,
}

impl Delivery {
    /// Breaks off after `after` bytes.
    pub(super) fn ending(after: usize, how: How) -> Self {
        Self { ending: Some(Ending { after, how }), ..Self::default() }
    }

    /// Of those the ones in which input can be read straight into what a protocol lends, with none that is.
    pub(super) fn copied_ones(input: usize) -> impl Iterator<Item = Self> {
        let cuts = [Cuts::EachByte].into_iter().chain(places(1, input).map(|at| Cuts::At(vec![at])));
        cuts.map(|cuts| Self { cuts, copied: true, ..Self::default() })
    }

    /// All that must come to the same as the conversation in one piece each.
    pub(super) fn equal_ones(input: usize, output: usize) -> impl Iterator<Item = Self> {
        let whole = [Cuts::EachByte].into_iter();
        let single = places(1, input).map(|at| Cuts::At(vec![at]));
        let double = pairs(input).map(|(first, second)| Cuts::At(vec![first, second]));
        let cut = whole.clone().chain(single.clone()).chain(double);
        let paused = whole.chain(single).map(|cuts| Self { cuts, pauses: true, ..Self::default() });
        let reads = [Reads::Bytes, Reads::Stutter].map(|reads| Self { reads, ..Self::default() });
        let waiting = [Taken::AfterEachStep, Taken::Bytes];
        let taken = waiting.into_iter().chain(places(0, output).map(Taken::UpTo));
        let taken = taken.flat_map(|taken| [false, true].map(|tight| Self { taken, tight, ..Self::default() }));
        let both = waiting.map(|taken| Self { cuts: Cuts::EachByte, taken, ..Self::default() });
        let tight = waiting.map(|taken| Self { cuts: Cuts::EachByte, taken, tight: true, ..Self::default() });
        cut.map(|cuts| Self { cuts, ..Self::default() })
            .chain(paused)
            .chain(reads)
            .chain(taken)
            .chain(both)
            .chain(tight)
    }
}

/// The places from `first` to before `end`: all, or some thousands of them.
pub(super) fn places(first: usize, end: usize) -> impl Iterator<Item = usize> + Clone {
    let count = end.saturating_sub(first);
    let tried = count.min(PLACES);
    (0..tried).map(move |index| first + index * count / tried)
}

/// Pairs of split points: all, or a sample that is the same in every run.
fn pairs(input: usize) -> Box<dyn Iterator<Item = (usize, usize)>> {
    let points = input.saturating_sub(1);
    if points * points.saturating_sub(1) / 2 <= PAIRS {
        return Box::new((1..input).flat_map(move |first| (first + 1..input).map(move |second| (first, second))));
    }
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let mut point = move || 1 + usize::try_from(random.next_u64() % points as u64).unwrap_or(0);
    Box::new((0..PAIRS).map(move |_| {
        let (one, other) = (point(), point());
        (one.min(other), one.max(other))
    }))
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cuts {
            Cuts::Nowhere => f.write_str("each input in one piece")?,
            Cuts::EachByte => f.write_str("the input one byte at a time")?,
            Cuts::At(places) => {
                let places = places.iter().map(|place| format!("byte {place}"));
                write!(f, "the input cut after {}", places.collect::<Vec<_>>().join(" and "))?;
            }
        }
        if self.pauses {
            f.write_str(", time passing between the pieces")?;
        }
        if self.tight {
            write!(f, ", a high_water of {TIGHT}")?;
        }
        match self.reads {
            Reads::Whole => {}
            Reads::Bytes => f.write_str(", reads that give one byte each")?,
            Reads::Stutter => f.write_str(", reads that give one byte, then WouldBlock")?,
        }
        if self.copied {
            f.write_str(", what it lends to be read into not asked for")?;
        }
        match self.taken {
            Taken::All => {}
            Taken::UpTo(bytes) => write!(f, ", the peer taking {bytes} bytes and the rest later")?,
            Taken::AfterEachStep => f.write_str(", the peer taking nothing until each step has come to rest")?,
            Taken::Bytes => f.write_str(", writes that take one byte, then WouldBlock")?,
        }
        let Some(Ending { after, how }) = self.ending else { return Ok(()) };
        match how {
            How::Eof => write!(f, ", EOF after byte {after}, in an event of its own"),
            How::EofAtOnce => write!(f, ", EOF after byte {after}, in the event of the bytes before it"),
            How::Reset => write!(f, ", a reset after byte {after}"),
            How::Shutdown => write!(f, ", the loop draining after byte {after}"),
            How::Silence => write!(f, ", silence after byte {after}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_places_are_all_tried_and_many_evenly() {
        assert!(places(1, 6).eq(1..6));
        assert_eq!(places(3, 3).count(), 0);
        let many = places(0, 10 * PLACES).collect::<Vec<_>>();
        assert_eq!((many.len(), many[0], many[1], many[PLACES - 1]), (PLACES, 0, 10, 10 * (PLACES - 1)));
    }

    #[test]
    fn few_pairs_are_all_tried_and_many_by_a_sample_that_stays() {
        assert_eq!(pairs(4).collect::<Vec<_>>(), [(1, 2), (1, 3), (2, 3)]);
        assert_eq!((pairs(0).count(), pairs(1).count(), pairs(2).count()), (0, 0, 0));
        let many = pairs(1_000).collect::<Vec<_>>();
        assert_eq!(many.len(), PAIRS);
        assert!(many.iter().all(|&(first, second)| 1 <= first && first <= second && second < 1_000));
        assert!(many.iter().any(|&(_, second)| second == 999) && many.iter().any(|&(first, _)| first == 1));
        assert!(pairs(1_000).eq(many));
    }

    #[test]
    fn a_delivery_is_told_in_words() {
        let delivery = Delivery { cuts: Cuts::At(vec![3, 7]), pauses: true, tight: true, ..Delivery::default() };
        let words = "the input cut after byte 3 and byte 7, time passing between the pieces, a high_water of 32";
        assert_eq!(delivery.to_string(), words);
        let words = "each input in one piece, EOF after byte 5, in the event of the bytes before it";
        assert_eq!(Delivery::ending(5, How::EofAtOnce).to_string(), words);
    }
}
