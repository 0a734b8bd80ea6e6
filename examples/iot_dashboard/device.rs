//! A device's connection, as the dashboard sees it: the same protocol on TCP and on a UDP session.

use std::rc::Rc;

use switchboard::{CloseReason, Closing, ConnectionId, Context, Failure, Input, Layered, Message, Protocol, TimerId};
use switchboard_heartbeat::{Config, Heartbeat, Probe};

use crate::fleet::{Fleet, State};
use crate::lines::{self, Line};

/// Lines that a device may get wrong before its connection is closed.
const MISTAKES: u32 = 8;

/// The protocol with its heartbeat: whoever gives no sign of life for its timeout is gone.
pub(crate) type Beating = Layered<Heartbeat, Device>;

pub(crate) struct Device {
    fleet: Rc<Fleet>,
    /// Its key, once it has said who it is.
    key: Option<usize>,
    /// Runs until the device would be silent; `None` while it is.
    silence: Option<TimerId>,
    mistakes: u32,
    /// The probe that was answered last, until the heartbeat asks.
    answered: Option<u32>,
}

/// Posted to the connection that a device had before: there is another now.
struct TakenOver;

impl Device {
    pub(crate) fn new(fleet: &Rc<Fleet>, heartbeat: Config) -> Beating {
        let device = Self { fleet: Rc::clone(fleet), key: None, silence: None, mistakes: 0, answered: None };
        Heartbeat::new(heartbeat).around(device)
    }

    fn on_line(&mut self, cx: &mut Context<'_>, line: Line<'_>) -> Result<(), Failure> {
        match (line, self.key) {
            // Over UDP it says so again if the welcome was lost, or if it has started anew on the same port.
            (Line::Hello { name, unit, run }, before) if before.is_none() || cx.is_datagram() => {
                self.welcome(cx, (name, unit, run))?;
            }
            (Line::Reading { number, value }, Some(key)) => {
                let id = cx.id();
                self.fleet.take(cx, id, key, number, value);
            }
            (Line::Bye, _) => cx.close(),
            (Line::Ping(number), _) => tell(cx, Line::Pong(number)),
            (Line::Pong(number), _) => self.answered = self.answered.or(u32::try_from(number).ok()),
            (Line::Err(reason), _) => {
                return Err(Failure::peer(format!("the device refused: {}", reason.escape_debug())));
            }
            (Line::Reading { .. }, None) => return self.correct(cx, "say HELLO first"),
            (Line::Hello { .. } | Line::Welcome { .. }, _) => return self.correct(cx, "that was said already"),
        }
        Ok(())
    }

    fn welcome(&mut self, cx: &mut Context<'_>, hello: (&str, &str, u32)) -> Result<(), Failure> {
        let (id, transport) = (cx.id(), if cx.is_datagram() { "udp" } else { "tcp" });
        let welcome = self.fleet.welcome(cx, id, transport, hello);
        let (key, elsewhere) = welcome.map_err(|full| refuse(cx, &full.to_string(), Failure::limit(full)))?;
        if let Some(other) = self.key.replace(key).filter(|other| *other != key) {
            self.fleet.mark(cx, id, other, State::Gone);
        }
        if let Some(elsewhere) = elsewhere {
            let _ = cx.post(elsewhere, Message::user(TakenOver)); // it may be gone
        }
        tell(cx, Line::Welcome { name: hello.0 });
        Ok(())
    }

    /// Tells the device what it got wrong. It may go on, unless that was too often; nor may who sends datagrams and
    /// was never welcome: its address may be forged, and be sent one answer at the most.
    fn correct(&mut self, cx: &mut Context<'_>, mistake: &str) -> Result<(), Failure> {
        self.fleet.count(|counts| counts.malformed += 1);
        self.mistakes += 1;
        if self.mistakes > MISTAKES || (cx.is_datagram() && self.key.is_none()) {
            return Err(refuse(cx, mistake, Failure::peer(mistake)));
        }
        tell(cx, Line::Err(mistake));
        Ok(())
    }

    /// Whatever came proves life.
    fn heard(&mut self, cx: &mut Context<'_>) {
        if self.silence.is_none() {
            self.silence = Some(cx.set_timer(self.fleet.silent_after));
            self.mark(cx, State::Online);
        }
    }

    fn mark(&self, cx: &mut Context<'_>, state: State) {
        if let Some(key) = self.key {
            let id = cx.id();
            self.fleet.mark(cx, id, key, state);
        }
    }
}

impl Protocol for Device {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.silence = Some(cx.set_timer(self.fleet.silent_after));
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.heard(cx);
        while let Some(line) = lines::next(input, cx.is_datagram()) {
            match line {
                Ok(line) => self.on_line(cx, line)?,
                Err(error) if error.is_endless() => {
                    self.fleet.count(|counts| counts.malformed += 1);
                    return Err(refuse(cx, &error.to_string(), error.into()));
                }
                Err(error) => self.correct(cx, &error.to_string())?,
            }
        }
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        let silent = cx.now().saturating_since(cx.last_read());
        let allowed = self.fleet.silent_after;
        self.silence = (silent < allowed).then(|| cx.set_timer(allowed - silent));
        if self.silence.is_none() {
            if self.key.is_none() {
                return Err(refuse(cx, "say HELLO first", Failure::peer("it never said who it is")));
            }
            self.mark(cx, State::Silent);
        }
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        if message.downcast::<TakenOver>().is_ok() {
            tell(cx, Line::Err("another connection says that it is you"));
            cx.close();
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, _: &CloseReason) {
        if let Some(key) = self.key {
            let id: ConnectionId = cx.id();
            self.fleet.mark(cx, id, key, State::Gone);
        }
    }
}

impl Probe for Device {
    fn probe(&mut self, cx: &mut Context<'_>, number: u32) -> Result<(), Failure> {
        tell(cx, Line::Ping(number.into()));
        Ok(())
    }

    fn answered(&mut self) -> Option<u32> {
        self.answered.take()
    }
}

fn tell(cx: &mut Context<'_>, line: Line<'_>) {
    cx.send(line.to_string().as_bytes());
}

/// Says why, and ends the connection for it.
fn refuse(cx: &mut Context<'_>, why: &str, failure: Failure) -> Failure {
    tell(cx, Line::Err(why));
    failure
}
