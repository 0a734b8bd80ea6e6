//! Timers: a hierarchical timing wheel over one slab.
//!
//! Setting and cancelling are O(1) and allocate nothing once the slab has grown; a deadline that is
//! only ever pushed back ([`Timers::postpone`]) costs one store, and the entry is moved when its old
//! slot comes up. Eight levels of 64 slots, 2^20 ns (about a millisecond) a slot on the lowest, cover
//! all of [`Time`]. A slot says *when to look*; each entry keeps its exact deadline, so nothing fires
//! early and, on a virtual clock, nothing late.

use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use slab::Slab;

use crate::id::index32;
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

/// Ends the lists that run through the slab.
pub(crate) const NONE: u32 = u32::MAX;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = 8;
/// log2 of the nanoseconds in a slot of the lowest level.
const TICK_BITS: u32 = 20;
const GENERATION_MASK: u32 = 0x00ff_ffff;
/// Stands for a slot in an entry that was collected as due.
const DUE: u16 = u16::MAX;

#[derive(Debug)]
struct Entry {
    deadline: Time,
    owner: EndpointId,
    tag: NonZeroU32,
    /// The slot's list, circular: the head's `previous` is the last.
    next: u32,
    previous: u32,
    /// The owner's next timer.
    sibling: u32,
    slot: u16,
}

/// All timers of a loop.
#[derive(Debug)]
pub(crate) struct Timers {
    entries: Slab<Entry>,
    /// The head of each slot's list.
    slots: Box<[u32; SLOTS * LEVELS]>,
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
        Self {
            entries: Slab::new(),
            slots: Box::new([NONE; SLOTS * LEVELS]),
            occupied: [0; LEVELS],
            tick: 0,
            next: Time::MAX,
            generation: 0,
        }
    }

    /// How many timers are armed or due.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Gives back memory behind the last timer.
    pub(crate) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
    }

    /// Sets a timer for `owner`, whose list of timers begins at `*head`.
    pub(crate) fn set(&mut self, owner: EndpointId, head: &mut u32, depth: u8, deadline: Time) -> TimerId {
        self.generation = self.generation % GENERATION_MASK + 1;
        let tag = u32::from(depth) << 24 | self.generation;
        let tag = NonZeroU32::new(tag).unwrap_or(NonZeroU32::MIN);
        let entry = Entry { deadline, owner, tag, next: NONE, previous: NONE, sibling: *head, slot: DUE };
        let index = index32(self.entries.insert(entry));
        *head = index;
        self.link(index);
        TimerId { index, tag }
    }

    /// Moves a timer's deadline, later or earlier. False if it has fired or was cancelled.
    #[inline]
    pub(crate) fn postpone(&mut self, timer: TimerId, deadline: Time) -> bool {
        let Some(entry) = self.entries.get_mut(timer.index as usize).filter(|entry| entry.tag == timer.tag) else {
            return false;
        };
        let later = deadline >= entry.deadline && entry.slot != DUE;
        entry.deadline = deadline;
        if !later {
            self.unlink(timer.index);
            self.link(timer.index);
        }
        true
    }

    /// Cancels a timer: it will not fire, even if it is among those already collected as due.
    /// False if it has fired or was cancelled before.
    pub(crate) fn cancel(&mut self, head: &mut u32, timer: TimerId) -> bool {
        if self.entries.get(timer.index as usize).is_none_or(|entry| entry.tag != timer.tag) {
            return false;
        }
        self.remove(head, timer.index);
        true
    }

    /// Cancels all of an owner's timers that were set at one of `depths`.
    pub(crate) fn cancel_depths(&mut self, head: &mut u32, depths: RangeInclusive<u8>) {
        let mut index = *head;
        while index != NONE {
            let entry = &self.entries[index as usize];
            let next = entry.sibling;
            if depths.contains(&(TimerId { index, tag: entry.tag }).depth()) {
                self.remove(head, index);
            }
            index = next;
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
            let entry = self.entries.get(index as usize)?;
            let timer = TimerId { index, tag: entry.tag };
            index = entry.sibling;
            Some((timer, entry.deadline))
        })
    }

    /// Nothing is due before this time; `None` if nothing is armed. It may be early (a slot of a
    /// higher level must be looked at, a timer was cancelled), never late.
    #[inline]
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        (self.next != Time::MAX).then_some(self.next)
    }

    /// Turns the wheel to `now` and appends what is due to `due`, by deadline.
    pub(crate) fn collect(&mut self, now: Time, due: &mut Vec<(Time, EndpointId, TimerId)>) {
        if now < self.next {
            return;
        }
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
        self.next = self.find_next();
        due.sort_by_key(|&(deadline, ..)| deadline);
    }

    /// Ends a collected timer's life just before it fires. False if it was cancelled or moved since.
    pub(crate) fn fire(&mut self, head: &mut u32, timer: TimerId) -> bool {
        let is_due =
            self.entries.get(timer.index as usize).is_some_and(|entry| entry.tag == timer.tag && entry.slot == DUE);
        if is_due {
            self.remove(head, timer.index);
        }
        is_due
    }

    /// Takes every entry out of a slot: the due to `due`, the others to where they now belong.
    fn empty_slot(&mut self, level: usize, slot: usize, now: Time, due: &mut Vec<(Time, EndpointId, TimerId)>) {
        let head = std::mem::replace(&mut self.slots[level * SLOTS + slot], NONE);
        self.occupied[level] &= !(1 << slot);
        let mut index = head;
        while index != NONE {
            let entry = &mut self.entries[index as usize];
            let next = if entry.next == head { NONE } else { entry.next };
            entry.slot = DUE;
            if entry.deadline <= now {
                due.push((entry.deadline, entry.owner, TimerId { index, tag: entry.tag }));
            } else {
                self.link(index);
            }
            index = next;
        }
    }

    fn remove(&mut self, head: &mut u32, index: u32) {
        self.unlink(index);
        let sibling = self.entries.remove(index as usize).sibling;
        if *head == index {
            *head = sibling;
            return;
        }
        let mut at = *head;
        while at != NONE {
            let entry = &mut self.entries[at as usize];
            if entry.sibling == index {
                entry.sibling = sibling;
                return;
            }
            at = entry.sibling;
        }
    }

    /// Appends an unlinked entry to the slot its deadline belongs to.
    fn link(&mut self, index: u32) {
        let deadline = self.entries[index as usize].deadline;
        let tick = (deadline.as_nanos() >> TICK_BITS).max(self.tick);
        // The highest group of bits in which the tick differs from now's says the level.
        let differs = (tick ^ self.tick) | (SLOTS as u64 - 1);
        let level = ((u64::BITS - 1 - differs.leading_zeros()) / SLOT_BITS) as usize;
        let slot = (tick >> (SLOT_BITS as usize * level)) as usize % SLOTS;
        let at = level * SLOTS + slot;
        let head = self.slots[at];
        let (previous, next) = if head == NONE {
            self.slots[at] = index;
            self.occupied[level] |= 1 << slot;
            (index, index)
        } else {
            let last = std::mem::replace(&mut self.entries[head as usize].previous, index);
            self.entries[last as usize].next = index;
            (last, head)
        };
        let entry = &mut self.entries[index as usize];
        (entry.previous, entry.next) = (previous, next);
        entry.slot = u16::try_from(at).unwrap_or(DUE);
        self.next = self.next.min(deadline);
    }

    /// Takes an entry out of its slot; one that is due is in none.
    fn unlink(&mut self, index: u32) {
        let Entry { next, previous, slot, .. } = self.entries[index as usize];
        if slot == DUE {
            return;
        }
        self.entries[index as usize].slot = DUE;
        let at = usize::from(slot);
        if next == index {
            self.slots[at] = NONE;
            self.occupied[at / SLOTS] &= !(1 << (at % SLOTS));
            return;
        }
        self.entries[previous as usize].next = next;
        self.entries[next as usize].previous = previous;
        if self.slots[at] == index {
            self.slots[at] = next;
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

    fn find_next(&self) -> Time {
        let Some((level, slot)) = self.first_slot() else { return Time::MAX };
        if level > 0 {
            return Time::from_nanos(self.slot_start(level, slot) << TICK_BITS);
        }
        // Entries that were postponed in place are moved on when their slot has passed, at the latest.
        let head = self.slots[slot];
        let end = Time::from_nanos((self.slot_start(level, slot) + 1) << TICK_BITS);
        let (mut earliest, mut index) = (end, head);
        loop {
            let entry = &self.entries[index as usize];
            earliest = earliest.min(entry.deadline);
            index = entry.next;
            if index == head {
                return earliest;
            }
        }
    }
}

#[cfg(test)]
mod tests;
