//! Where choices come from: a seed, or a fuzzer's input.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Choices, the same for the same seed or input.
#[derive(Debug)]
pub enum Dice<'a> {
    /// As many as asked for.
    Seed(Box<ChaCha8Rng>),
    /// Until the input has ended; then always the first of what there is to choose from.
    Input(&'a [u8]),
}

impl<'a> Dice<'a> {
    /// Those of a seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self::Seed(Box::new(ChaCha8Rng::seed_from_u64(seed)))
    }

    /// Those of an input.
    #[must_use]
    pub fn from_input(input: &'a [u8]) -> Self {
        Self::Input(input)
    }

    /// Whether the input has ended.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        matches!(self, Self::Input([]))
    }

    /// One of `0..sides`. An input gives a byte for each, two where one is not enough.
    pub fn below(&mut self, sides: u32) -> u32 {
        let number = match self {
            Self::Seed(random) => random.next_u32(),
            Self::Input(input) if sides <= 256 => u32::from(take(input)),
            Self::Input(input) => u32::from(take(input)) << 8 | u32::from(take(input)),
        };
        number % sides
    }

    /// True once in so many times.
    pub fn one_in(&mut self, sides: u32) -> bool {
        self.below(sides) == sides - 1
    }

    /// As [`below`](Self::below), for few.
    pub fn choice(&mut self, sides: u16) -> u16 {
        u16::try_from(self.below(sides.into())).unwrap_or(0)
    }

    /// A place in what has `len` of them.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(u32::try_from(len).unwrap_or(u32::MAX)) as usize
    }

    /// Up to `longest` bytes; most often few. An input is spared: it gives the length and a byte to
    /// make the others of.
    pub fn word(&mut self, longest: u32) -> Vec<u8> {
        let longest = if self.one_in(4) { longest } else { longest.min(40) };
        let len = self.below(longest) as usize + 1;
        let first = self.below(256);
        (0..len).map(|at| [b'a', b'b', 0xc3, b'\n', 0, b'x', 0xff][(at + first as usize) % 7]).collect()
    }
}

fn take(input: &mut &[u8]) -> u8 {
    let Some((&first, rest)) = input.split_first() else { return 0 };
    *input = rest;
    first
}
