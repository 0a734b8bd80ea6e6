//! The watchdog: names the callback that takes too long, and the protocol that is called again and again for nothing.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{EndpointId, Time};

mod watch;

pub(crate) use watch::{Mark, Watch};

/// What [`EventLoop::set_watchdog`](crate::EventLoop::set_watchdog) watches for, and whom it tells.
///
/// A loop is one thread: a callback that computes, or that waits for a disk or a lock, keeps everybody waiting. With a
/// watchdog on, every callback is timed (two readings of the clock each), and one that takes longer than the
/// [threshold](Self::threshold) is reported when it returns; so is a protocol that keeps the loop from sleeping without
/// getting anywhere. Each report is also a [`tracing`](https://docs.rs/tracing) event of the level `WARN`, target
/// `switchboard`. Nobody is closed for it.
///
/// ```
/// use std::time::Duration;
/// use switchboard::{EventLoop, Watchdog};
///
/// let mut event_loop = EventLoop::new()?;
/// event_loop.set_watchdog(Watchdog::new().threshold(Duration::from_millis(20)).report(|stall| eprintln!("{stall}")));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A callback that never returns can't be reported by the thread it holds: give another one an
/// [`observer`](Self::observer).
pub struct Watchdog {
    threshold: Duration,
    spins: u32,
    report: Option<Report>,
    observer: Option<Observer>,
}

type Report = Box<dyn FnMut(&Stall)>;

/// The default [`Watchdog::threshold`].
const THRESHOLD: Duration = Duration::from_millis(100);
/// The default [`Watchdog::spins`].
const SPINS: u32 = 1000;

impl Default for Watchdog {
    fn default() -> Self {
        Self { threshold: THRESHOLD, spins: SPINS, report: None, observer: None }
    }
}

impl Watchdog {
    /// One that reports by `tracing` alone, with the default thresholds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How long a callback may take. Default 100 ms.
    #[must_use]
    pub fn threshold(mut self, threshold: Duration) -> Self {
        self.threshold = threshold;
        self
    }

    /// After how many calls in a row without progress a protocol is said to spin; at least 1. Default 1,000. Reported then,
    /// and again at twice as many, four times as many, and so on.
    ///
    /// Those calls count that nothing from outside has caused, each less than a millisecond after the one before: timers,
    /// input offered again, `on_drain`. Any of these is progress, and begins the count anew: bytes read, consumed or
    /// written, a message delivered or posted, anything asked of the loop (to connect, to close).
    #[must_use]
    pub fn spins(mut self, spins: u32) -> Self {
        self.spins = spins.max(1);
        self
    }

    /// Calls `report` with each stall, on the loop's thread.
    #[must_use]
    pub fn report(mut self, report: impl FnMut(&Stall) + 'static) -> Self {
        self.report = Some(Box::new(report));
        self
    }

    /// Shows other threads what the loop is doing: see [`Observer`].
    pub fn observer(&mut self) -> Observer {
        self.observer.get_or_insert_with(Observer::default).clone()
    }
}

impl fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watchdog")
            .field("threshold", &self.threshold)
            .field("spins", &self.spins)
            .finish_non_exhaustive()
    }
}

/// The functions of the program that a loop calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Callback {
    /// `on_open`.
    Open,
    /// `on_data`.
    Data,
    /// `on_datagram`.
    Datagram,
    /// `on_eof`.
    Eof,
    /// `on_timer`.
    Timer,
    /// `on_drain`.
    Drain,
    /// `on_message`.
    Message,
    /// `on_shutdown`.
    Shutdown,
    /// `on_close`.
    Close,
    /// A closure with a connection's context: [`EventLoop::with`](crate::EventLoop::with),
    /// [`Handle::with`](crate::Handle::with).
    With,
    /// A closure of [`Handle::run`](crate::Handle::run).
    Run,
    /// The factory of a listener's protocols.
    Factory,
}

impl fmt::Display for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "on_open",
            Self::Data => "on_data",
            Self::Datagram => "on_datagram",
            Self::Eof => "on_eof",
            Self::Timer => "on_timer",
            Self::Drain => "on_drain",
            Self::Message => "on_message",
            Self::Shutdown => "on_shutdown",
            Self::Close => "on_close",
            Self::With => "a closure on the connection",
            Self::Run => "a closure of a handle",
            Self::Factory => "a listener's factory",
        })
    }
}

/// What the watchdog found. As text it is a line for a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stall {
    /// Whose callback it was; `None` for a handle's closure.
    pub id: Option<EndpointId>,
    /// Its protocol: [`Protocol::name`](crate::Protocol::name). Empty for a handle's closure and a listener's factory.
    pub protocol: &'static str,
    /// Which callback.
    pub callback: Callback,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It took this long.
    Slow(Duration),
    /// It and others of its protocol were called so many times in a row without progress.
    Spins(u32),
}

impl fmt::Display for Stall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Who { id: self.id, protocol: self.protocol, callback: self.callback })?;
        match self.fault {
            Fault::Slow(took) => write!(f, " took {took:?}"),
            Fault::Spins(calls) => write!(f, " was called without progress, {calls} times in a row"),
        }
    }
}

struct Who {
    id: Option<EndpointId>,
    protocol: &'static str,
    callback: Callback,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.callback)?;
        if !self.protocol.is_empty() {
            write!(f, " of {}", Short(self.protocol))?;
        }
        self.id.map_or(Ok(()), |id| write!(f, " ({id})"))
    }
}

/// The name of a type without the paths of its modules: `Layered<IdleTimeout, Chat>`.
pub(crate) struct Short(pub(crate) &'static str);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while !rest.is_empty() {
            let path = rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(rest.len());
            let (path, behind) = rest.split_at(path);
            // What ends a path may be a name that a closure stands in: that one stays.
            let name = path.strip_suffix("::").unwrap_or(path);
            let start = name.rfind("::").filter(|&at| at > 0).map_or(0, |at| at + 2);
            f.write_str(&path[start..])?;
            let next = behind.find(|c: char| c.is_alphanumeric() || c == '_' || c == ':').unwrap_or(behind.len());
            f.write_str(&behind[..next])?;
            rest = &behind[next..];
        }
        Ok(())
    }
}

/// A look at what a loop is doing, from other threads: for a callback that does not return. Made by
/// [`Watchdog::observer`]; costs the loop a lock that nobody else wants, twice a callback.
///
/// ```
/// use std::time::Duration;
/// use switchboard::{EventLoop, Watchdog};
///
/// let mut event_loop = EventLoop::new()?;
/// let mut watchdog = Watchdog::new();
/// let observer = watchdog.observer();
/// event_loop.set_watchdog(watchdog);
/// std::thread::spawn(move || {
///     let mut before = None;
///     loop {
///         std::thread::sleep(Duration::from_secs(1));
///         let running = observer.running();
///         if let Some(running) = running.filter(|_| running == before) {
///             eprintln!("for a second or more: {running}");
///         }
///         before = running;
///     }
/// });
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Observer(Arc<Mutex<Option<Running>>>);

/// A callback that has not returned yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Running {
    /// Whose it is; `None` for a handle's closure.
    pub id: Option<EndpointId>,
    /// Its protocol: see [`Stall::protocol`].
    pub protocol: &'static str,
    /// Which callback.
    pub callback: Callback,
    /// The how manieth the loop has called: the same twice means that it is the same call.
    pub call: u64,
    /// When it was called, by the loop's clock.
    pub since: Time,
}

impl Observer {
    /// The callback that runs now; `None` if the loop waits, or is not in one.
    #[must_use]
    pub fn running(&self) -> Option<Running> {
        *self.lock()
    }

    /// Nothing under the lock can panic.
    fn lock(&self) -> MutexGuard<'_, Option<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, since {}", Who { id: self.id, protocol: self.protocol, callback: self.callback }, self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::Short;

    #[test]
    fn names_of_types_are_read_without_their_paths() {
        for (name, short) in [
            ("app::chat::Chat", "Chat"),
            ("Chat", "Chat"),
            (
                "switchboard::layer::Layered<beat::idle::IdleTimeout, ws::WebSocket<app::App>>",
                "Layered<IdleTimeout, WebSocket<App>>",
            ),
            ("switchboard::protocol::ProtocolFn<app::serve::{{closure}}>", "ProtocolFn<serve::{{closure}}>"),
            ("alloc::boxed::Box<dyn switchboard::protocol::Protocol>", "Box<dyn Protocol>"),
            ("(app::A, [u8; 4])", "(A, [u8; 4])"),
            ("", ""),
        ] {
            assert_eq!(Short(name).to_string(), short);
        }
    }
}
