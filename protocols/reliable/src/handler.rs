//! What an application implements.

use switchboard::{CloseReason, Closing, Failure, Publication, TimerId};

use crate::{Peer, Stats};

/// An application on one session, of either side.
///
/// The order of calls: `on_open`; then any of the others; `on_close` exactly once, last. On a client whose session never
/// opens, `on_close` alone. On a server whose session never opens (what came was left over from another, or its source was
/// forged), nothing; unless the program is to blame, by [`Settings`](crate::Settings) that contradict each other. After [`Peer::close`] messages that the peer had sent before go on to come, until it has ended too;
/// after [`Peer::abort`] only `on_close`.
///
/// A callback that fails ends the session at once; the peer is told.
///
/// ```
/// use switchboard::Failure;
/// use switchboard_reliable::{Handler, Peer};
///
/// /// Repeats what it is told, and listens no faster than it is listened to.
/// struct Echo;
///
/// impl Handler for Echo {
///     fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: &[u8]) -> Result<(), Failure> {
///         peer.send(message).map_err(Failure::limit)?;
///         if !peer.has_room() {
///             peer.pause_reading();
///         }
///         Ok(())
///     }
///
///     fn on_drain(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
///         peer.resume_reading();
///         Ok(())
///     }
/// }
/// ```
pub trait Handler: 'static {
    /// The session stands; messages can be sent.
    ///
    /// # Errors
    /// As for every callback: the session ends at once.
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        let _ = peer;
        Ok(())
    }

    /// The next message has arrived, whole and once, in the order in which the peer sent them.
    ///
    /// # Errors
    /// As for [`on_open`](Self::on_open).
    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: &[u8]) -> Result<(), Failure>;

    /// There is room again: exactly one follows when [`Peer::has_room`] has said no, unless the session closes first.
    ///
    /// # Errors
    /// As for [`on_open`](Self::on_open).
    fn on_drain(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        let _ = peer;
        Ok(())
    }

    /// Somebody [posted](switchboard::Core::post) something. What comes before the session stands waits for it. By default
    /// bytes are sent as a message, and all else is dropped.
    ///
    /// # Errors
    /// As for [`on_open`](Self::on_open).
    fn on_post(&mut self, peer: &mut Peer<'_, '_>, message: switchboard::Message) -> Result<(), Failure> {
        match message {
            switchboard::Message::Bytes(bytes) => peer.send_or_count(&bytes),
            _ => Ok(()),
        }
    }

    /// Something was published on a topic to which this session [subscribes](Peer::subscribe). By default it is sent as a
    /// message.
    ///
    /// # Errors
    /// As for [`on_open`](Self::on_open).
    fn on_publication(&mut self, peer: &mut Peer<'_, '_>, publication: &Publication) -> Result<(), Failure> {
        peer.send_or_count(publication.payload())
    }

    /// A timer set by [`Peer::set_timer`] is due; it is gone now.
    ///
    /// # Errors
    /// As for [`on_open`](Self::on_open).
    fn on_timer(&mut self, peer: &mut Peer<'_, '_>, timer: TimerId) -> Result<(), Failure> {
        let _ = (peer, timer);
        Ok(())
    }

    /// The loop drains: say goodbye and close. By default: close.
    ///
    /// # Errors
    /// As for [`on_open`](Self::on_open).
    fn on_shutdown(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        peer.close();
        Ok(())
    }

    /// The session is gone. Nothing can be sent any more, but messages can be posted and connections opened.
    fn on_close(&mut self, cx: &mut Closing<'_>, closed: &Closed<'_>) {
        let _ = (cx, closed);
    }
}

/// How a session ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Closed<'a> {
    /// Whether both sides ended in order, and everything that either sent has arrived.
    pub clean: bool,
    /// Whether the peer closed before this side did.
    pub by_peer: bool,
    /// Messages that were sent and are not known to have arrived. Some of them may have: the network that failed may have
    /// lost the acknowledgement alone.
    pub unsent: usize,
    /// What the session has seen.
    pub stats: Stats,
    /// What the loop says of it: the error ([`PeerGone`](crate::PeerGone), [`ProtocolError`](crate::ProtocolError)), if
    /// there was one.
    pub cause: &'a CloseReason,
}

/// A closure as a [`Handler`]: called for every message, defaults for the rest.
///
/// ```
/// use switchboard::Failure;
/// use switchboard_reliable::{Reliable, message_fn};
///
/// let shout = Reliable::server(message_fn(|peer, message| {
///     peer.send(&message.to_ascii_uppercase()).map_err(Failure::limit)
/// }));
/// # drop(shout);
/// ```
pub fn message_fn<F>(on_message: F) -> MessageFn<F>
where
    F: FnMut(&mut Peer<'_, '_>, &[u8]) -> Result<(), Failure> + 'static,
{
    MessageFn { on_message }
}

/// What [`message_fn`] makes.
#[derive(Debug)]
pub struct MessageFn<F> {
    on_message: F,
}

impl<F> Handler for MessageFn<F>
where
    F: FnMut(&mut Peer<'_, '_>, &[u8]) -> Result<(), Failure> + 'static,
{
    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: &[u8]) -> Result<(), Failure> {
        (self.on_message)(peer, message)
    }
}
