//! A layer around every protocol of the server: it tells the board of round-trip times, and prints a line for each
//! connection that opens or closes, if that is asked.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use switchboard::{Accepted, CloseReason, Closing, Context, Failure, Inner, Input, Layer, Layered, Protocol, Time};
use switchboard_echo::TcpEcho;
use switchboard_heartbeat::{HeartbeatLine, IdleTimeout, Rtt};
use switchboard_websocket::WebSocket;

use crate::board::Board;
use crate::say;
use crate::web::Web;

/// What is watched through one listener; its connections share it.
pub(crate) struct Watched {
    name: &'static str,
    board: Rc<Board>,
    verbose: bool,
}

impl Watched {
    pub(crate) fn new(name: &'static str, board: &Rc<Board>, verbose: bool) -> Rc<Self> {
        Rc::new(Self { name, board: Rc::clone(board), verbose })
    }
}

/// A protocol that may know how long its peer takes to answer.
pub(crate) trait Timed {
    /// Its round-trip times, if there are any yet.
    fn rtt(&self) -> Option<Rtt>;
}

impl Timed for Layered<IdleTimeout, TcpEcho> {
    fn rtt(&self) -> Option<Rtt> {
        None
    }
}

impl Timed for HeartbeatLine {
    fn rtt(&self) -> Option<Rtt> {
        self.layer().rtt()
    }
}

impl Timed for WebSocket<Web> {
    fn rtt(&self) -> Option<Rtt> {
        self.rtt()
    }
}

/// The layer: one a connection, and so small.
pub(crate) struct Watch {
    watched: Rc<Watched>,
    /// Where lines are printed: what they say.
    line: Option<Box<Line>>,
    /// Of the round-trip times that the board was told last, the latest and the smoothed one, in microseconds.
    told: Option<(u32, u32)>,
}

struct Line {
    peer: SocketAddr,
    opened: Time,
}

/// Puts the layer around `protocol`.
pub(crate) fn watch<P: Protocol + Timed>(watched: &Rc<Watched>, peer: &Accepted, protocol: P) -> Layered<Watch, P> {
    let line = peer.peer.filter(|_| watched.verbose).map(|peer| Box::new(Line { peer, opened: Time::ZERO }));
    Layered::new(Watch { watched: Rc::clone(watched), line, told: None }, protocol)
}

/// What tells a round trip's times from those before.
fn times(rtt: &Rtt) -> (u32, u32) {
    let micros = |duration: Duration| u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    (micros(rtt.last), micros(rtt.smoothed))
}

impl<P: Protocol + Timed> Layer<P> for Watch {
    fn on_open(&mut self, cx: &mut Context<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        if let Some(line) = &mut self.line {
            line.opened = cx.now();
            say(format_args!("{} {} opened", self.watched.name, line.peer));
        }
        inner.on_open(cx)
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        let result = inner.on_data(cx, input);
        let rtt = inner.get().and_then(Timed::rtt);
        let times = rtt.as_ref().map(times);
        if let Some(new) = rtt.filter(|_| times != self.told)
            && let Some(peer) = cx.peer_addr()
        {
            self.told = times;
            self.watched.board.time(cx.id(), self.watched.name, peer, new);
        }
        result
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        if self.told.is_some() {
            self.watched.board.forget(cx.id());
        }
        if let Some(line) = &self.line {
            let after = cx.now().saturating_since(line.opened).as_secs_f64();
            say(format_args!("{} {} closed after {after:.3} s: {reason}", self.watched.name, line.peer));
        }
    }
}
