//! Players that nobody plays: they wander, chat now and then, and measure how they are served.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use switchboard::{CloseReason, Closing, Context, Core, Failure, Input, Protocol, Time, TimerId};

use crate::arena::TICKS_A_SECOND;
use crate::datagrams::{Move, Place, Snapshot};
use crate::ground::{HEIGHT, STEP, WIDTH, squared_distance};
use crate::served::Served;

/// Between two moves.
pub(crate) const BEAT: Duration = Duration::from_nanos(1_000_000_000 / TICKS_A_SECOND as u64);
/// Between two chats of one bot, at most.
const SILENCE_MS: u32 = 40_000;
const PHRASES: [&str; 6] = ["hello", "over here", "who is winning?", "nice move", "watch this", "brb"];

/// A bot's TCP connection: it joins, and chats.
pub(crate) struct Talker {
    name: String,
    server: SocketAddr,
    served: Rc<RefCell<Served>>,
}

impl Talker {
    /// Has a bot join.
    pub(crate) fn start(core: &mut Core, server: SocketAddr, name: String, served: &Rc<RefCell<Served>>) {
        core.connect(server, Self { name, server, served: Rc::clone(served) });
    }

    /// `WELCOME <id> <token> <port>`: it plays from now on.
    fn welcome(&self, cx: &mut Context<'_>, line: &str) -> Option<()> {
        let mut words = line.strip_prefix("WELCOME ")?.split(' ').skip(1);
        let token = u64::from_str_radix(words.next()?, 16).ok()?;
        let server = SocketAddr::new(self.server.ip(), words.next()?.parse().ok()?);
        cx.connect_udp(server, Walker::new(token, &self.served));
        self.wait(cx);
        Some(())
    }

    fn wait(&self, cx: &mut Context<'_>) {
        let wait = cx.random_u32() % SILENCE_MS;
        cx.set_timer(Duration::from_millis(wait.into()));
    }
}

impl Protocol for Talker {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.send(format!("JOIN {}\n", self.name).as_bytes());
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            let line = str::from_utf8(input.take(end + 1))?.trim_end();
            if let Some(reason) = line.strip_prefix("ERR ") {
                return Err(Failure::peer(reason));
            }
            self.served.borrow_mut().count.chats += u64::from(line.starts_with("CHAT "));
            self.welcome(cx, line);
        }
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        let phrase = PHRASES[cx.random_u32() as usize % PHRASES.len()];
        cx.send(format!("SAY {phrase}\n").as_bytes());
        self.wait(cx);
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        if !cx.is_draining() {
            self.served.borrow_mut().count.broken += 1;
            crate::common::note(format_args!("{}: {reason}", self.name));
        }
    }
}

/// A bot's UDP session: it moves, and sees.
pub(crate) struct Walker {
    token: u64,
    served: Rc<RefCell<Served>>,
    number: u32,
    wanted: Place,
    own: Place,
    /// When the next move is due.
    due: Time,
    /// The tick of the latest snapshot, and when it came.
    latest: Option<(u32, Time)>,
    /// The move that is timed until a snapshot shows it, and when it was sent.
    timed: Option<(u32, Time)>,
}

impl Walker {
    pub(crate) fn new(token: u64, served: &Rc<RefCell<Served>>) -> Self {
        let (number, wanted, own, due) = (0, (0, 0), (0, 0), Time::ZERO);
        Self { token, served: Rc::clone(served), number, wanted, own, due, latest: None, timed: None }
    }

    /// Another place to go to, when this one is near.
    fn choose(&mut self, core: &mut Core) {
        if squared_distance(self.own, self.wanted) <= (2 * STEP).pow(2) || self.number == 1 {
            let mut below = |size: u16| u16::try_from(core.random_u32() % u32::from(size)).unwrap_or(0);
            self.wanted = (below(WIDTH), below(HEIGHT));
        }
    }

    fn see(&mut self, now: Time, Snapshot { tick, number, own }: Snapshot) {
        let mut served = self.served.borrow_mut();
        if let Some((latest, at)) = self.latest {
            if tick <= latest {
                served.count.stale += 1;
                return;
            }
            served.next_snapshot(now.saturating_since(at), tick - latest - 1);
        }
        served.count.snapshots += 1;
        (self.latest, self.own) = (Some((tick, now)), own);
        if let Some((_, sent)) = self.timed.take_if(|(timed, _)| *timed <= number) {
            served.round_trip(now.saturating_since(sent));
        }
    }
}

impl Protocol for Walker {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.served.borrow_mut().playing += 1;
        // Not all in step.
        let part = Duration::from_millis(u64::from(cx.random_u32() % 17));
        self.due = cx.now() + part;
        cx.set_timer(part);
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        if let Some((snapshot, _)) = Snapshot::decode(input.take_all()) {
            self.see(cx.now(), snapshot);
        }
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        self.number += 1;
        self.choose(cx);
        self.timed = self.timed.or(Some((self.number, cx.now())));
        let moved = Move { token: self.token, number: self.number, wanted: self.wanted };
        if let Some(buffer) = cx.send_buffer() {
            moved.encode(buffer);
        }
        self.served.borrow_mut().count.moves += 1;
        self.due = (self.due + BEAT).max(cx.now()); // what was missed is not made up for
        let wait = self.due.saturating_since(cx.now());
        cx.set_timer(wait);
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, _: &CloseReason) {
        let mut served = self.served.borrow_mut();
        served.playing -= 1;
        served.count.broken += u64::from(!cx.is_draining());
    }
}
