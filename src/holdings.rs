//! What protocols have declared to hold.

use std::collections::HashMap;

use crate::EndpointId;
use crate::hash::Secret;

/// Bytes by who holds them: the protocol at this depth in the layers of this id. Apart from the connections, for few hold
/// anything; and in a map that keeps its room, for most of those do so once a message, only until it is complete.
#[derive(Default)]
pub(crate) struct Holdings {
    bytes: HashMap<(EndpointId, u8), usize, Secret>,
    /// Nobody of these is deeper.
    deepest: u8,
}

impl Holdings {
    /// Room for so many is not worth giving back.
    const FEW: usize = 256;

    /// Takes note that so many bytes are held now; gives how many were.
    pub(crate) fn set(&mut self, id: EndpointId, depth: u8, bytes: usize) -> usize {
        if bytes == 0 {
            return self.remove(id, depth);
        }
        self.deepest = self.deepest.max(depth);
        self.bytes.insert((id, depth), bytes).unwrap_or(0)
    }

    fn remove(&mut self, id: EndpointId, depth: u8) -> usize {
        let before = self.bytes.remove(&(id, depth)).unwrap_or(0);
        let few = Self::FEW.max(8 * self.bytes.len());
        if self.bytes.capacity() > few {
            self.bytes.shrink_to(few / 4);
        }
        before
    }

    /// Nothing is held any more at this depth, and further in; gives how much was.
    pub(crate) fn release(&mut self, id: EndpointId, depth: u8) -> usize {
        if self.bytes.is_empty() {
            self.deepest = 0;
            return 0;
        }
        (depth..=self.deepest).map(|depth| self.remove(id, depth)).sum()
    }

    /// Gives back the room that nobody needs.
    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn agrees_with_a_map_that_is_in_order() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let (mut holdings, mut expected) = (Holdings::default(), BTreeMap::new());
        for _ in 0..20_000 {
            let [index, generation, depth, what] = random.next_u32().to_le_bytes();
            let (id, depth) = (EndpointId::new((index % 8).into(), (generation % 2).into()), depth % 4);
            if what % 8 == 0 {
                let gone: Vec<_> = expected.range((id, depth)..=(id, u8::MAX)).map(|(&key, _)| key).collect();
                let sum: usize = gone.iter().filter_map(|key| expected.remove(key)).sum();
                assert_eq!(holdings.release(id, depth), sum);
                continue;
            }
            let bytes = usize::from(what / 8 % 3) * 100;
            let before = if bytes > 0 { expected.insert((id, depth), bytes) } else { expected.remove(&(id, depth)) };
            assert_eq!(holdings.set(id, depth, bytes), before.unwrap_or(0));
        }
    }

    #[test]
    fn gives_room_back_when_many_have_become_few_and_keeps_some() {
        let mut holdings = Holdings::default();
        let id = |index| EndpointId::new(index, 1);
        (0..100_000).for_each(|index| _ = holdings.set(id(index), 0, 1));
        let full = holdings.bytes.capacity();
        (100..100_000).for_each(|index| _ = holdings.set(id(index), 0, 0));
        let few = holdings.bytes.capacity();
        assert!(full >= 100_000 && (100..=2000).contains(&few), "{full}, then {few}");
        (0..100).for_each(|index| assert_eq!(holdings.release(id(index), 0), 1));
        assert!((1..=Holdings::FEW).contains(&holdings.bytes.capacity()));
        holdings.shrink();
        assert_eq!(holdings.bytes.capacity(), 0);
    }
}
