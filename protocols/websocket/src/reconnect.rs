//! A client that connects again by itself.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use switchboard::{Backoff, CloseReason, ConnectOptions, Core, Protocol, Reconnecting, Retry, Target};

use crate::close::CloseCode;
use crate::handshake::{AnswerError, Connect, Refusal};
use crate::proxy::ProxyError;
use crate::{Closed, Handler, Settings, WebSocket};

mod attempt;

pub use attempt::Attempt;
use attempt::Watch;

/// A WebSocket client that connects again by itself: [`switchboard::Reconnect`], with what a WebSocket knows of its end.
///
/// Each attempt is a connection of its own, with a [`Handler`] of its own, which is told how it ended as ever. Whether
/// another attempt follows says [`Ended::retry`], and when the [`Backoff`]: at first within 5 s at random, later ones
/// within twice as much each, up to a minute (RFC 6455 §7.2.3). It begins anew once a WebSocket has stood, from its
/// handshake on, for [`Backoff::healthy_after`].
///
/// What is [posted](Reconnecting::post) to the client goes to the attempt under way, and is sent when that WebSocket
/// stands. To leave in order, close the WebSocket: by [`Peer::close`](crate::Peer::close), or from outside by
/// [`Post::Close`](crate::Post::Close) and [`give_up`](Reconnecting::give_up). [`stop`](Reconnecting::stop) ends the
/// connection without a close frame.
///
/// ```
/// use std::{cell::Cell, rc::Rc, time::Duration};
/// use switchboard::{Backoff, CloseReason, Closing, EventLoop, Failure};
/// use switchboard_websocket::{
///     Accept, CloseCode, Connect, Handler, Message, Peer, Post, Reconnect, Request, Response, WebSocket,
/// };
///
/// /// Prints one message.
/// struct Listener;
///
/// impl Handler for Listener {
///     fn on_failed(&mut self, _: &mut Closing<'_>, cause: &CloseReason) {
///         println!("not this time: {cause}");
///     }
///
///     fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
///         println!("{message:?}");
///         peer.close(CloseCode::NORMAL, "") // wanted, so it does not come again
///     }
/// }
///
/// /// Has no time for the first who comes.
/// struct Busy(Rc<Cell<u32>>);
///
/// impl Handler for Busy {
///     fn on_handshake(&mut self, _: &mut Peer<'_, '_>, _: &Request<'_>) -> Result<Accept, Response> {
///         self.0.set(self.0.get() + 1);
///         if self.0.get() > 1 { Ok(Accept::new()) } else { Err(Response::text(503, "later\n")) }
///     }
///
///     fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
///         peer.send(message);
///         Ok(())
///     }
/// }
///
/// let mut event_loop = EventLoop::new()?;
/// let asked = Rc::new(Cell::new(0));
/// let count = Rc::clone(&asked);
/// let listener = event_loop.listen("127.0.0.1:0", move |_peer| Some(WebSocket::server(Busy(Rc::clone(&count)))))?;
/// let address = event_loop.local_addr(listener).unwrap();
///
/// let client = Reconnect::new(address, Connect::to(&format!("ws://{address}/"))?, |retry| {
///     println!("retry {retry}");
///     Listener
/// })
/// .backoff(Backoff { first: Duration::from_millis(10), ..Backoff::default() })
/// .when_over(|core, _| core.shutdown(Duration::from_secs(1)))
/// .start(event_loop.core());
/// while !client.is_connected(event_loop.core()) || asked.get() < 2 {
///     event_loop.turn(None)?;
/// }
/// let _ = client.post(event_loop.core(), Post::Text("hello".into()));
/// event_loop.run()?;
/// assert_eq!(asked.get(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing happens before it is started"]
pub struct Reconnect<H> {
    targets: Vec<Target>,
    options: ConnectOptions,
    connect: Connect,
    settings: Rc<Settings>,
    factory: Box<dyn FnMut(u32) -> H>,
    through: Box<Through<H>>,
    decide: Box<Decide>,
    backoff: Backoff,
    over: Option<Box<Over>>,
}

type Through<H> = dyn FnMut(WebSocket<Attempt<H>>) -> Box<dyn Protocol>;
type Decide = dyn FnMut(Ended<'_>) -> Retry;
type Over = dyn FnOnce(&mut Core, &CloseReason);

/// The random delay after which a client may come back to a service that restarts, as those wish who registered close
/// code 1012 with IANA.
const AFTER_RESTART: Retry = Retry::Between(Duration::from_secs(5), Duration::from_secs(30));

/// A server that wants to be left alone for longer than this is asked again nevertheless.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

impl<H: Handler> Reconnect<H> {
    /// A client of the server (or the proxy) at `target`, to ask it for what `connect` says. `factory` makes the handler
    /// of each attempt, and is told how many retries in a row that makes, as
    /// [`switchboard::Reconnect::new`] says.
    pub fn new(target: impl Into<Target>, connect: Connect, factory: impl FnMut(u32) -> H + 'static) -> Self {
        Self {
            targets: vec![target.into()],
            options: ConnectOptions::default(),
            connect,
            settings: Rc::default(),
            factory: Box::new(factory),
            through: Box::new(Protocol::boxed),
            decide: Box::new(|ended| ended.retry()),
            backoff: Backoff { first: Duration::from_secs(5), ..Backoff::default() },
            over: None,
        }
    }

    /// Another target, where the same server is to be found: see [`switchboard::Reconnect::or_to`].
    pub fn or_to(mut self, target: impl Into<Target>) -> Self {
        self.targets.push(target.into());
        self
    }

    /// How each attempt connects.
    pub fn connect_options(mut self, options: &ConnectOptions) -> Self {
        self.options = options.clone();
        self
    }

    /// The settings of each connection.
    pub fn settings(mut self, settings: &Rc<Settings>) -> Self {
        self.settings = Rc::clone(settings);
        self
    }

    /// How long it waits, and when it gives up.
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// What each WebSocket goes through: a TLS layer, or a proxy's [`Tunnel`](crate::proxy::Tunnel).
    ///
    /// ```
    /// use switchboard::EventLoop;
    /// use switchboard_websocket::{Connect, Reconnect, message_fn, proxy::Tunnel};
    ///
    /// let connect = Connect::to("ws://chat.example.com/room")?;
    /// let tunnel = Tunnel::to(connect.url().host(), connect.url().port())?;
    /// let mut event_loop = EventLoop::new()?;
    /// Reconnect::new(("127.0.0.1", 3128), connect, |_| message_fn(|_, _| Ok(())))
    ///     .through(move |websocket| tunnel.clone().around(websocket))
    ///     .start(event_loop.core());
    /// # event_loop.handle().stop();
    /// event_loop.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn through<P: Protocol>(mut self, mut wrap: impl FnMut(WebSocket<Attempt<H>>) -> P + 'static) -> Self {
        self.through = Box::new(move |websocket| wrap(websocket).boxed());
        self
    }

    /// Decides otherwise than [`Ended::retry`]. Its answer counts unless the client was
    /// [stopped](Reconnecting::stop) or the loop drains.
    pub fn decide(mut self, decide: impl FnMut(Ended<'_>) -> Retry + 'static) -> Self {
        self.decide = Box::new(decide);
        self
    }

    /// Calls `over` once, when no further attempt follows: see [`switchboard::Reconnect::when_over`].
    pub fn when_over(mut self, over: impl FnOnce(&mut Core, &CloseReason) + 'static) -> Self {
        self.over = Some(Box::new(over));
        self
    }

    /// Makes the first attempt.
    pub fn start(self, core: &mut Core) -> Reconnecting {
        let Self { targets, options, connect, settings, mut factory, mut through, decide, backoff, over } = self;
        let watch = Rc::new(Watch { decide: RefCell::new(decide), verdict: Cell::new(None) });
        let (told, healthy_after) = (Rc::clone(&watch), backoff.healthy_after);
        let protocol = move |retry| {
            let attempt = Attempt { handler: factory(retry), opened: None, watch: Rc::clone(&watch) };
            through(WebSocket::client_with_settings(connect.clone(), attempt, &settings))
        };
        let reconnect = switchboard::Reconnect::new(&targets[0], protocol)
            .connect_options(&options)
            .backoff(backoff)
            .decide(move |ended| {
                let Some(verdict) = told.verdict.take() else { return Retry::of(ended.reason) };
                ended.healthy = verdict.stood.is_some_and(|stood| stood >= healthy_after);
                verdict.retry
            });
        let reconnect = targets[1..].iter().fold(reconnect, |reconnect, target| reconnect.or_to(target));
        match over {
            Some(over) => reconnect.when_over(over).start(core),
            None => reconnect.start(core),
        }
    }
}

/// How an attempt ended, in what its handler was told.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Ended<'a> {
    /// [`Handler::on_failed`]: there was no WebSocket.
    Failed(&'a CloseReason),
    /// [`Handler::on_close`]: it has ended.
    Closed(&'a Closed<'a>),
}

impl Ended<'_> {
    /// What is done where nobody decides otherwise.
    ///
    /// | | again? |
    /// | --- | --- |
    /// | not connected; the server or the proxy was too late, or ended the connection | after the back-off |
    /// | refused with 408, 429, 500, 502, 503 or 504 | so, and not before the seconds in `Retry-After` (RFC 9110 §10.2.3; an hour at most) |
    /// | any other refusal, a redirect, an answer against the rules | no |
    /// | ended without a close frame; silent; reset | after the back-off |
    /// | closed by the peer with 1001, 1011, 1013 or 1014 | after the back-off |
    /// | closed by the peer with 1012, service restart | after 5 to 30 s |
    /// | closed by the peer with any other code, such as 1000 | no |
    /// | closed by this side: by the handler, or for what the peer or the handler did wrong | no |
    /// | closed by this side with 1013, since the loop had no memory for a message | after the back-off |
    /// | a mistake of the program | no |
    #[must_use]
    pub fn retry(&self) -> Retry {
        match *self {
            Self::Failed(cause) => of_failure(cause),
            Self::Closed(closed) => match (closed.by_peer, closed.code) {
                (true, CloseCode::SERVICE_RESTART) => AFTER_RESTART,
                (true, CloseCode::GOING_AWAY | CloseCode::INTERNAL_ERROR | CloseCode::BAD_GATEWAY)
                | (_, CloseCode::TRY_AGAIN_LATER) => Retry::Backoff,
                (_, CloseCode::ABNORMAL) => Retry::of(closed.cause),
                _ => Retry::No,
            },
        }
    }
}

fn of_failure(cause: &CloseReason) -> Retry {
    let Some(error) = cause.error() else { return Retry::of(cause) };
    if let Some(error) = error.downcast_ref() {
        return match error {
            AnswerError::Ended | AnswerError::Timeout => Retry::Backoff,
            AnswerError::Refused(refusal) => of_refusal(refusal),
            _ => Retry::No,
        };
    }
    match error.downcast_ref() {
        Some(ProxyError::Ended | ProxyError::Timeout(_)) => Retry::Backoff,
        Some(ProxyError::Refused(refusal)) => of_refusal(refusal),
        Some(_) => Retry::No,
        None => Retry::of(cause),
    }
}

fn of_refusal(refusal: &Refusal) -> Retry {
    if !matches!(refusal.status(), 408 | 429 | 500 | 502 | 503 | 504) {
        return Retry::No;
    }
    refusal.header("retry-after").and_then(seconds).map_or(Retry::Backoff, Retry::After)
}

/// The seconds of a `Retry-After`. A date there is not looked at: the loop has no calendar.
fn seconds(value: &[u8]) -> Option<Duration> {
    let digits = value.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = str::from_utf8(digits).ok()?.parse().map_or(LONGEST_RETRY_AFTER, Duration::from_secs);
    Some(seconds.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds() {
        for (value, expected) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("3600", Some(3600)),
            ("3601", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("Fri, 31 Dec 1999 23:59:59 GMT", None),
        ] {
            assert_eq!(seconds(value.as_bytes()), expected.map(Duration::from_secs), "{value:?}");
        }
    }
}
