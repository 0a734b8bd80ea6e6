//! Layers: protocols around protocols, checked by the compiler.
//!
//! `Layered<IdleTimeout, WebSocket<App>>` is one generic value behind one `Box<dyn Protocol>`. A
//! [`Layer`] sees every event first and, where it does not say otherwise, passes it on: a callback
//! that is not overridden can't swallow anything.

use std::any::Any;

use crate::context::Requests;
use crate::{CloseReason, Closing, Context, Failure, Input, Message, Protocol, TimerId};

mod inner;

pub use inner::Inner;

/// A layer around a protocol `P`: see [`Layered`]. Most are around any (`impl<P: Protocol> Layer<P>
/// for …`); one that needs something of what it is around says so (`impl<P: Probe> Layer<P> for …`).
///
/// A layer that leaves the bytes alone overrides the callbacks that concern it and forwards to
/// `inner`. One that transforms them (TLS, framing) sets [`SEALS`](Self::SEALS): it consumes its input itself,
/// hands what it made of it to [`Inner::feed`], and is given in [`seal`](Self::seal) what the inner protocol
/// sent. Only such a layer may write around its inner protocol: whoever injects bytes into somebody
/// else's stream breaks it.
///
/// ```
/// use switchboard::testkit::Harness;
/// use switchboard::{Context, Failure, Inner, Input, Layer, Layered, Protocol, protocol_fn};
///
/// /// Counts the bytes that pass inward.
/// #[derive(Default)]
/// struct Meter(usize);
///
/// impl<P: Protocol> Layer<P> for Meter {
///     fn on_data(
///         &mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>,
///     ) -> Result<(), Failure> {
///         let before = input.len();
///         let result = inner.on_data(cx, input);
///         self.0 += before - input.len();
///         result
///     }
/// }
///
/// let echo = protocol_fn(|cx, input| {
///     cx.send(input.take_all());
///     Ok(())
/// });
/// let mut harness = Harness::new(Layered::new(Meter::default(), echo));
/// harness.feed(b"hello");
/// assert_eq!(harness.take_sent(), b"hello");
/// ```
pub trait Layer<P: Protocol>: Any {
    /// Whether it transforms the bytes. If so, what the inner protocol sends is kept apart and goes
    /// through [`seal`](Self::seal).
    const SEALS: bool = false;

    /// The connection stands. A layer with a handshake of its own calls `inner.on_open` when that is
    /// done; until then the inner protocol gets no other callback but `on_close`.
    ///
    /// # Errors
    ///
    /// As for [`Protocol::on_open`]; so for all callbacks.
    fn on_open(&mut self, cx: &mut Context<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        inner.on_open(cx)
    }

    /// Bytes have arrived, or are offered again.
    ///
    /// # Errors
    ///
    /// As for [`Protocol::on_data`].
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        inner.on_data(cx, input)
    }

    /// The peer has half-closed.
    ///
    /// # Errors
    ///
    /// As for [`Protocol::on_eof`].
    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        inner.on_eof(cx, rest)
    }

    /// A timer that this layer itself set is due; those of the inner protocol go there by themselves.
    ///
    /// # Errors
    ///
    /// As for [`Protocol::on_timer`].
    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId, inner: &mut Inner<P>) -> Result<(), Failure> {
        let _ = (cx, timer, inner);
        Ok(())
    }

    /// The peer has taken its output.
    ///
    /// # Errors
    ///
    /// As for [`Protocol::on_drain`].
    fn on_drain(&mut self, cx: &mut Context<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        inner.on_drain(cx)
    }

    /// A message was posted.
    ///
    /// # Errors
    ///
    /// As for [`Protocol::on_message`].
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message, inner: &mut Inner<P>) -> Result<(), Failure> {
        inner.on_message(cx, message)
    }

    /// The loop drains.
    ///
    /// # Errors
    ///
    /// As for [`Protocol::on_shutdown`].
    fn on_shutdown(&mut self, cx: &mut Context<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        inner.on_shutdown(cx)
    }

    /// The connection has ended. The inner protocol is told after this, in any case.
    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        let _ = (cx, reason);
    }

    /// Makes of what the inner protocol sent what goes to the peer, and sends that. Called only where
    /// [`SEALS`](Self::SEALS) is set; `plain` may be changed in place. On a session it is called once for each datagram,
    /// of which it makes one: by one `send`, or in the [`send_buffer`](Context::send_buffer).
    ///
    /// # Errors
    ///
    /// As for every callback.
    fn seal(&mut self, cx: &mut Context<'_>, plain: &mut [u8]) -> Result<(), Failure> {
        cx.send(plain);
        Ok(())
    }

    /// Whether [`seal`](Self::seal) can be called yet. What the inner protocol sent before waits,
    /// within [`Limits::send_buffer`](crate::Limits::send_buffer).
    fn can_seal(&self) -> bool {
        true
    }

    /// The inner protocol closed or failed, and what it had sent is sealed: by default the
    /// connection closes. A layer with a goodbye of its own (TLS) says it here.
    fn on_inner_close(&mut self, cx: &mut Context<'_>) {
        cx.close();
    }

    /// The inner protocol will send no more, and what it had sent is sealed: by default the
    /// connection half-closes.
    fn on_inner_finish(&mut self, cx: &mut Context<'_>) {
        cx.finish();
    }
}

/// A layer and what it is around: a [`Protocol`] itself.
pub struct Layered<L, P> {
    layer: L,
    inner: Inner<P>,
}

impl<L: Layer<P>, P: Protocol> Layered<L, P> {
    /// `layer` around `protocol`.
    pub fn new(layer: L, protocol: P) -> Self {
        Self { layer, inner: Inner::new(protocol) }
    }

    /// The layer.
    pub fn layer(&self) -> &L {
        &self.layer
    }

    /// The layer, to be changed.
    pub fn layer_mut(&mut self) -> &mut L {
        &mut self.layer
    }

    /// What the layer is around.
    pub fn inner(&self) -> &Inner<P> {
        &self.inner
    }

    /// What the layer is around, to be changed.
    pub fn inner_mut(&mut self) -> &mut Inner<P> {
        &mut self.inner
    }

    /// Calls into the inner protocol as one of its callbacks, from outside of this layer's: what it sends and
    /// asks for there is seen to. See [`Inner::with`].
    ///
    /// # Errors
    ///
    /// The closure's: it ends the connection, as any callback's.
    pub fn with<R>(
        &mut self,
        cx: &mut Context<'_>,
        callback: impl FnOnce(&mut P, &mut Context<'_>) -> Result<R, Failure>,
    ) -> Result<Option<R>, Failure> {
        let mut returned = None;
        let result = self.inner.with(cx, callback).map(|value| returned = value);
        self.after(cx, result)?;
        Ok(returned)
    }

    /// What follows every callback: the inner protocol's output is sealed, then what it asked for is
    /// done.
    #[inline]
    fn after(&mut self, cx: &mut Context<'_>, result: Result<(), Failure>) -> Result<(), Failure> {
        if L::SEALS && self.inner.has_output() && self.layer.can_seal() {
            self.seal(cx)?;
        }
        let asked = self.inner.take_request();
        if asked == Requests::None && result.is_ok() {
            return Ok(());
        }
        self.end_inner(cx, asked, result)
    }

    fn seal(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if cx.is_datagram() {
            return self.seal_datagrams(cx);
        }
        let mut plain = self.inner.take_output(cx);
        let sealed = self.layer.seal(cx, &mut plain);
        self.inner.recycle(plain);
        sealed
    }

    /// On a session what the inner protocol sent as one datagram is sealed as one.
    fn seal_datagrams(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let (mut plain, ends) = self.inner.take_datagrams(cx);
        let mut start = 0;
        let sealed = ends.iter().try_for_each(|&end| {
            let datagram = &mut plain[std::mem::replace(&mut start, end)..end];
            self.layer.seal(cx, datagram)?;
            cx.boundary();
            Ok(())
        });
        self.inner.recycle_datagrams(plain, ends);
        sealed
    }

    #[cold]
    fn end_inner(&mut self, cx: &mut Context<'_>, asked: Requests, result: Result<(), Failure>) -> Result<(), Failure> {
        match asked {
            Requests::None => {}
            Requests::Finish => self.layer.on_inner_finish(cx),
            Requests::Close => self.layer.on_inner_close(cx),
            Requests::Abort => cx.abort(),
        }
        result
    }
}

impl<L: Layer<P>, P: Protocol> Protocol for Layered<L, P> {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.inner.seals = L::SEALS;
        let result = self.layer.on_open(cx, &mut self.inner);
        self.after(cx, result)
    }

    #[inline]
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.inner.begin_offer();
        let result = self.layer.on_data(cx, input, &mut self.inner);
        let result = result.and_then(|()| self.inner.offer_again(cx));
        self.after(cx, result)
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        let result = self.layer.on_eof(cx, rest, &mut self.inner);
        self.after(cx, result)
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId) -> Result<(), Failure> {
        let result = if timer.depth() == cx.depth {
            self.layer.on_timer(cx, timer, &mut self.inner)
        } else {
            self.inner.on_timer(cx, timer)
        };
        self.after(cx, result)
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let result = self.layer.on_drain(cx, &mut self.inner);
        self.after(cx, result)
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        let result = self.layer.on_message(cx, message, &mut self.inner);
        self.after(cx, result)
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let result = self.layer.on_shutdown(cx, &mut self.inner);
        self.after(cx, result)
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        self.layer.on_close(cx, reason);
        self.inner.on_close(cx, reason);
    }

    /// Its type, which says what it is around; where it does not (a box, a protocol that took over, one with a name of
    /// its own), the name of that.
    fn name(&self) -> &'static str {
        match self.inner.name() {
            name if name == std::any::type_name::<P>() => std::any::type_name::<Self>(),
            name => name,
        }
    }
}

#[cfg(test)]
mod tests;
