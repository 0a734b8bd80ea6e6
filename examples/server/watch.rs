//! A layer around every protocol of the server: it tells the board of round-trip times, and prints a line for each
//! connection that opens or closes, if that is asked.

use std::net::SocketAddr;
use std::rc::Rc;

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

/// The layer: one a connection.
pub(crate) struct Watch {
    watched: Rc<Watched>,
    peer: SocketAddr,
    opened: Time,
    told: Option<Rtt>,
}

/// Puts the layer around `protocol`.
pub(crate) fn watch<P: Protocol + Timed>(watched: &Rc<Watched>, peer: &Accepted, protocol: P) -> Layered<Watch, P> {
    let peer = peer.peer.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0))); // this server has no Unix sockets
    let watch = Watch { watched: Rc::clone(watched), peer, opened: Time::ZERO, told: None };
    Layered::new(watch, protocol)
}

impl<P: Protocol + Timed> Layer<P> for Watch {
    fn on_open(&mut self, cx: &mut Context<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        self.opened = cx.now();
        if self.watched.verbose {
            say(format_args!("{} {} opened", self.watched.name, self.peer));
        }
        inner.on_open(cx)
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        let result = inner.on_data(cx, input);
        let rtt = inner.get().and_then(Timed::rtt);
        if let Some(new) = rtt.filter(|_| rtt != self.told) {
            self.told = rtt;
            self.watched.board.time(cx.id(), self.watched.name, self.peer, new);
        }
        result
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        if self.told.is_some() {
            self.watched.board.forget(cx.id());
        }
        if self.watched.verbose {
            let after = cx.now().saturating_since(self.opened).as_secs_f64();
            say(format_args!("{} {} closed after {after:.3} s: {reason}", self.watched.name, self.peer));
        }
    }
}
