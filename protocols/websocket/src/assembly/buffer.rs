//! The buffer that a message is put together in: how it grows, and what is read straight into it.

use std::ops::RangeInclusive;

use switchboard::{Context, LimitExceeded};

use super::{Assembly, Content};
use crate::Settings;
use crate::gathered::Gathered;
use crate::sending::hold_or_keep;

impl Assembly {
    pub(super) fn buffer(&self) -> usize {
        match &self.content {
            Content::Text(bytes, _) | Content::Binary(bytes) => bytes.capacity(),
            Content::TextPieces(_) | Content::BinaryPieces => 0,
        }
    }

    pub(super) fn gathered(&mut self) -> Option<&mut Gathered> {
        match &mut self.content {
            Content::Text(bytes, _) | Content::Binary(bytes) => Some(bytes),
            Content::TextPieces(_) | Content::BinaryPieces => None,
        }
    }

    /// Whether what comes next can be read straight into its buffer.
    pub(crate) fn can_lend(&self) -> bool {
        self.left > 0 && self.incoming.is_none() && !self.is_in_pieces()
    }

    /// Room for what comes next, to be read straight into; none if that is not for it alone.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        let left = if self.can_lend() { self.here(usize::MAX) } else { 0 };
        self.gathered().map(|bytes| bytes.room(left)).unwrap_or_default()
    }

    /// The capacity to [grow](Self::grow) to before `more` bytes are absorbed, if it must grow: at least twice what it
    /// was, but no more than the message can have. Where what follows them is to be read straight into it, there is then
    /// room for as many bytes as have arrived.
    pub(crate) fn capacity_for(&self, more: usize, settings: &Settings) -> Option<usize> {
        let bytes = |count: u64| usize::try_from(count).unwrap_or(usize::MAX); // within `max_message`
        let needed = bytes(self.plain) + more;
        let whole = self.fin && !self.is_compressed();
        let most = if whole { bytes(self.plain + self.left) } else { settings.max_message };
        let goes_on = self.can_lend() && self.left > more as u64;
        if self.buffer() >= needed + usize::from(goes_on) {
            return None;
        }
        let doubled = 2 * if goes_on { needed } else { self.buffer() };
        Some(needed.max(doubled.min(most))).filter(|capacity| *capacity > self.buffer())
    }

    /// The lengths of used buffers that would do instead of one of `capacity`: at best all of the message fits. They are
    /// there already, so they may be eight times as long as what has arrived, or take a page.
    pub(crate) fn lengths_for(&self, more: usize, capacity: usize) -> [RangeInclusive<usize>; 2] {
        const PAGE: usize = 4096;
        let bytes = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let most = (bytes(self.plain) + more).saturating_mul(8).max(PAGE);
        [capacity.max(bytes(self.plain.saturating_add(self.left)))..=most, capacity..=most]
    }

    /// Makes it hold `capacity` bytes: in a buffer that was used before, if there is one. `others`: what the connection
    /// holds besides.
    pub(crate) fn enlarge(
        &mut self,
        cx: &mut Context<'_>,
        more: usize,
        capacity: usize,
        others: usize,
    ) -> Result<(), LimitExceeded> {
        let [best, enough] = self.lengths_for(more, capacity);
        if let Some(used) = cx.take_spare(best).or_else(|| cx.take_spare(enough)) {
            let fits = hold_or_keep(cx, used.capacity() + others, self.buffer() + others);
            let unused = if fits { self.move_to(used) } else { used };
            cx.give_spare(unused);
            if fits {
                return Ok(());
            }
        }
        cx.hold(capacity + others)?;
        self.grow(capacity);
        Ok(())
    }

    /// Makes it hold `capacity` bytes.
    pub(crate) fn grow(&mut self, capacity: usize) {
        if let Some(bytes) = self.gathered() {
            bytes.grow(capacity);
        }
    }

    /// Goes on in a longer buffer that was used before. What is given back is of no use any more.
    pub(crate) fn move_to(&mut self, buffer: Vec<u8>) -> Vec<u8> {
        match self.gathered() {
            Some(bytes) => bytes.move_to(buffer),
            None => buffer,
        }
    }

    /// The buffer, for others.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        match self.content {
            Content::Text(bytes, _) | Content::Binary(bytes) => bytes.into_buffer(),
            Content::TextPieces(_) | Content::BinaryPieces => Vec::new(),
        }
    }
}
