//! What an inner protocol sent and its layer is to seal.

use super::Inner;
use crate::{Context, Protocol};

impl<P: Protocol> Inner<P> {
    pub(in crate::layer) fn has_output(&self) -> bool {
        self.reserve.as_ref().is_some_and(|reserve| !reserve.out.is_empty() || reserve.out.has_datagrams())
    }

    /// Everything the inner protocol sent, to be sealed.
    pub(in crate::layer) fn take_output(&mut self, cx: &mut Context<'_>) -> Vec<u8> {
        let plain = self.reserve.as_mut().map(|reserve| reserve.out.take_all()).unwrap_or_default();
        // It is about to shrink, so this can't fail.
        let _ = self.charge(cx);
        plain
    }

    /// Gives an output buffer back, for its capacity.
    pub(in crate::layer) fn recycle(&mut self, plain: Vec<u8>) {
        /// More than this is not kept for a connection that may be idle from here on.
        const KEEP: usize = 4096;
        if plain.capacity() <= KEEP
            && let Some(reserve) = &mut self.reserve
        {
            reserve.out.reuse(plain);
        }
    }

    /// As [`take_output`](Self::take_output) on a session: with where each datagram ends.
    pub(in crate::layer) fn take_datagrams(&mut self, cx: &mut Context<'_>) -> (Vec<u8>, Vec<usize>) {
        let taken = self.reserve.as_mut().map(|reserve| reserve.out.take_datagrams()).unwrap_or_default();
        let _ = self.charge(cx); // less than before: this can't fail
        taken
    }

    pub(in crate::layer) fn recycle_datagrams(&mut self, plain: Vec<u8>, ends: Vec<usize>) {
        self.recycle(plain);
        if let Some(reserve) = &mut self.reserve {
            reserve.out.reuse_ends(ends);
        }
    }

    /// On a session the end of a callback ends a datagram.
    pub(super) fn end_datagram(&mut self, cx: &mut Context<'_>) {
        match &mut self.reserve {
            Some(reserve) if self.seals => reserve.out.end_datagram(),
            _ => cx.out.end_datagram(),
        }
    }
}
