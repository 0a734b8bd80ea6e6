//! Sending.

use std::io;

use bytes::Bytes;

use super::{Context, Requests};
use crate::Input;
use crate::link::Flag;

/// From this many bytes on a piece that is likely the last of its visit is written from where it lies.
const LARGE: usize = 8 * 1024;

/// From this many bytes on a write more costs less than a copy.
const VERY_LARGE: usize = 64 * 1024;

impl Context<'_> {
    /// Sends bytes to the peer. They are copied, but for large pieces: one of 64 KiB or more, or one of 8 KiB or more
    /// that is the first of its callback or answers all of its input, is offered to the system at once, behind what was
    /// sent before, and only what the system does not take is copied. Use [`send_shared`](Self::send_shared) for a
    /// large payload that many peers get.
    ///
    /// After `finish`, `close` or `abort` nothing is sent; the bytes count as
    /// [`bytes_unsent`](crate::Counters::bytes_unsent).
    ///
    /// On a session each call is one datagram, an empty one included.
    #[inline]
    pub fn send(&mut self, bytes: &[u8]) {
        if self.can_send() && bytes.len() < LARGE {
            self.out.push(bytes);
        } else {
            self.send_otherwise(bytes);
        }
    }

    /// Sends back all that is left of the input, from where it was read, if it can be done without a copy: if nothing else
    /// waits to be sent, and if [`Limits::high_water`](crate::Limits::high_water) has room for all that a read may bring,
    /// [`Limits::read_budget`](crate::Limits::read_budget). False if not: then nothing has happened, and
    /// [`send`](Self::send) does it.
    ///
    /// ```
    /// use switchboard::{protocol_fn, testkit::Harness};
    ///
    /// let mut harness = Harness::new(protocol_fn(|cx, input| {
    ///     if !cx.send_back(input) {
    ///         cx.send(input.take_all());
    ///     }
    ///     Ok(())
    /// }));
    /// harness.feed(b"hello");
    /// assert_eq!(harness.take_sent(), b"hello");
    /// ```
    #[inline]
    #[must_use]
    pub fn send_back(&mut self, input: &mut Input<'_>) -> bool {
        // What can be returned belongs to a connection at rest: nothing waits further out, and it has not finished. Where
        // nothing was asked for, all that was sent is in the flat buffer.
        let can = input.is_returnable_at(self.depth)
            && !self.link.flags.contains(Flag::ASKED)
            && self.out.as_fresh().is_empty();
        if can {
            self.returned += input.take_all().len();
        }
        can
    }

    /// What this callback sends is said unasked, although it was given input: a greeting, behind a handshake.
    ///
    /// Answers hold reading back while more than [`Limits::high_water`](crate::Limits::high_water) of them waits: who does
    /// not take them is not asked for more. What is said unasked does not, or two who greet each other at length would
    /// wait for each other for ever. (So it is with all that is sent in callbacks without input.)
    pub fn unasked(&mut self) {
        self.link.flags.insert(Flag::UNASKED | Flag::ASKED);
    }

    /// Sends bytes to the peer without copying them (but into the datagram, on a session).
    ///
    /// After `finish`, `close` or `abort` nothing is sent, as with [`send`](Self::send).
    pub fn send_shared(&mut self, bytes: Bytes) {
        if self.can_send() {
            self.link.flags.insert(Flag::ASKED);
            self.out.push_shared(bytes);
        } else {
            self.send_otherwise(&bytes);
        }
    }

    /// Lends the buffer in which output is corked, to be appended to in place.
    ///
    /// For writers that format; what is in it already must be left alone. `None` after `finish`,
    /// `close` or `abort`. On a session, what is appended is a datagram when it [ends](Self::boundary).
    pub fn send_buffer(&mut self) -> Option<&mut Vec<u8>> {
        (self.can_send() || self.can_send_datagrams()).then(|| self.out.tail_mut())
    }

    /// On a session, ends the datagram that was written into the [`send_buffer`](Self::send_buffer); so do the next
    /// `send`, and the end of the callback. Where nothing was written, and on a stream, it does nothing.
    ///
    /// ```
    /// use std::io::Write;
    /// use switchboard::{protocol_fn, testkit::SessionHarness};
    ///
    /// let mut harness = SessionHarness::new(protocol_fn(|cx, input| {
    ///     for byte in input.take_all() {
    ///         if let Some(buffer) = cx.send_buffer() {
    ///             write!(buffer, "{byte}")?;
    ///         }
    ///         cx.boundary();
    ///     }
    ///     Ok(())
    /// }));
    /// harness.feed(b"\x07\x63");
    /// assert_eq!(harness.take_sent(), [b"7".to_vec(), b"99".to_vec()]);
    /// ```
    pub fn boundary(&mut self) {
        if self.is_datagram() {
            self.out.end_datagram();
        }
    }

    /// Whether bytes can be sent just so: on a stream that neither ends nor has finished.
    #[inline]
    fn can_send(&self) -> bool {
        self.requests == Requests::None && !self.link.flags.intersects(Flag::FINISHING | Flag::DATAGRAM)
    }

    fn can_send_datagrams(&self) -> bool {
        self.requests == Requests::None && self.link.flags.only(Flag::FINISHING | Flag::DATAGRAM) == Flag::DATAGRAM
    }

    /// A large piece; on a session, a datagram. Else nothing is sent any more.
    #[cold]
    #[inline(never)]
    fn send_otherwise(&mut self, bytes: &[u8]) {
        if self.can_send() {
            let written = self.write_now(bytes);
            self.out.push(&bytes[written..]);
        } else if self.can_send_datagrams() {
            self.link.flags.insert(Flag::ASKED); // an empty one shows nowhere else
            self.out.push_datagram(bytes);
        } else {
            self.count_unsent(bytes.len());
        }
    }

    /// Offers the system what is corked and, behind it, `bytes` where they lie; says how many of those it took. Nothing
    /// is tried where output waits already, here or in the connection, by a protocol whose output a layer seals, and
    /// when this visit has written more than the high-water mark: who sends for as long as there is room would never
    /// return.
    fn write_now(&mut self, bytes: &[u8]) -> usize {
        let waits = self.link.flags.intersects(Flag::WRITE_FULL | Flag::WRITE_MORE);
        let waits = waits || self.outside > 0 || self.returned > 0 || !self.out.is_for_visits();
        let corked = self.out.len();
        // Answers that are short of the input have others to follow (their headers may be shorter). Written one by one,
        // four messages of 16 KiB cost 1.4 times what they cost together.
        let more = self.out.gone > 0 || corked + bytes.len() < self.offered - self.offered / 8;
        if waits || (more && bytes.len() < VERY_LARGE) || self.out.gone > self.core.limits.high_water {
            return 0;
        }
        let offered = &bytes[..bytes.len().min(self.core.burst)];
        let result = match corked {
            0 => self.stream.write(offered).map(|written| (written, offered.len())),
            _ => self.out.write_with(self.stream, offered, usize::MAX),
        };
        match result {
            Ok((0, _)) => 0, // an error, which shows again
            Ok((written, asked)) => {
                self.core.counters[self.link.counters as usize].bytes_out += written as u64;
                self.link.last_write = self.core.now;
                self.link.flags.insert(Flag::ASKED);
                if written < asked {
                    self.link.flags.insert(Flag::WRITE_FULL);
                } else if offered.len() < bytes.len() {
                    self.link.flags.insert(Flag::WRITE_MORE);
                }
                if corked > 0 {
                    self.out.advance(written.min(corked));
                }
                self.out.gone += written;
                written.saturating_sub(corked)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => {
                self.out.refused(error);
                self.link.flags.insert(Flag::WRITE_FULL | Flag::ASKED);
                0
            }
        }
    }
}
