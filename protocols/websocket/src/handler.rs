//! What an application implements.

use switchboard::{CloseReason, Closing, Failure, Publication, TimerId};

use crate::close::CloseCode;
use crate::error::UsageError;
use crate::handshake::{Accept, Answer, Request, Response};
use crate::{Begin, Delivery, Message, Peer};

/// An application on one WebSocket connection, of either side.
///
/// The order of calls on a server: [`on_handshake`](Self::on_handshake) or [`on_http`](Self::on_http), once; if the
/// handshake was accepted, `on_open`, then any of the others, then `on_close`, exactly once, last. On a client:
/// [`on_accepted`](Self::on_accepted), `on_open`, and the same from there; or [`on_failed`](Self::on_failed) and nothing
/// else. After [`Peer::close`] nothing but `on_close` (and timers of its own, while the connection lasts) follows.
///
/// A callback that fails ends the connection: the peer gets close code 1011, and the error is the cause that
/// `on_close` is told.
///
/// ```
/// use switchboard::Failure;
/// use switchboard_websocket::{Accept, Handler, Message, Peer, Request, Response};
///
/// /// Repeats what it is told, to pages of its own origin.
/// struct Echo;
///
/// impl Handler for Echo {
///     fn on_handshake(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Result<Accept, Response> {
///         if request.is_same_origin() { Ok(Accept::new()) } else { Err(Response::text(403, "other origin\n")) }
///     }
///
///     fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
///         peer.send(message);
///         Ok(())
///     }
/// }
/// ```
pub trait Handler: 'static {
    /// A client asks to open a WebSocket, by a request that is in order. By default it may. What helps to decide:
    /// [`OriginPolicy::check`](crate::handshake::OriginPolicy::check), [`Request::choose_subprotocol`],
    /// [`Accept::without_compression`].
    ///
    /// # Errors
    /// The answer to refuse it with, after which the connection closes.
    fn on_handshake(&mut self, peer: &mut Peer<'_, '_>, request: &Request<'_>) -> Result<Accept, Response> {
        let _ = (peer, request);
        Ok(Accept::new())
    }

    /// A request in plain HTTP. After the answer the connection closes. By default the answer is that there is nothing
    /// but a WebSocket here (426 Upgrade Required).
    fn on_http(&mut self, peer: &mut Peer<'_, '_>, request: &Request<'_>) -> Response {
        let _ = (peer, request);
        Response::upgrade_required()
    }

    /// Client only: the server has accepted, by an answer that is in order. What it says beyond that (a subprotocol,
    /// cookies) can be looked at here; messages can be sent already.
    ///
    /// # Errors
    /// As for [`on_open`](Self::on_open): one that misses a subprotocol, for example, does not go on.
    fn on_accepted(&mut self, peer: &mut Peer<'_, '_>, answer: &Answer<'_>) -> Result<(), Failure> {
        let _ = (peer, answer);
        Ok(())
    }

    /// Client only, in place of all others: there is no WebSocket, since the connection or the proxy on the way could
    /// not be reached, the server refused or redirected ([`AnswerError`](crate::handshake::AnswerError)), or time ran
    /// out. Messages can be posted, and other connections opened.
    fn on_failed(&mut self, cx: &mut Closing<'_>, cause: &CloseReason) {
        let _ = (cx, cause);
    }

    /// The WebSocket stands; messages can be sent.
    ///
    /// # Errors
    /// As for every callback: the peer gets close code 1011.
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        let _ = peer;
        Ok(())
    }

    /// A message has arrived whole.
    ///
    /// # Errors
    /// As for [`on_open`](Self::on_open).
    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure>;

    /// A message begins that does not lie in one uncompressed frame in what was read: it can be put together, or be handed
    /// on in [pieces](Self::on_piece) as it arrives. By default it is put together.
    ///
    /// Not asked for a message that lies there, nor for an empty one: it comes whole in any case, since it is all there.
    /// So whoever takes pieces has their [`on_message`](Self::on_message) hand a whole message on to `on_piece`, as the one
    /// and last piece.
    ///
    /// # Errors
    /// As for [`on_open`](Self::on_open).
    fn on_begin(&mut self, peer: &mut Peer<'_, '_>, begin: &Begin) -> Result<Delivery, Failure> {
        let _ = (peer, begin);
        Ok(Delivery::Whole)
    }

    /// The next piece of a message for which [`on_begin`](Self::on_begin) has answered [`Delivery::Pieces`]; with the last
    /// one it has arrived whole. How it is cut follows from the network, not from the sender's frames. A piece has whole
    /// characters, if it is text; it is not empty, but the last may be.
    ///
    /// Nothing of the message is kept, so it may be as long as [`Settings::max_streamed`](crate::Settings::max_streamed).
    /// [`Peer::pause_reading`] stops it between pieces. Until it has ended nothing else comes from the peer but pongs; a
    /// message that breaks off has no last piece, and [`on_close`](Self::on_close) follows.
    ///
    /// ```
    /// use std::io::Write;
    /// use switchboard::Failure;
    /// use switchboard_websocket::{Begin, Delivery, Handler, Message, Peer};
    ///
    /// /// Writes each message into a file of its own.
    /// #[derive(Default)]
    /// struct Uploads {
    ///     file: Option<std::fs::File>,
    ///     number: u32,
    /// }
    ///
    /// impl Handler for Uploads {
    ///     fn on_begin(&mut self, _: &mut Peer<'_, '_>, _: &Begin) -> Result<Delivery, Failure> {
    ///         Ok(Delivery::Pieces)
    ///     }
    ///
    ///     fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
    ///         self.on_piece(peer, message, true)
    ///     }
    ///
    ///     fn on_piece(&mut self, peer: &mut Peer<'_, '_>, piece: Message<'_>, last: bool) -> Result<(), Failure> {
    ///         let mut file = match self.file.take() {
    ///             Some(file) => file,
    ///             None => std::fs::File::create(format!("{}.upload", self.number))?,
    ///         };
    ///         file.write_all(piece.as_bytes())?;
    ///         if last {
    ///             self.number += 1;
    ///             peer.text("got it");
    ///         } else {
    ///             self.file = Some(file);
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// As for [`on_open`](Self::on_open).
    fn on_piece(&mut self, peer: &mut Peer<'_, '_>, piece: Message<'_>, last: bool) -> Result<(), Failure> {
        let _ = (peer, piece, last);
        Err(Failure::caller(UsageError::NoOnPiece))
    }

    /// The peer answered a [`Peer::ping`], or sent a pong that nobody had asked for.
    ///
    /// # Errors
    /// As for [`on_open`](Self::on_open).
    fn on_pong(&mut self, peer: &mut Peer<'_, '_>, payload: &[u8]) -> Result<(), Failure> {
        let _ = (peer, payload);
        Ok(())
    }

    /// There is room again: exactly one follows when [`Peer::has_room`] has said no, unless the connection closes first.
    ///
    /// # Errors
    /// As for [`on_open`](Self::on_open).
    fn on_drain(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        let _ = peer;
        Ok(())
    }

    /// Somebody posted a message that is not a [`Post`](crate::Post). By default it is dropped.
    ///
    /// # Errors
    /// As for [`on_open`](Self::on_open).
    fn on_post(&mut self, peer: &mut Peer<'_, '_>, message: switchboard::Message) -> Result<(), Failure> {
        let _ = (peer, message);
        Ok(())
    }

    /// Something was published on a topic that this connection is [subscribed](Peer::subscribe) to. By default it is
    /// [sent](Peer::send_publication).
    ///
    /// # Errors
    /// As for [`on_open`](Self::on_open).
    fn on_publication(&mut self, peer: &mut Peer<'_, '_>, publication: &Publication) -> Result<(), Failure> {
        peer.send_publication(publication);
        Ok(())
    }

    /// A timer set by [`Peer::set_timer`] is due; it is gone now.
    ///
    /// # Errors
    /// As for [`on_open`](Self::on_open).
    fn on_timer(&mut self, peer: &mut Peer<'_, '_>, timer: TimerId) -> Result<(), Failure> {
        let _ = (peer, timer);
        Ok(())
    }

    /// The loop drains: say goodbye and close. By default: close code 1001, going away.
    ///
    /// # Errors
    /// As for [`on_open`](Self::on_open).
    fn on_shutdown(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        peer.close(CloseCode::GOING_AWAY, "")
    }

    /// The WebSocket is gone. Nothing can be sent any more, but messages can be posted and connections opened.
    fn on_close(&mut self, cx: &mut Closing<'_>, closed: &Closed<'_>) {
        let _ = (cx, closed);
    }
}

/// How a WebSocket ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Closed<'a> {
    /// The code of the first close frame, whoever sent it; [`CloseCode::NO_STATUS`] if it had none, and
    /// [`CloseCode::ABNORMAL`] if there was no close frame at all.
    pub code: CloseCode,
    /// That frame's reason.
    pub reason: &'a str,
    /// Whether that frame came from the peer.
    pub by_peer: bool,
    /// The peer's close frame, first or not: its code ([`CloseCode::NO_STATUS`] if it had none) and reason. `None` if none
    /// came. What RFC 6455 §7.1.5 calls the connection's close code is this one's, or 1006.
    pub received: Option<(CloseCode, &'a str)>,
    /// Whether both sides sent a close frame, and nothing that was sent was left (RFC 6455 §7.1.4).
    pub clean: bool,
    /// Messages and pings that were to be sent, or were posted, and never went out: before the WebSocket stood, after
    /// either side had begun to close, or posted too many before the handshake was done; with them, a message in pieces
    /// that broke off, and what waited behind it. What waited for the system to
    /// take it when the connection broke is not among them: see [`Counters`](switchboard::Counters).
    pub unsent: u32,
    /// What the loop says of it: the error, if there was one.
    pub cause: &'a CloseReason,
}

/// A closure as a [`Handler`]: called for every message, defaults for the rest.
///
/// ```
/// use switchboard_websocket::{Message, WebSocket, message_fn};
///
/// let shout = WebSocket::server(message_fn(|peer, message| {
///     match message {
///         Message::Text(text) => peer.text(&text.to_uppercase()),
///         Message::Binary(bytes) => peer.binary(bytes),
///     }
///     Ok(())
/// }));
/// # drop(shout);
/// ```
pub fn message_fn<F>(on_message: F) -> MessageFn<F>
where
    F: FnMut(&mut Peer<'_, '_>, Message<'_>) -> Result<(), Failure> + 'static,
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
    F: FnMut(&mut Peer<'_, '_>, Message<'_>) -> Result<(), Failure> + 'static,
{
    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        (self.on_message)(peer, message)
    }
}
