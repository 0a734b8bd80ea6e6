//! Devices that are not there: any number on one loop, half on TCP, half on UDP.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use switchboard::{CloseReason, Closing, Context, Core, Failure, Input, Protocol, Time, TimerId};

use crate::lines::{self, Line};

/// How long a device waits before it connects again.
const AGAIN: Duration = Duration::from_secs(1);

/// What all devices do.
pub(crate) struct Plan {
    pub(crate) tcp: SocketAddr,
    pub(crate) udp: SocketAddr,
    /// The time between two readings.
    pub(crate) interval: Duration,
    /// Readings that each sends before it only gives signs of life.
    pub(crate) readings: u64,
    /// When those that fall silent do.
    pub(crate) silent_from: Duration,
    /// The part of the readings on UDP that are numbered and not sent.
    pub(crate) lossy: f64,
    pub(crate) sent: RefCell<Sent>,
}

/// What was done so far.
#[derive(Default, Serialize)]
pub(crate) struct Sent {
    pub(crate) tcp: u64,
    pub(crate) udp: u64,
    /// Numbered, but not sent.
    pub(crate) lost: u64,
    pub(crate) silent: u64,
    /// Connections that ended while the device was well.
    pub(crate) broken: u64,
    /// `ERR` lines that came.
    pub(crate) refused: u64,
}

#[derive(Clone)]
pub(crate) struct Simulated {
    plan: Rc<Plan>,
    index: usize,
    falls_silent: bool,
    is_silent: bool,
    run: u32,
    number: u64,
    welcomed: bool,
    /// Somebody else is this device now.
    replaced: bool,
    /// When the next reading is due.
    due: Time,
    /// How long it waits before it says anything.
    delay: Duration,
}

impl Simulated {
    /// Has a device connect, by TCP if its index is even, else by UDP.
    pub(crate) fn start(core: &mut Core, plan: &Rc<Plan>, index: usize, falls_silent: bool) {
        let run = core.random_u32();
        let (plan, due) = (Rc::clone(plan), core.now());
        let (number, is_silent, welcomed, replaced, delay) = (0, false, false, false, Duration::ZERO);
        Self { plan, index, falls_silent, is_silent, run, number, welcomed, replaced, due, delay }.connect(core);
    }

    fn connect(self, core: &mut Core) {
        let (tcp, udp) = (self.plan.tcp, self.plan.udp);
        match self.is_tcp() {
            true => core.connect_after(self.delay, tcp, Self { delay: Duration::ZERO, ..self }),
            false => core.connect_udp(udp, self),
        };
    }

    fn is_tcp(&self) -> bool {
        self.index.is_multiple_of(2)
    }

    /// Something that looks measured: a slow wave and a little noise, of its own for each device.
    fn measure(&self, core: &mut Core) -> (f64, &'static str) {
        let (middle, swing, unit) = [(21.0, 2.5, "°C"), (48.0, 9.0, "%"), (1013.0, 6.0, "hPa")][self.index % 3];
        let seconds = Duration::from_nanos(core.now().as_nanos()).as_secs_f64();
        let phase = self.index as f64 * 0.7;
        let noise = chance(core) - 0.5;
        let value = middle + swing * ((seconds / 9.0 + phase).sin() + 0.25 * noise);
        ((value * 100.0).round() / 100.0, unit)
    }

    /// Who it is, until the dashboard knows; then the reading. All in one datagram, so that none goes without.
    fn send_reading(&mut self, cx: &mut Context<'_>) {
        let (value, unit) = self.measure(cx);
        self.number += 1;
        let mut text = if self.welcomed { String::new() } else { self.hello(unit) };
        let lost = !self.is_tcp() && chance(cx) < self.plan.lossy;
        let mut sent = self.plan.sent.borrow_mut();
        if lost {
            sent.lost += 1;
        } else {
            text += &Line::Reading { number: self.number, value }.to_string();
            *if self.is_tcp() { &mut sent.tcp } else { &mut sent.udp } += 1;
        }
        // A stream loses nothing, so once is enough there.
        self.welcomed |= self.is_tcp();
        if !text.is_empty() {
            cx.send(text.as_bytes());
        }
    }

    fn hello(&self, unit: &str) -> String {
        let name = format!("sensor-{:04}", self.index);
        Line::Hello { name: &name, unit, run: self.run }.to_string()
    }

    /// Sets the timer for the next reading, if there is to be one.
    fn wait(&mut self, cx: &mut Context<'_>) {
        if self.number < self.plan.readings {
            let wait = self.due.saturating_since(cx.now());
            cx.set_timer(wait);
        }
    }
}

impl Protocol for Simulated {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        // Not all at once: somewhere within the first interval.
        self.due = cx.now() + self.delay + self.plan.interval.mul_f64(chance(cx));
        self.welcomed = false;
        self.wait(cx);
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while let Some(line) = lines::next(input, cx.is_datagram()) {
            match line? {
                Line::Welcome { .. } => self.welcomed = true,
                Line::Ping(number) if !self.is_silent => cx.send(Line::Pong(number).to_string().as_bytes()),
                Line::Err(reason) => {
                    self.plan.sent.borrow_mut().refused += 1;
                    self.replaced |= reason.starts_with("another connection");
                    // A dashboard that has restarted does not know its devices.
                    self.welcomed = false;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        if self.falls_silent && cx.now() >= Time::ZERO + self.plan.silent_from {
            self.is_silent = true;
            self.plan.sent.borrow_mut().silent += 1;
            return Ok(());
        }
        self.send_reading(cx);
        self.due = self.due + self.plan.interval;
        self.wait(cx);
        Ok(())
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if !self.is_silent {
            cx.send(Line::Bye.to_string().as_bytes());
        }
        cx.close();
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, _: &CloseReason) {
        if !(cx.is_draining() || self.is_silent || self.replaced) {
            self.plan.sent.borrow_mut().broken += 1;
            Self { delay: AGAIN, ..self.clone() }.connect(cx);
        }
    }
}

/// A number from 0 to just below 1.
fn chance(core: &mut Core) -> f64 {
    f64::from(core.random_u32()) / 2_f64.powi(32)
}
