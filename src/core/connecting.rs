//! Connecting, as callbacks ask for it.

use std::time::Duration;

use super::{Command, Core};
use crate::target::Destination;
use crate::{ConnectOptions, ConnectionId, Protocol, Target, UdpOptions};

impl Core {
    /// Opens an outgoing connection, to an address or a name by TCP, or to a Unix socket: see
    /// [`Target`]. Its id is good at once: messages posted to it wait until it stands. If it can't be
    /// established, `protocol`'s `on_close` says why; at once, if the loop drains. (A protocol that
    /// connects again in answer to that, when the loop has ended, is dropped.)
    ///
    /// A name is resolved off the loop's thread. Its addresses are tried one after the other, those of
    /// the two families in turns, the one first that the resolver names first (RFC 8305 §4); the next
    /// when one has failed, or has not succeeded within 250 ms (§5), and those before go on meanwhile.
    /// The first that stands is the connection, the others are closed. So for that time one connection
    /// may have several sockets; 16 addresses are tried at most.
    /// [`Limits::connect_timeout`](crate::Limits::connect_timeout) is for all of that together.
    pub fn connect(&mut self, target: impl Into<Target>, protocol: impl Protocol) -> ConnectionId {
        self.connect_with(target, &ConnectOptions::default(), protocol)
    }

    /// As [`connect`](Self::connect), with options.
    pub fn connect_with(
        &mut self,
        target: impl Into<Target>,
        options: &ConnectOptions,
        protocol: impl Protocol,
    ) -> ConnectionId {
        let destination = Destination::new(target.into(), options);
        self.connect_to(Duration::ZERO, destination, protocol.boxed())
    }

    /// As [`connect`](Self::connect), after a delay. Until then it is nothing to the system, but counts
    /// as a connection (where the loop has no room for one now, it is refused only if there is none
    /// then); closing it, and the drain, end it at once.
    ///
    /// [`Reconnect`](crate::Reconnect) is made of this.
    ///
    /// ```
    /// use std::time::Duration;
    /// use switchboard::{Bytes, EventLoop, protocol_fn};
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// let later = event_loop.connect_after(
    ///     Duration::from_secs(3600),
    ///     ("127.0.0.1", 7000),
    ///     protocol_fn(|_, _| Ok(())),
    /// );
    /// event_loop.core().post(later, Bytes::from("for then")).unwrap();
    /// event_loop.core().close(later); // or rather not
    /// event_loop.turn(None)?;
    /// assert_eq!(event_loop.core().open_connections(), 0);
    /// assert_eq!(event_loop.counters().messages_undelivered, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect_after(
        &mut self,
        delay: Duration,
        target: impl Into<Target>,
        protocol: impl Protocol,
    ) -> ConnectionId {
        let destination = Destination::new(target.into(), &ConnectOptions::default());
        self.connect_to(delay, destination, protocol.boxed())
    }

    pub(crate) fn connect_to(
        &mut self,
        delay: Duration,
        destination: Destination,
        protocol: Box<dyn Protocol>,
    ) -> ConnectionId {
        let (id, at) = (ConnectionId(self.registry.reserve()), self.now + delay);
        self.commands.push(Command::Connect { id, at, destination: Box::new(destination), protocol });
        id
    }

    /// Opens a session with one peer: a UDP socket of its own that is connected to it, so that nobody else's datagrams
    /// come, and the system reports it if nobody is there ([`CloseReason::Io`](crate::CloseReason::Io), when it hears
    /// of it). It opens at once, since nothing is exchanged, and closes with its socket; it counts as a connection
    /// ([`Limits::connections`](crate::Limits::connections)). See
    /// [`EventLoop::bind_sessions`](crate::EventLoop::bind_sessions) for what a session is. This one has no idle
    /// timeout: whoever wants to know that the peer is alive asks it (a heartbeat does). A name is resolved first, as for
    /// [`connect`](Self::connect), and the first address taken to which there is a way. A Unix socket is no target
    /// ([`CloseReason::Connect`](crate::CloseReason::Connect), `Unsupported`).
    ///
    /// ```
    /// use switchboard::{Context, EventLoop, Failure, Input, Protocol};
    ///
    /// struct Asks;
    ///
    /// impl Protocol for Asks {
    ///     fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
    ///         cx.send(b"what time is it?");
    ///         Ok(())
    ///     }
    ///     fn on_data(&mut self, cx: &mut Context<'_>, answer: &mut Input<'_>) -> Result<(), Failure> {
    ///         println!("{}", String::from_utf8_lossy(answer.take_all()));
    ///         cx.close();
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// event_loop.core().connect_udp(("127.0.0.1", 7000), Asks);
    /// event_loop.turn(Some(std::time::Duration::ZERO))?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn connect_udp(&mut self, target: impl Into<Target>, protocol: impl Protocol) -> ConnectionId {
        self.connect_udp_with(target, &UdpOptions::default(), protocol)
    }

    /// As [`connect_udp`](Self::connect_udp), with options; what the system says of those is
    /// [`CloseReason::Connect`](crate::CloseReason::Connect).
    pub fn connect_udp_with(
        &mut self,
        target: impl Into<Target>,
        options: &UdpOptions,
        protocol: impl Protocol,
    ) -> ConnectionId {
        let id = ConnectionId(self.registry.reserve());
        let (target, options) = (target.into(), Box::new(options.clone()));
        self.commands.push(Command::ConnectUdp { id, target, options, protocol: protocol.boxed() });
        id
    }
}
