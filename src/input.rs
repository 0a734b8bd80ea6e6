//! What has arrived and is not consumed yet.

use std::mem;
use std::ops::Deref;

use crate::timer::LOOP_DEPTH;

/// The bytes that have arrived on a connection and have not been consumed.
///
/// It derefs to `[u8]`: look at all of it, then [`take`](Self::take) what is understood. What is
/// left is kept by the loop and offered again, with more behind it. Only what is taken may be
/// changed in place (unmasked, decrypted): bytes that were changed and then left would be changed
/// twice, but by a protocol that keeps account of them: see [`rest_mut`](Self::rest_mut).
///
/// ```
/// use switchboard::Input;
///
/// let mut bytes = *b"two\nlines\nand a ha";
/// let mut input = Input::new(&mut bytes);
/// let mut lines = Vec::new();
/// while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
///     lines.push(input.take(end + 1).to_vec());
/// }
/// assert_eq!(lines, [b"two\n".to_vec(), b"lines\n".to_vec()]);
/// assert_eq!(&*input, b"and a ha");
/// ```
#[derive(Debug)]
pub struct Input<'a> {
    rest: &'a mut [u8],
    wait_for: usize,
    /// It ends where a read of the loop ended: at which depth what is left of it can be sent back from there.
    returnable_at: u8,
}

impl<'a> Input<'a> {
    /// No protocol has this depth: the loop's own timers do.
    pub(crate) const NOWHERE: u8 = LOOP_DEPTH;

    /// Input over `bytes`: for tests, and for layers that offer an inner protocol bytes of their own.
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { rest: bytes, wait_for: 0, returnable_at: Self::NOWHERE }
    }

    /// Input over what the loop has just read, all of it, and at which depth it can be sent back from there: 0 is a protocol
    /// with nothing between it and the loop.
    #[inline]
    pub(crate) fn returnable(bytes: &'a mut [u8], returnable_at: u8) -> Self {
        Self { rest: bytes, wait_for: 0, returnable_at }
    }

    /// Consumes the first `count` bytes and lends them, to be changed in place if need be.
    ///
    /// # Panics
    ///
    /// If fewer than `count` bytes are there.
    #[inline]
    pub fn take(&mut self, count: usize) -> &'a mut [u8] {
        let (taken, rest) = mem::take(&mut self.rest).split_at_mut(count);
        self.rest = rest;
        taken
    }

    /// What is left unconsumed, to be changed in place by a protocol that remembers how much of it is changed already: it
    /// is offered again as it is then.
    #[inline]
    pub fn rest_mut(&mut self) -> &mut [u8] {
        self.rest
    }

    /// Consumes everything.
    #[inline]
    pub fn take_all(&mut self) -> &'a mut [u8] {
        mem::take(&mut self.rest)
    }

    /// Asks not to be called again before `total` bytes, counted from the first one left
    /// unconsumed, have arrived (or the peer has half-closed).
    ///
    /// Without it a large message is looked at once for each piece of it that arrives. A `total`
    /// above [`Limits::receive_buffer`](crate::Limits::receive_buffer) closes the connection. Where
    /// nothing is left unconsumed there is nothing to wait with, and it is ignored.
    #[inline]
    pub fn wait_for(&mut self, total: usize) {
        self.wait_for = total;
    }

    /// Not at any other depth than where the loop offers it, whoever hands it on: a layer that seals may be between.
    #[inline]
    pub(crate) fn is_returnable_at(&self, depth: u8) -> bool {
        self.returnable_at == depth
    }

    /// What [`wait_for`](Self::wait_for) was last told; 0 if nothing.
    #[inline]
    pub(crate) fn awaited(&self) -> usize {
        self.wait_for
    }
}

impl Deref for Input<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.rest
    }
}
