//! What a layer makes for its inner protocol, and what that leaves of it.

use super::{Eof, Inner, Takeover};
use crate::context::Requests;
use crate::link::Flag;
use crate::{Context, Failure, Input, LimitExceeded, Protocol};

impl<P: Protocol> Inner<P> {
    /// Offers the inner protocol bytes that the layer made, behind those it left before. It keeps
    /// what is not consumed; on a session, where `plain` is a datagram of its own, that is dropped and counted.
    ///
    /// # Errors
    ///
    /// The inner protocol's, or the limit of what may be kept for it.
    pub fn feed(&mut self, cx: &mut Context<'_>, plain: &mut [u8]) -> Result<(), Failure> {
        if cx.is_datagram() {
            return self.feed_datagram(cx, plain);
        }
        if !self.is_open() || (plain.is_empty() && self.tail_len() == 0) {
            return Ok(());
        }
        let held_back = cx.is_reading_paused() || self.takeover != Takeover::Done;
        if held_back || self.tail_len() > 0 {
            self.keep(cx, plain)?;
            return if held_back { Ok(()) } else { self.offer_tail(cx) };
        }
        (self.offered, self.holds) = (true, false);
        let mut input = Input::new(plain);
        self.call(cx, |protocol, cx| protocol.on_data(cx, &mut input))?;
        if !input.is_empty() {
            let awaited = input.awaited();
            self.keep(cx, &input)?;
            self.await_bytes(cx, awaited)?;
        }
        Ok(())
    }

    fn feed_datagram(&mut self, cx: &mut Context<'_>, plain: &mut [u8]) -> Result<(), Failure> {
        if !self.is_open() || cx.is_reading_paused() || self.takeover != Takeover::Done {
            cx.count_discarded(plain.len());
            return Ok(());
        }
        (self.offered, self.holds) = (true, false);
        if plain.is_empty() {
            cx.link.flags.insert(Flag::EMPTY_DATAGRAM);
        }
        let mut input = Input::new(plain);
        let result = self.call(cx, |protocol, cx| protocol.on_data(cx, &mut input));
        cx.link.flags.remove(Flag::EMPTY_DATAGRAM);
        result?;
        if self.takeover == Takeover::Fresh {
            return self.keep(cx, &input); // what is left is for who has taken over
        }
        cx.count_discarded(input.len());
        Ok(())
    }

    /// Tells the inner protocol that the peer will send no more, with what it left of what the layer
    /// made for it; when it resumes, if it has paused reading.
    ///
    /// # Errors
    ///
    /// The inner protocol's.
    pub fn feed_eof(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if !self.opened {
            self.asked = self.asked.max(Requests::Close);
            return Ok(());
        }
        self.eof = Eof::Waits;
        if self.takeover != Takeover::Done && !cx.is_reading_paused() {
            self.takeover = Takeover::Due;
            self.offer_tail(cx)?;
        }
        self.tell_behind_tail(cx)
    }

    /// A layer's `on_data` begins: whoever took over before it is offered what is unread by it.
    #[inline]
    pub(in crate::layer) fn begin_offer(&mut self) {
        self.offered = false;
        if self.takeover == Takeover::Fresh {
            self.takeover = Takeover::Due;
        }
    }

    /// After a layer's `on_data`: offers again what the inner protocol left, or what is kept for somebody further
    /// in, if that is to be.
    #[inline]
    pub(in crate::layer) fn offer_again(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if (self.tail_len() == 0 && !self.holds && self.is_up_to_date()) || !self.is_open() {
            return Ok(());
        }
        self.offer_kept(cx)
    }

    #[cold]
    fn offer_kept(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.link.flags.insert(Flag::INNER_TAIL);
        if cx.is_reading_paused() || self.takeover == Takeover::Fresh {
            return Ok(());
        }
        if !self.offered || self.takeover == Takeover::Due {
            self.offer_tail(cx)?;
        }
        if self.is_up_to_date() { Ok(()) } else { self.tell_behind_tail(cx) }
    }

    /// Tells the inner protocol what it is still to be told, with what it left of what the layer made for it.
    fn tell_behind_tail(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let mut tail = self.reserve.as_mut().map(|reserve| std::mem::take(&mut reserve.tail)).unwrap_or_default();
        let mut rest = Input::new(&mut tail);
        let result = self.bring_up_to_date(cx, &mut rest);
        if !rest.is_empty() {
            let left = rest.to_vec();
            self.reserve().tail = left;
        }
        self.charge(cx)?;
        result
    }

    fn offer_tail(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let wait_for = self.reserve.as_ref().map_or(0, |reserve| reserve.wait_for);
        if self.tail_len() < wait_for.max(1) && !self.holds {
            return Ok(());
        }
        (self.offered, self.holds) = (true, false);
        let mut tail = self.reserve.as_mut().map(|reserve| std::mem::take(&mut reserve.tail)).unwrap_or_default();
        let before = tail.len();
        let mut input = Input::new(&mut tail);
        let result = self.call(cx, |protocol, cx| protocol.on_data(cx, &mut input));
        let (mut left, mut awaited) = (input.len(), input.awaited());
        if cx.is_datagram() {
            cx.count_discarded(left);
            (left, awaited) = (0, 0);
        }
        if left < before {
            self.switches = 0;
        }
        tail.drain(..before - left);
        if left > 0 {
            tail.shrink_to(4 * left); // what a large message needed is given back
            self.reserve().tail = tail;
        }
        self.await_bytes(cx, awaited)?;
        result
    }

    fn tail_len(&self) -> usize {
        self.reserve.as_ref().map_or(0, |reserve| reserve.tail.len())
    }

    fn keep(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.is_empty() {
            return Ok(());
        }
        let tail = &mut self.reserve().tail;
        tail.extend_from_slice(bytes);
        let wanted = tail.len();
        cx.link.flags.insert(Flag::INNER_TAIL);
        self.charge(cx)?;
        let limit = cx.limits().receive_buffer;
        if wanted > limit {
            return Err(LimitExceeded::ReceiveBuffer { wanted, limit }.into());
        }
        Ok(())
    }

    fn await_bytes(&mut self, cx: &mut Context<'_>, awaited: usize) -> Result<(), Failure> {
        self.reserve().wait_for = awaited;
        self.charge(cx)?;
        let limit = cx.limits().receive_buffer;
        if awaited > limit {
            return Err(LimitExceeded::ReceiveBuffer { wanted: awaited, limit }.into());
        }
        Ok(())
    }
}
