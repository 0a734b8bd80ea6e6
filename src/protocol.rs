//! The contract that everything plugs into.

use std::any::Any;

use crate::{CloseReason, Closing, Context, Failure, Input, Message, TimerId, Truncated};

/// A protocol on one connection.
///
/// It is given bytes, time and events; it consumes its [`Input`] and asks for effects through its
/// [`Context`]. It sees no socket, reads no clock and never blocks, so the same value runs on the
/// network, in a test, in virtual time, and around or inside another protocol. Effects happen after
/// the callback has returned: callbacks never nest.
///
/// The order of calls: `on_open`; then any of the others; `on_close` exactly once, last. A failed
/// outgoing connection gets `on_close` without an `on_open` before it. After a callback returned
/// `Err`, or asked for `close` or `abort`, only `on_close` follows.
///
/// The same protocol runs on a session over UDP ([`EventLoop::bind_sessions`](crate::EventLoop::bind_sessions),
/// [`Core::connect_udp`](crate::Core::connect_udp)), where [`is_datagram`](Context::is_datagram) says yes. What is
/// different there is said at each callback.
///
/// ```
/// use switchboard::{Context, Failure, Input, Protocol};
///
/// /// Answers each line with its length.
/// struct LineLength;
///
/// impl Protocol for LineLength {
///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
///         while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
///             let line = input.take(end + 1);
///             cx.send(format!("{}\n", line.len() - 1).as_bytes());
///         }
///         Ok(())
///     }
/// }
///
/// let mut harness = switchboard::testkit::Harness::new(LineLength);
/// harness.feed(b"four\nthr");
/// harness.feed(b"ee\n");
/// assert_eq!(harness.take_sent(), b"4\n5\n");
/// ```
pub trait Protocol: Any {
    /// The connection stands: it was accepted, or an outgoing one is established, or another
    /// protocol [switched](Context::switch_to) to this one. A session opens by the first datagram of its peer, which
    /// `on_data` is given next; an outgoing one at once, since nothing is exchanged.
    ///
    /// # Errors
    ///
    /// As for every callback: what was sent is delivered, then the connection closes with this as
    /// its reason.
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let _ = cx;
        Ok(())
    }

    /// Bytes have arrived. Consume what is understood; what is left is offered again, with more
    /// behind it. Whoever leaves input because there is no [room](Context::has_room) for the answers
    /// calls [`pause_reading`](Context::pause_reading), and in `on_drain` [`resume_reading`](Context::resume_reading), which offers
    /// it again as it is.
    ///
    /// On a session this is exactly one datagram, which may be empty. It comes whole or not at all, perhaps twice,
    /// perhaps before one that was sent earlier. What is left of it is dropped and
    /// [counted](crate::Counters::bytes_discarded), and so is what comes while reading is paused;
    /// [`wait_for`](Input::wait_for) has no effect.
    ///
    /// # Errors
    ///
    /// As for [`on_open`](Self::on_open).
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure>;

    /// Lends the loop the memory that bytes are to be read into, behind what this protocol has of a large message: asked for
    /// before each read from [`lend_read_buffer`](Context::lend_read_buffer) on, until it is empty. An empty one asks for
    /// [`on_data`](Self::on_data) again.
    ///
    /// It must not be longer than what is still wanted there: the bytes after it come to `on_data`. How long it is depends
    /// best on what has arrived, not on what a peer has declared, and is to be [declared](Context::hold) beforehand;
    /// [`Core::take_spare`](crate::Core::take_spare) has memory that was used before.
    ///
    /// What is gained: a message longer than a read is neither copied out of the loop's buffer nor looked at again. What
    /// is read comes to `on_data` all the same inside a [layer](crate::Layer), on a session, and where bytes were left
    /// unconsumed; so both ways must lead to the same.
    ///
    /// ```
    /// use switchboard::{Context, Failure, Input, Protocol, testkit::Harness};
    ///
    /// /// Takes blobs of 100,000 bytes, and answers each with a dot.
    /// #[derive(Default)]
    /// struct Blobs {
    ///     blob: Vec<u8>,
    ///     filled: usize,
    /// }
    ///
    /// impl Blobs {
    ///     const LENGTH: usize = 100_000;
    ///
    ///     /// So many bytes more have arrived: the blob is complete, or there is room for as many again.
    ///     fn go_on(&mut self, cx: &mut Context<'_>, count: usize) -> Result<(), Failure> {
    ///         self.filled += count;
    ///         if self.filled == Self::LENGTH {
    ///             cx.send(b".");
    ///             *self = Self::default();
    ///         }
    ///         if self.filled == self.blob.len() {
    ///             let doubled = (2 * self.filled).min(Self::LENGTH);
    ///             cx.hold(doubled)?;
    ///             self.blob.resize(doubled, 0);
    ///         }
    ///         cx.lend_read_buffer();
    ///         Ok(())
    ///     }
    /// }
    ///
    /// impl Protocol for Blobs {
    ///     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
    ///         while !input.is_empty() {
    ///             let bytes = input.take(input.len().min(Self::LENGTH - self.filled));
    ///             self.blob.truncate(self.filled);
    ///             self.blob.extend_from_slice(bytes);
    ///             self.go_on(cx, bytes.len())?;
    ///         }
    ///         Ok(())
    ///     }
    ///
    ///     fn read_buffer(&mut self) -> &mut [u8] {
    ///         &mut self.blob[self.filled..]
    ///     }
    ///
    ///     fn on_filled(&mut self, cx: &mut Context<'_>, count: usize) -> Result<(), Failure> {
    ///         self.go_on(cx, count)
    ///     }
    /// }
    ///
    /// let mut harness = Harness::new(Blobs::default());
    /// for _ in 0..10 {
    ///     harness.feed(&[7; 25_000]);
    /// }
    /// assert_eq!(harness.take_sent(), b"..");
    /// ```
    fn read_buffer(&mut self) -> &mut [u8] {
        &mut []
    }

    /// The first `count` bytes of what [`read_buffer`](Self::read_buffer) lent are now what the peer has sent; at least one. If
    /// the buffer is full, what came after it follows at once by [`on_data`](Self::on_data), unless this pauses reading.
    ///
    /// # Errors
    ///
    /// As for [`on_open`](Self::on_open).
    fn on_filled(&mut self, cx: &mut Context<'_>, count: usize) -> Result<(), Failure> {
        let _ = (cx, count);
        Ok(())
    }

    /// The peer will send no more (it half-closed); `rest` is what was never consumed. Never called on a session: how a
    /// peer says goodbye there is the protocol's own affair, and one that falls silent is closed by its
    /// [idle timeout](crate::SessionOptions::idle_timeout).
    ///
    /// By default the connection closes: in order if nothing is left, else with [`Truncated`]. A
    /// protocol that goes on sending after the peer's half-close overrides this, and calls
    /// [`Context::finish`] or [`Context::close`] when it is done.
    ///
    /// # Errors
    ///
    /// As for [`on_open`](Self::on_open).
    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        if rest.is_empty() {
            cx.close();
            Ok(())
        } else {
            Err(Truncated { unconsumed: rest.len() }.into())
        }
    }

    /// A timer that this protocol [set](Context::set_timer) is due; it is gone now.
    ///
    /// # Errors
    ///
    /// As for [`on_open`](Self::on_open).
    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId) -> Result<(), Failure> {
        let _ = (cx, timer);
        Ok(())
    }

    /// The peer has taken its output down to the low-water mark. Called exactly once after
    /// [`has_room`](Context::has_room) said no, unless the connection closes first. On a session it is the queue of its
    /// socket that has gone down; what does not fit there is dropped and [counted](crate::Counters::datagrams_dropped).
    ///
    /// # Errors
    ///
    /// As for [`on_open`](Self::on_open).
    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let _ = cx;
        Ok(())
    }

    /// Somebody [posted](crate::Core::post) a message to this connection, or [published](crate::Core::publish) on a
    /// topic that it is [subscribed](Context::subscribe) to. One that is not understood may be dropped.
    ///
    /// # Errors
    ///
    /// As for [`on_open`](Self::on_open).
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        let _ = (cx, message);
        Ok(())
    }

    /// The loop drains: say goodbye and close before its deadline. By default: close.
    ///
    /// # Errors
    ///
    /// As for [`on_open`](Self::on_open).
    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.close();
        Ok(())
    }

    /// The last call, exactly once, whatever happened. Nothing can be sent any more, but messages
    /// can be posted and connections opened.
    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        let _ = (cx, reason);
    }

    /// What a [`Watchdog`](crate::Watchdog) calls it: by default its type. What stands for another protocol gives that
    /// one's name.
    fn name(&self) -> &'static str {
        std::any::type_name::<Self>()
    }

    /// The protocol as the loop keeps it. Not to be overridden: it keeps a `Box<dyn Protocol>` from
    /// being boxed twice.
    #[doc(hidden)]
    fn boxed(self) -> Box<dyn Protocol>
    where
        Self: Sized,
    {
        Box::new(self)
    }
}

impl Protocol for Box<dyn Protocol> {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        (**self).on_open(cx)
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        (**self).on_data(cx, input)
    }

    fn read_buffer(&mut self) -> &mut [u8] {
        (**self).read_buffer()
    }

    fn on_filled(&mut self, cx: &mut Context<'_>, count: usize) -> Result<(), Failure> {
        (**self).on_filled(cx, count)
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        (**self).on_eof(cx, rest)
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId) -> Result<(), Failure> {
        (**self).on_timer(cx, timer)
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        (**self).on_drain(cx)
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        (**self).on_message(cx, message)
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        (**self).on_shutdown(cx)
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        (**self).on_close(cx, reason);
    }

    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn boxed(self) -> Box<dyn Protocol> {
        self
    }
}

/// A closure as a protocol, for the small things: called for every input, defaults for the rest.
///
/// ```
/// use switchboard::{protocol_fn, testkit::Harness};
///
/// let shout = protocol_fn(|cx, input| {
///     let bytes = input.take_all();
///     bytes.make_ascii_uppercase();
///     cx.send(bytes);
///     Ok(())
/// });
/// let mut harness = Harness::new(shout);
/// harness.feed(b"hello");
/// assert_eq!(harness.take_sent(), b"HELLO");
/// ```
pub fn protocol_fn<F>(on_data: F) -> ProtocolFn<F>
where
    F: FnMut(&mut Context<'_>, &mut Input<'_>) -> Result<(), Failure> + 'static,
{
    ProtocolFn { on_data }
}

/// What [`protocol_fn`] makes.
#[derive(Debug)]
pub struct ProtocolFn<F> {
    on_data: F,
}

impl<F> Protocol for ProtocolFn<F>
where
    F: FnMut(&mut Context<'_>, &mut Input<'_>) -> Result<(), Failure> + 'static,
{
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        (self.on_data)(cx, input)
    }
}
