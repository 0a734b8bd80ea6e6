//! A heartbeat around a protocol that says how it probes.

use switchboard::{ConnectionId, Context, Failure, Inner, Input, Layer, Layered, Protocol, TimerId};

use crate::{Beat, Config, Rtt, Tick};

/// A protocol that can ask its peer for a sign of life: what [`Heartbeat`] beats for.
///
/// ```
/// use std::time::Duration;
/// use switchboard::testkit::Harness;
/// use switchboard::{Context, Failure, Input, Protocol};
/// use switchboard_heartbeat::{Config, Heartbeat, Probe};
///
/// /// A chat of lines. An empty line asks, and is answered, by an empty line.
/// struct Chat;
///
/// impl Protocol for Chat {
///     fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
///         input.take_all(); // … what a chat does
///         Ok(())
///     }
/// }
///
/// impl Probe for Chat {
///     fn probe(&mut self, cx: &mut Context<'_>, _number: u32) -> Result<(), Failure> {
///         cx.send(b"\n");
///         Ok(())
///     }
/// }
///
/// let mut harness = Harness::new(Heartbeat::new(Config::default()).around(Chat));
/// harness.advance(Duration::from_secs(5));
/// assert_eq!(harness.take_sent(), b"\n");
/// harness.advance(Duration::from_secs(10));
/// let reason = harness.close_reason().expect("it answered nothing");
/// assert!(reason.to_string().contains("no sign of life"));
/// ```
pub trait Probe: Protocol {
    /// Whether anything at all that arrives proves life. If not, only an
    /// [answer](Self::answered) does.
    const ANY_TRAFFIC_PROVES_LIFE: bool = true;

    /// Sends what makes a living peer answer. `number` counts the probes of this connection, from 1
    /// on: a protocol that can carry it gives it back in [`answered`](Self::answered).
    ///
    /// # Errors
    ///
    /// As for [`Protocol::on_open`].
    fn probe(&mut self, cx: &mut Context<'_>, number: u32) -> Result<(), Failure>;

    /// The number of the probe that the input just handled answered; where it answered several, the
    /// oldest. Asked after each [`on_data`](Protocol::on_data). `None`, the default, where answers
    /// can't be told from other traffic: there is no round-trip time then.
    fn answered(&mut self) -> Option<u32> {
        None
    }
}

/// A heartbeat around a protocol that says how it [`probe`](Probe::probe)s and what
/// proves life.
///
/// It writes nothing itself: the bytes of a probe are the protocol's. After
/// [`Config::timeout`] without a sign of life the connection closes with
/// [`PeerSilent`](crate::PeerSilent) as its reason; what counts as silence is said at [`Beat`].
///
/// While reading is paused, or output waits for the peer, its silence is not held against it: it was
/// not listened to, or has something to read first. While output waits no probe is sent either: it
/// would only wait behind, so a flood that nobody reads stays as bounded as its protocol is. A peer
/// that takes nothing at all meanwhile is ended by
/// [`Limits::write_stall`](switchboard::Limits::write_stall).
///
/// After the peer's half-close it beats no more: there is nobody left who could answer. After a
/// [switch](Context::switch_to) of the protocol inside neither: another protocol has other probes.
///
/// # Cost
///
/// One timer a connection, set once an interval and never touched by traffic; a store or two for
/// each input.
pub struct Heartbeat {
    config: Config,
    running: Option<Running>,
    observer: Option<Observer>,
}

/// Told of each round trip.
type Observer = Box<dyn FnMut(ConnectionId, Rtt)>;

struct Running {
    beat: Beat,
    timer: TimerId,
}

impl Heartbeat {
    /// With this timing, from the moment the connection stands.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config, running: None, observer: None }
    }

    /// Has `observer` told of each round trip, with the connection's id. It is called in the middle
    /// of a callback of the loop, so it notes what it is told and returns.
    #[must_use]
    pub fn observed_by(mut self, observer: impl FnMut(ConnectionId, Rtt) + 'static) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Puts it around a protocol.
    #[must_use]
    pub fn around<P: Probe>(self, protocol: P) -> Layered<Self, P> {
        Layered::new(self, protocol)
    }

    /// Its timing.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The round-trip times so far; `None` before the first, and once it beats no more.
    #[must_use]
    pub fn rtt(&self) -> Option<Rtt> {
        self.running.as_ref()?.beat.rtt()
    }

    /// The peer answered a probe.
    fn note(&mut self, cx: &Context<'_>, number: u32) {
        let Some(Running { beat, .. }) = &mut self.running else { return };
        if beat.answered(cx.now(), number).is_some()
            && let Some(observer) = &mut self.observer
            && let Some(rtt) = beat.rtt()
        {
            observer(cx.id(), rtt);
        }
    }

    fn stop(&mut self, cx: &mut Context<'_>) {
        if let Some(Running { timer, .. }) = self.running.take() {
            cx.cancel_timer(timer);
        }
    }
}

impl<P: Probe> Layer<P> for Heartbeat {
    fn on_open(&mut self, cx: &mut Context<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        let (now, random) = (cx.now(), cx.random_u32());
        let beat = Beat::new(&self.config, now, random);
        let timer = cx.set_timer(beat.next_probe().saturating_since(now));
        self.running = Some(Running { beat, timer });
        inner.on_open(cx)
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        inner.on_data(cx, input)?;
        if let Some(number) = inner.get_mut().and_then(Probe::answered) {
            self.note(cx, number);
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        self.stop(cx);
        inner.on_eof(cx, rest)
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId, inner: &mut Inner<P>) -> Result<(), Failure> {
        let Some(Running { mut beat, .. }) = self.running.take() else { return Ok(()) };
        if inner.get().is_none() {
            return Ok(());
        }
        let now = cx.now();
        if P::ANY_TRAFFIC_PROVES_LIFE {
            beat.heard(cx.last_read());
        }
        let output_waits = cx.backlog() > 0;
        if output_waits || cx.is_reading_paused() {
            beat.forgive(now);
        }
        let wait = if output_waits {
            self.config.interval()
        } else {
            let random = cx.random_u32();
            match beat.tick(&self.config, now, random) {
                Tick::Wait(wait) => wait,
                Tick::Probe { number, wait } => {
                    inner.with(cx, |protocol, cx| protocol.probe(cx, number))?;
                    wait
                }
                Tick::Dead(silent) => return Err(Failure::limit(silent)),
            }
        };
        self.running = Some(Running { beat, timer: cx.set_timer(wait) });
        Ok(())
    }
}

/// A layer around a protocol that probes is one, too, so that layers stack in any order.
impl<L: Layer<P>, P: Probe> Probe for Layered<L, P> {
    const ANY_TRAFFIC_PROVES_LIFE: bool = P::ANY_TRAFFIC_PROVES_LIFE;

    fn probe(&mut self, cx: &mut Context<'_>, number: u32) -> Result<(), Failure> {
        self.with(cx, |protocol, cx| protocol.probe(cx, number)).map(drop)
    }

    fn answered(&mut self) -> Option<u32> {
        self.inner_mut().get_mut()?.answered()
    }
}
