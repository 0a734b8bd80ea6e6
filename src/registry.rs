//! Which ids are alive, and what is kept for each whether or not anything stands behind it yet.

use slab::Slab;

use crate::EndpointId;
use crate::id::index32;
use crate::message::Mailbox;
use crate::timer::NONE;

/// What the loop keeps for a living id.
#[derive(Debug)]
pub(crate) struct Slot {
    generation: u32,
    /// Whether the thing still takes messages; it may linger a while after that.
    open: bool,
    pub(crate) mailbox: Mailbox,
    /// The first of its subscriptions.
    pub(crate) subscriptions: u32,
}

/// Hands out ids. They are apart from the connections' storage, so that a callback learns the id of
/// what it asked for at once, while its own connection is borrowed.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    slots: Slab<Slot>,
    generation: u32,
}

impl Registry {
    pub(crate) fn reserve(&mut self) -> EndpointId {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        EndpointId::new(
            index32(self.slots.insert(Slot { generation, open: true, mailbox: Mailbox::EMPTY, subscriptions: NONE })),
            generation,
        )
    }

    /// What is kept for `id`, if that is open.
    pub(crate) fn get_mut(&mut self, id: EndpointId) -> Option<&mut Slot> {
        self.slots.get_mut(id.index()).filter(|slot| slot.generation == id.generation() && slot.open)
    }

    /// Whether `id` is open.
    pub(crate) fn contains(&self, id: EndpointId) -> bool {
        self.slots.get(id.index()).is_some_and(|slot| slot.generation == id.generation() && slot.open)
    }

    /// Closes an id: it names nothing any more, but its slot is not used again yet. Gives the mailbox
    /// that is left.
    pub(crate) fn retire(&mut self, id: EndpointId) -> Mailbox {
        let Some(slot) = self.get_mut(id) else { return Mailbox::EMPTY };
        slot.open = false;
        std::mem::replace(&mut slot.mailbox, Mailbox::EMPTY)
    }

    /// Frees the slot of an id that was retired.
    pub(crate) fn release(&mut self, id: EndpointId) {
        let slot = self.slots.remove(id.index());
        debug_assert!(!slot.open && slot.generation == id.generation());
    }

    /// Gives back memory behind the last id in use.
    pub(crate) fn shrink(&mut self) {
        self.slots.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_id_is_dead_though_its_slot_is_used_again() {
        let mut registry = Registry::default();
        let old = registry.reserve();
        registry.retire(old);
        assert!(!registry.contains(old));
        registry.release(old);
        let new = registry.reserve();
        assert_eq!(old.index(), new.index());
        assert!(!registry.contains(old));
        assert!(registry.get_mut(old).is_none());
        assert!(registry.contains(new));
    }
}
