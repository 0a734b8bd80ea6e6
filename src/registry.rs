//! Which ids are alive, and what is kept for each whether or not anything stands behind it yet.

use crate::EndpointId;
use crate::message::Mailbox;
use crate::pool::{Place, Pool};
use crate::timer::NONE;

/// What the loop keeps for a living id: eight bytes, since there is one for each.
#[derive(Debug)]
struct Slot {
    /// The id's; where the slot is vacant, the next that is.
    generation: u32,
    /// Where its desk is, or one of the values below.
    desk: u32,
}

impl Slot {
    /// It has no desk: no letter waits for it, and it is subscribed to nothing.
    const BARE: u32 = NONE;
    /// It takes no letters, and so never has a desk.
    const SILENT: u32 = NONE - 1;
    /// The id names nothing any more; what it named may linger a while after that.
    const RETIRED: u32 = NONE - 2;
    const VACANT: u32 = NONE - 3;

    fn is_open(&self) -> bool {
        !matches!(self.desk, Self::RETIRED | Self::VACANT)
    }
}

impl Place for Slot {
    fn vacant(next: u32) -> Self {
        Self { generation: next, desk: Self::VACANT }
    }

    fn next_vacant(&self) -> Option<u32> {
        (self.desk == Self::VACANT).then_some(self.generation)
    }
}

/// What there is of an id for which letters wait, or that has subscriptions.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) mailbox: Mailbox,
    /// The first of its subscriptions.
    pub(crate) subscriptions: u32,
}

impl Desk {
    /// Stands in `subscriptions` of a vacant one.
    const VACANT: u32 = NONE - 1;

    fn is_cleared(&self) -> bool {
        self.mailbox.is_idle() && self.subscriptions == NONE
    }
}

impl Place for Desk {
    fn vacant(next: u32) -> Self {
        Self { mailbox: Mailbox::vacant(next), subscriptions: Self::VACANT }
    }

    fn next_vacant(&self) -> Option<u32> {
        (self.subscriptions == Self::VACANT).then(|| self.mailbox.next_vacant())
    }
}

/// Hands out ids. They are apart from the connections' storage, so that a callback learns the id of
/// what it asked for at once, while its own connection is borrowed.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    slots: Pool<Slot>,
    desks: Pool<Desk>,
    generation: u32,
}

impl Registry {
    pub(crate) fn reserve(&mut self) -> EndpointId {
        self.generation = self.generation.wrapping_add(1);
        let generation = self.generation;
        EndpointId::new(self.slots.insert(Slot { generation, desk: Slot::BARE }), generation)
    }

    fn slot(&mut self, id: EndpointId) -> Option<&mut Slot> {
        self.slots.get_mut(id.index32()).filter(|slot| slot.generation == id.generation() && slot.is_open())
    }

    /// Whether `id` is open.
    pub(crate) fn contains(&self, id: EndpointId) -> bool {
        self.slots.get(id.index32()).is_some_and(|slot| slot.generation == id.generation() && slot.is_open())
    }

    /// The desk of `id`, if that is open and has one.
    pub(crate) fn desk(&mut self, id: EndpointId) -> Option<&mut Desk> {
        match self.slot(id)?.desk {
            Slot::BARE | Slot::SILENT => None,
            desk => self.desks.get_mut(desk),
        }
    }

    /// The desk of `id`, a new one if it has none yet. `None` if `id` is not open, or takes no letters.
    pub(crate) fn make_desk(&mut self, id: EndpointId) -> Option<&mut Desk> {
        let slot = self.slots.get_mut(id.index32())?;
        if slot.generation != id.generation() || !slot.is_open() || slot.desk == Slot::SILENT {
            return None;
        }
        if slot.desk == Slot::BARE {
            slot.desk = self.desks.insert(Desk { mailbox: Mailbox::EMPTY, subscriptions: NONE });
        }
        self.desks.get_mut(slot.desk)
    }

    /// Takes the desk of `id` away if nothing is on it.
    pub(crate) fn clear_desk(&mut self, id: EndpointId) {
        if self.desk(id).is_some_and(|desk| desk.is_cleared()) {
            self.take_desk(id, Slot::BARE);
        }
    }

    /// `id` takes no letters, ever.
    pub(crate) fn silence(&mut self, id: EndpointId) {
        self.take_desk(id, Slot::SILENT);
    }

    /// Closes an id: it names nothing any more, but its slot is not used again yet. Gives the mailbox
    /// that is left.
    pub(crate) fn retire(&mut self, id: EndpointId) -> Mailbox {
        self.take_desk(id, Slot::RETIRED).map_or(Mailbox::EMPTY, |desk| desk.mailbox)
    }

    /// Takes the desk of `id`, in whose place this comes.
    fn take_desk(&mut self, id: EndpointId, then: u32) -> Option<Desk> {
        match std::mem::replace(&mut self.slot(id)?.desk, then) {
            Slot::BARE | Slot::SILENT => None,
            desk => Some(self.desks.remove(desk)),
        }
    }

    /// Frees the slot of an id that was retired.
    pub(crate) fn release(&mut self, id: EndpointId) {
        let slot = self.slots.remove(id.index32());
        debug_assert!(slot.desk == Slot::RETIRED && slot.generation == id.generation());
    }

    /// Gives back memory behind the last id in use.
    pub(crate) fn shrink(&mut self) {
        self.slots.shrink();
        self.desks.shrink();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_id_costs() {
        assert_eq!((size_of::<Slot>(), size_of::<Desk>()), (8, 20));
    }

    #[test]
    fn a_released_id_is_dead_though_its_slot_is_used_again() {
        let mut registry = Registry::default();
        let old = registry.reserve();
        registry.retire(old);
        assert!(!registry.contains(old));
        registry.release(old);
        assert!(!registry.contains(old) && registry.make_desk(old).is_none());
        let new = registry.reserve();
        assert_eq!(old.index(), new.index());
        assert!(!registry.contains(old));
        assert!(registry.make_desk(old).is_none());
        assert!(registry.contains(new));
    }

    #[test]
    fn no_id_names_a_vacant_slot() {
        let mut registry = Registry::default();
        let ids = [0; 3].map(|_| registry.reserve());
        for id in ids {
            registry.retire(id);
            registry.release(id);
        }
        // A vacant slot keeps the index of the next one where ids have their generation.
        for (index, generation) in (0..3).flat_map(|index| [0, 1, 2, NONE].map(|next| (index, next))) {
            assert!(!registry.contains(EndpointId::new(index, generation)), "{index}.{generation}");
        }
    }

    #[test]
    fn a_desk_is_there_while_something_is_on_it() {
        let mut registry = Registry::default();
        let id = registry.reserve();
        assert!(registry.desk(id).is_none());
        registry.make_desk(id).expect("it is open").subscriptions = 7;
        registry.clear_desk(id);
        assert_eq!(registry.desk(id).expect("something is on it").subscriptions, 7);
        registry.desk(id).expect("still").subscriptions = NONE;
        registry.make_desk(id).expect("it is open").mailbox.on_round = true;
        registry.clear_desk(id);
        registry.desk(id).expect("its owner is to be visited").mailbox.on_round = false;
        registry.clear_desk(id);
        assert!(registry.desk(id).is_none() && registry.contains(id));
        assert_eq!(registry.desks.len(), 0);
        registry.make_desk(id);
        registry.retire(id);
        assert_eq!(registry.desks.len(), 0);
    }

    #[test]
    fn who_is_silent_has_no_desk() {
        let mut registry = Registry::default();
        let id = registry.reserve();
        registry.silence(id);
        assert!(registry.contains(id));
        assert!(registry.make_desk(id).is_none() && registry.desk(id).is_none());
        registry.clear_desk(id);
        assert!(registry.make_desk(id).is_none());
        assert!(registry.retire(id).is_empty());
        registry.release(id);
    }
}
