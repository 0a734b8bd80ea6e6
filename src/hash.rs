//! A hash that is quick, and that no peer can foresee.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Hashes a few numbers, which is done for every letter, say: by a multiplication each, with a secret, for peers may choose
/// the keys.
#[derive(Clone)]
pub(crate) struct Secret {
    start: u64,
    factor: u64,
}

impl Default for Secret {
    fn default() -> Self {
        let random = RandomState::new();
        Self { start: random.hash_one(0), factor: random.hash_one(1) | 1 }
    }
}

impl BuildHasher for Secret {
    type Hasher = Mix;

    fn build_hasher(&self) -> Mix {
        Mix { state: self.start, factor: self.factor }
    }
}

pub(crate) struct Mix {
    state: u64,
    factor: u64,
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    #[expect(clippy::cast_possible_truncation, reason = "the halves of a u128")]
    fn write_u64(&mut self, number: u64) {
        let wide = u128::from(self.state ^ number) * u128::from(self.factor);
        self.state = wide as u64 ^ (wide >> 64) as u64;
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_that_are_alike_are_hashed_apart() {
        let secret = Secret::default();
        for step in [1, 2, 64, 1 << 20, 1 << 32, 1 << 57] {
            let hashes = (0..100_u64).flat_map(|at| (0..20_u32).map(move |subscription| (subscription, at * step)));
            // What the map looks at: the lowest bits for the place, the highest for the tag.
            let places: HashSet<u64> = hashes.map(|pair| secret.hash_one(pair) % 65_536).collect();
            assert!(places.len() > 1800, "{} places for 2000 keys, {step} apart", places.len());
        }
    }
}
