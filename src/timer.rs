//! Timers: a hierarchical timing wheel over one pool.
//!
//! Setting and cancelling are O(1) and allocate nothing once the pool has grown; a deadline that is
//! only ever pushed back ([`Timers::postpone`]) costs one store, and the entry is moved when its old
//! slot comes up. Eight levels of 64 slots, 2^16 ns (a fifteenth of a millisecond) a slot on the lowest,
//! cover all of [`Time`]. A slot says *where to look*, and keeps the earliest deadline it was given;
//! each entry keeps its exact one, so nothing fires early and, on a virtual clock, nothing late.
//!
//! What a turn pays does not depend on how many are armed: nothing is looked at before the earliest
//! deadline of the first slot has come, and then that slot alone. So its slots are that short: of a
//! million timers spread over five seconds some thirteen lie in one.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use crate::id::index32;
use crate::pool::{Place, Pool};
use crate::{EndpointId, Time};

/// Names a timer that a protocol set, for as long as it is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerId {
    index: u32,
    /// The depth of who set it in the top 8 bits, the generation below; never zero.
    tag: NonZeroU32,
}

impl TimerId {
    /// How deep in the layers of its connection the protocol stands that set it.
    #[inline]
    pub(crate) fn depth(self) -> u8 {
        self.tag.get().to_be_bytes()[0]
    }
}

/// The depth of the timers that the loop sets for itself on a connection.
pub(crate) const LOOP_DEPTH: u8 = u8::MAX;

/// Ends the lists that run through a pool or slab.
pub(crate) const NONE: u32 = u32::MAX;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVEL_BITS: u32 = 3;
const LEVELS: usize = 1 << LEVEL_BITS;
/// log2 of the nanoseconds in a slot of the lowest level.
const TICK_BITS: u32 = 16;
const GENERATION_MASK: u32 = 0x00ff_ffff;
/// From here on an index in a list means the slot whose list it is: what comes before its first entry, and behind its
/// last. Below `NONE`; no pool reaches it.
const SLOT: u32 = NONE - (1 << (SLOT_BITS + LEVEL_BITS));

/// One timer: 28 bytes (packed, or its `Time` would make them 32), since most connections have one.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(4))]
struct Entry {
    deadline: Time,
    /// The owner's index. It needs no generation: a timer goes before its owner does.
    owner: u32,
    /// As the [`TimerId`]'s; 0 where the place is vacant, and `next` is the next that is.
    tag: u32,
    /// Its neighbours in the slot's list, the first and the last of which have the slot for one.
    next: u32,
    /// `NONE` in one that was collected as due: it is in no slot.
    previous: u32,
    /// The owner's next timer.
    sibling: u32,
}

impl Entry {
    fn is_due(&self) -> bool {
        self.previous == NONE
    }

    /// Its id, at this index.
    fn id(&self, index: u32) -> TimerId {
        TimerId { index, tag: NonZeroU32::new(self.tag).unwrap_or(NonZeroU32::MIN) }
    }
}

impl Place for Entry {
    fn vacant(next: u32) -> Self {
        Self { deadline: Time::MAX, owner: NONE, tag: 0, next, previous: NONE, sibling: NONE }
    }

    fn next_vacant(&self) -> Option<u32> {
        (self.tag == 0).then_some(self.next)
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    first: u32,
    last: u32,
    /// No entry's deadline is before this.
    earliest: Time,
}

/// All timers of a loop.
#[derive(Debug)]
pub(crate) struct Timers {
    entries: Pool<Entry>,
    slots: Box<[Slot; SLOTS * LEVELS]>,
    /// A bit for each slot that is not empty, by level.
    occupied: [u64; LEVELS],
    /// The tick up to which the wheel has turned; its slot may still hold entries.
    tick: u64,
    /// Nothing is due before this; `MAX` if nothing is armed.
    next: Time,
    generation: u32,
}

impl Timers {
    pub(crate) fn new() -> Self {
        let empty = |slot| Slot { first: SLOT + slot, last: SLOT + slot, earliest: Time::MAX };
        let mut slots = Box::new([empty(0); SLOTS * LEVELS]);
        slots.iter_mut().zip(0..).for_each(|(slot, index)| *slot = empty(index));
        Self { entries: Pool::default(), slots, occupied: [0; LEVELS], tick: 0, next: Time::MAX, generation: 0 }
    }

    /// How many timers are armed or due.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Gives back memory behind the last timer.
    pub(crate) fn shrink(&mut self) {
        self.entries.shrink();
    }

    /// Sets a timer for `owner`, whose list of timers begins at `*head`.
    pub(crate) fn set(&mut self, owner: EndpointId, head: &mut u32, depth: u8, deadline: Time) -> TimerId {
        self.generation = self.generation % GENERATION_MASK + 1;
        let tag = u32::from(depth) << 24 | self.generation;
        let entry = Entry { deadline, owner: owner.index32(), tag, next: NONE, previous: NONE, sibling: *head };
        let index = self.entries.insert(entry);
        *head = index;
        self.link(index, deadline);
        entry.id(index)
    }

    /// Moves a timer's deadline, later or earlier. False if it has fired or was cancelled.
    #[inline]
    pub(crate) fn postpone(&mut self, timer: TimerId, deadline: Time) -> bool {
        let Some(entry) = self.entries.get_mut(timer.index).filter(|entry| entry.tag == timer.tag.get()) else {
            return false;
        };
        let before = *entry;
        entry.deadline = deadline;
        if before.is_due() || deadline < { before.deadline } {
            self.unlink(before);
            self.link(timer.index, deadline);
        }
        true
    }

    /// Cancels a timer: it will not fire, even if it is among those already collected as due.
    /// False if it has fired or was cancelled before.
    pub(crate) fn cancel(&mut self, head: &mut u32, timer: TimerId) -> bool {
        if self.entries.get(timer.index).is_none_or(|entry| entry.tag != timer.tag.get()) {
            return false;
        }
        self.remove(head, timer.index);
        true
    }

    /// Cancels all of an owner's timers that were set at one of `depths`.
    pub(crate) fn cancel_depths(&mut self, head: &mut u32, depths: RangeInclusive<u8>) {
        let mut index = *head;
        while let Some(&entry) = self.entries.get(index) {
            if depths.contains(&entry.id(index).depth()) {
                self.remove(head, index);
            }
            index = entry.sibling;
        }
    }

    /// The owner's timer that was set at exactly `depth`, if it has one.
    pub(crate) fn find(&self, head: u32, depth: u8) -> Option<TimerId> {
        self.all(head).map(|(timer, _)| timer).find(|timer| timer.depth() == depth)
    }

    /// The owner's timers with their deadlines, the last set first.
    pub(crate) fn all(&self, head: u32) -> impl Iterator<Item = (TimerId, Time)> {
        let mut index = head;
        std::iter::from_fn(move || {
            let entry = self.entries.get(index)?;
            let timer = entry.id(index);
            index = entry.sibling;
            Some((timer, entry.deadline))
        })
    }

    /// Nothing is due before this time; `None` if nothing is armed. It may be early (a timer was cancelled
    /// or postponed), never late.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        (self.next != Time::MAX).then_some(self.next)
    }

    /// Turns the wheel to `now` and appends what is due to `due`, by deadline, with the owner's index.
    #[inline]
    pub(crate) fn collect(&mut self, now: Time, due: &mut Vec<(Time, u32, TimerId)>) {
        if now >= self.next {
            self.turn(now, due);
        }
    }

    fn turn(&mut self, now: Time, due: &mut Vec<(Time, u32, TimerId)>) {
        let now_tick = now.as_nanos() >> TICK_BITS;
        while let Some((level, slot)) = self.first_slot() {
            let start = self.slot_start(level, slot);
            if start > now_tick {
                break;
            }
            self.tick = self.tick.max(start);
            self.empty_slot(level, slot, now, due);
            if level == 0 && start == now_tick {
                break; // what is left in it is due within this very tick, after `now`
            }
        }
        self.tick = self.tick.max(now_tick);
        self.next = self.first_slot().map_or(Time::MAX, |(level, slot)| self.slots[level * SLOTS + slot].earliest);
        due.sort_by_key(|&(deadline, ..)| deadline);
    }

    /// Ends a collected timer's life just before it fires. False if it was cancelled or moved since.
    pub(crate) fn fire(&mut self, head: &mut u32, timer: TimerId) -> bool {
        let is_due = self.entries.get(timer.index).is_some_and(|entry| entry.tag == timer.tag.get() && entry.is_due());
        if is_due {
            self.remove(head, timer.index);
        }
        is_due
    }

    /// Takes every entry out of a slot: the due to `due`, the others to where they now belong.
    fn empty_slot(&mut self, level: usize, slot: usize, now: Time, due: &mut Vec<(Time, u32, TimerId)>) {
        let at = level * SLOTS + slot;
        let mut index = self.slots[at].first;
        self.empty(at);
        while let Some(entry) = self.entries.get_mut(index) {
            let (timer, deadline, next) = (entry.id(index), entry.deadline, entry.next);
            if deadline <= now {
                entry.previous = NONE;
                due.push((deadline, entry.owner, timer));
            } else {
                self.link(index, deadline);
            }
            index = next;
        }
    }

    /// There is nothing in this slot any more.
    fn empty(&mut self, at: usize) {
        let end = SLOT + index32(at);
        self.slots[at] = Slot { first: end, last: end, earliest: Time::MAX };
        self.occupied[at / SLOTS] &= !(1 << (at % SLOTS));
    }

    fn remove(&mut self, head: &mut u32, index: u32) {
        let entry = self.entries.remove(index);
        self.unlink(entry);
        if *head == index {
            *head = entry.sibling;
            return;
        }
        let mut at = *head;
        while let Some(before) = self.entries.get_mut(at) {
            if before.sibling == index {
                before.sibling = entry.sibling;
                return;
            }
            at = before.sibling;
        }
    }

    /// Appends an unlinked entry to the slot its deadline belongs to.
    fn link(&mut self, index: u32, deadline: Time) {
        let tick = (deadline.as_nanos() >> TICK_BITS).max(self.tick);
        // The highest group of bits in which the tick differs from now's says the level.
        let differs = (tick ^ self.tick) | (SLOTS as u64 - 1);
        let level = ((u64::BITS - 1 - differs.leading_zeros()) / SLOT_BITS) as usize;
        let at = level * SLOTS + (tick >> (SLOT_BITS as usize * level)) as usize % SLOTS;
        let slot = &mut self.slots[at];
        slot.earliest = slot.earliest.min(deadline);
        let last = std::mem::replace(&mut slot.last, index);
        self.occupied[level] |= 1 << (at % SLOTS);
        match self.entries.get_mut(last) {
            Some(last) => last.next = index,
            None => slot.first = index,
        }
        if let Some(entry) = self.entries.get_mut(index) {
            (entry.previous, entry.next) = (last, SLOT + index32(at));
        }
        self.next = self.next.min(deadline);
    }

    /// Takes an entry out of its slot; one that is due is in none.
    fn unlink(&mut self, Entry { previous, next, .. }: Entry) {
        if previous == NONE {
            return;
        }
        if previous == next {
            return self.empty((previous - SLOT) as usize); // it was the only one
        }
        match self.entries.get_mut(previous) {
            Some(previous) => previous.next = next,
            None => self.slots[(previous - SLOT) as usize].first = next,
        }
        match self.entries.get_mut(next) {
            Some(next) => next.previous = previous,
            None => self.slots[(next - SLOT) as usize].last = previous,
        }
    }

    /// The slot that comes up first. Lower levels come before higher ones: an entry is on a higher
    /// level because its tick differs from now's in a higher group of bits.
    fn first_slot(&self) -> Option<(usize, usize)> {
        self.occupied.iter().enumerate().find(|&(_, &bits)| bits != 0).map(|(level, &bits)| {
            // The slots of a level never wrap: all of them lie ahead in the same higher group.
            (level, bits.trailing_zeros() as usize)
        })
    }

    /// The first tick of a slot.
    fn slot_start(&self, level: usize, slot: usize) -> u64 {
        let shift = SLOT_BITS as usize * level;
        let group = (SLOTS as u64 - 1) << shift;
        let below = (1_u64 << shift) - 1;
        (self.tick & !(group | below)) | (slot as u64) << shift
    }
}

#[cfg(test)]
mod tests;
