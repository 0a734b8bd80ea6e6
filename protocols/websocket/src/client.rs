//! The opening handshake on a connection that this side has opened.

use std::rc::Rc;

use switchboard::{Context, Failure, Input};

use crate::deflate::Offer;
use crate::frame::{self, UnmaskedMessage};
use crate::handshake::{AcceptKey, Answer, AnswerError, AnswerReader, Connect, Refusing};
use crate::state::{Phase, State};
use crate::{Handler, Settings, WebSocket};

/// A client's part of [`Opening`](crate::state::Opening).
#[derive(Debug)]
pub(crate) struct Asking {
    connect: Connect,
    /// What the server must answer, once it was asked.
    accept: Option<AcceptKey>,
    reader: AnswerReader,
    /// The answer was no; its body is being read.
    refusing: Option<Refusing>,
}

impl Asking {
    pub(crate) fn new(connect: Connect) -> Self {
        Self { connect, accept: None, reader: AnswerReader::default(), refusing: None }
    }
}

impl<H: Handler> WebSocket<H> {
    /// A connection that this side opens, to ask for what `connect` says, with the default [`Settings`]: a protocol for
    /// [`Core::connect`](switchboard::Core::connect).
    ///
    /// RFC 6455 §4.1 wants a client to have no more than one connection to an address in its opening handshake at a time:
    /// who connects to one address many times keeps that by connecting the next from [`Handler::on_open`] or
    /// [`Handler::on_failed`].
    ///
    /// ```
    /// use std::net::ToSocketAddrs;
    /// use switchboard::{CloseReason, Closing, EventLoop, Failure};
    /// use switchboard_websocket::{CloseCode, Connect, Handler, Message, Peer, WebSocket};
    /// use switchboard_websocket::handshake::AnswerError;
    ///
    /// /// Asks once, and leaves with the answer.
    /// struct Question;
    ///
    /// impl Handler for Question {
    ///     fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
    ///         peer.text("how are you?");
    ///         Ok(())
    ///     }
    ///
    ///     fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
    ///         println!("{message:?}");
    ///         peer.close(CloseCode::NORMAL, "")
    ///     }
    ///
    ///     fn on_failed(&mut self, _: &mut Closing<'_>, cause: &CloseReason) {
    ///         let error = cause.error().and_then(|error| error.downcast_ref());
    ///         match error.and_then(AnswerError::refusal) {
    ///             Some(refusal) => println!("{refusal}: {}", refusal.body().escape_ascii()),
    ///             None => println!("{cause}"),
    ///         }
    ///     }
    /// }
    ///
    /// let connect = Connect::to("ws://127.0.0.1:9001/chat")?;
    /// let addresses = (connect.url().host(), connect.url().port()).to_socket_addrs()?; // asks the resolver, and waits
    /// let mut event_loop = EventLoop::new()?;
    /// for address in addresses.take(1) {
    ///     event_loop.connect(address, WebSocket::client(connect.clone(), Question));
    /// }
    /// # event_loop.handle().stop();
    /// event_loop.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn client(connect: Connect, handler: H) -> Self {
        Self::client_with_settings(connect, handler, &Rc::default())
    }

    /// As [`client`](Self::client), with settings that it shares with others.
    #[must_use]
    pub fn client_with_settings(connect: Connect, handler: H, settings: &Rc<Settings>) -> Self {
        Self { handler, state: State::client(settings, Asking::new(connect)) }
    }

    /// The connection stands: the request is sent, with a key that nobody can foresee (RFC 6455 §4.1).
    pub(crate) fn ask(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let Phase::Opening(opening) = &mut self.state.phase else { return Ok(()) };
        let Some(asking) = opening.asking.as_mut().filter(|asking| asking.accept.is_none()) else { return Ok(()) };
        asking.connect.compression = self.state.settings.compression.as_ref().map(Offer::new);
        let mut nonce = [0; 16];
        cx.random(&mut nonce);
        if let Some(out) = cx.send_buffer() {
            asking.accept = Some(asking.connect.write(nonce, out).map_err(Failure::caller)?);
        }
        Ok(())
    }

    /// More of the server's answer has arrived, and perhaps frames right behind it.
    pub(crate) fn on_answer(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        let settings = Rc::clone(&self.state.settings);
        let Phase::Opening(opening) = &mut self.state.phase else { return Ok(()) };
        let Some(Asking { connect, accept: Some(accept), reader, refusing }) = &mut opening.asking else {
            return Ok(());
        };
        if refusing.is_none() {
            let read = reader.read(input, settings.max_handshake, settings.max_headers);
            let Some(answer) = read.map_err(AnswerError::into_failure)? else { return Ok(()) };
            if answer.status() == 101 {
                answer.check(connect, *accept).map_err(AnswerError::into_failure)?;
                let agreed = answer.compression(connect).map_err(AnswerError::into_failure)?;
                self.state.begin_compression(agreed);
                return self.on_accepted(cx, input, &answer);
            }
            *refusing = Some(Refusing::new(&answer, hold(cx, settings.max_refusal)));
        }
        match refusing.take_if(|refusing| refusing.read(input)) {
            Some(Refusing { refusal, .. }) => Err(AnswerError::refused(refusal).into_failure()),
            None => Ok(()),
        }
    }

    /// The server has accepted.
    fn on_accepted(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, answer: &Answer<'_>) -> Result<(), Failure> {
        let posts = match std::mem::replace(&mut self.state.phase, Phase::Open) {
            Phase::Opening(opening) => opening.posts,
            _ => Vec::new(),
        };
        self.opened(cx, input, Some(answer), posts)
    }

    /// What the answer has come to, when no more of it will.
    pub(crate) fn unanswered(&mut self, error: AnswerError) -> Failure {
        let refusing = match &mut self.state.phase {
            Phase::Opening(opening) => opening.asking.as_mut().and_then(|asking| asking.refusing.take()),
            _ => None,
        };
        refusing.map_or(error, |refusing| AnswerError::refused(refusing.refusal)).into_failure()
    }

    /// The hot path of a client: a message in one frame, all of it here. False if what comes next is something else.
    #[inline(never)]
    pub(crate) fn whole_unmasked(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<bool, Failure> {
        let Some(UnmaskedMessage { opcode, start, end }) = frame::whole_unmasked_message(input) else {
            return Ok(false);
        };
        if end - start > self.state.settings.max_message {
            return Ok(false);
        }
        let payload = &input.take(end)[start..];
        self.deliver_whole(cx, opcode, payload)
    }
}

/// Declares that `bytes` will be held. How many may be: none, if the loop has no memory left.
pub(crate) fn hold(cx: &mut Context<'_>, bytes: usize) -> usize {
    if cx.hold(bytes).is_ok() {
        return bytes;
    }
    let _ = cx.hold(0); // which can't be more than the loop may
    0
}
