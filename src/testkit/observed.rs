//! Watches a protocol while it runs, as nothing but a protocol around it can.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::trial::demand;
use crate::context::Requests;
use crate::core::SwitchTo;
use crate::link::Flag;
use crate::{CloseReason, Closing, Context, Failure, Input, Message, Protocol, Time, TimerId};

/// Callbacks in a row that come to nothing, within [`SPIN_TIME`], after which a protocol is said to
/// spin.
const SPIN: u32 = 1_000;
/// Time that hardly moves is time that stands still: timers of a nanosecond spin, too.
pub(super) const SPIN_TIME: Duration = Duration::from_millis(1);

/// A protocol that is watched: on its connection it behaves as it would by itself.
///
/// It panics when the contract is broken, by the protocol (it spins, it ignores that the loop's
/// memory is full) or by what calls it (`on_open` not first, `on_close` not last or twice). When the
/// protocol is [switched](Context::switch_to), its successor is watched in its place.
pub(super) struct Observed {
    protocol: Box<dyn Protocol>,
    watch: Rc<Watch>,
    stage: Stage,
    eof_told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    New,
    Open,
    /// Failed, closed or aborted: `on_close` is to follow.
    Ended,
    Closed,
}

impl Stage {
    fn in_words(self) -> &'static str {
        match self {
            Self::New => "before its on_open",
            Self::Open => "open already",
            Self::Ended => "after it failed or closed",
            Self::Closed => "after its on_close",
        }
    }
}

/// What is seen of a connection's protocols.
#[derive(Default)]
pub(super) struct Watch {
    /// The type of the first protocol, for messages.
    name: &'static str,
    callbacks: Cell<u64>,
    /// The callback that runs, or ran last.
    last: Cell<&'static str>,
    /// Callbacks in a row that came to nothing, since when, and the last of them.
    idle: Cell<u32>,
    idle_since: Cell<Time>,
    recent: RefCell<[&'static str; 4]>,
    /// Output that waited when the last callback returned.
    backlog: Cell<usize>,
    drain_owed: Cell<bool>,
    /// Input that was left unconsumed when it was last offered: what is offered beyond that is news.
    left: Cell<usize>,
    reading: Cell<Reading>,
    /// Bytes of the buffer that the protocol lent last.
    lent: Cell<usize>,
    /// How often a buffer that it lent was filled.
    fills: Cell<u64>,
    /// What it lends is not asked for: everything comes to its `on_data`.
    copies: Cell<bool>,
    /// Others hold all the memory there is, whenever a callback runs.
    full: Cell<bool>,
    stage: Cell<Option<Stage>>,
}

/// Whether the protocol wants its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reading {
    #[default]
    On,
    Paused,
    /// Paused, and it has been told `on_drain` since.
    PausedInVain,
}

impl Observed {
    /// `protocol`, watched by what is given back with it.
    pub(super) fn new<P: Protocol>(protocol: P) -> (Self, Rc<Watch>) {
        let watch = Rc::new(Watch { name: std::any::type_name::<P>(), ..Watch::default() });
        (Self::watched(protocol.boxed(), Rc::clone(&watch)), watch)
    }

    fn watched(protocol: Box<dyn Protocol>, watch: Rc<Watch>) -> Self {
        watch.stage.set(Some(Stage::New));
        Self { protocol, watch, stage: Stage::New, eof_told: false }
    }

    /// One callback, which also says whether its input has come to something.
    fn observe(
        &mut self,
        callback: &'static str,
        cx: &mut Context<'_>,
        call: impl FnOnce(&mut dyn Protocol, &mut Context<'_>) -> (Result<(), Failure>, bool),
    ) -> Result<(), Failure> {
        self.may_be_called(callback);
        let (backlog, finishing) = (cx.backlog(), cx.link.flags.contains(Flag::FINISHING));
        let drained = self.watch.backlog.get() != backlog;
        let taken = self.watch.take_memory(cx);
        let (result, news) = call(&mut *self.protocol, cx);
        let ended = result.is_err() || cx.requests >= Requests::Close;
        let finished = cx.requests == Requests::Finish && !finishing;
        let progress = drained || news || cx.backlog() != backlog || finished || ended;
        self.watch.saw(cx, progress);
        if ended {
            self.enter(Stage::Ended); // which beats a switch
        } else {
            self.watch.check_memory(cx);
            self.follow_switch(cx);
        }
        cx.core.held -= taken;
        result
    }

    /// One callback that is offered input. Bytes that were not there the last time are news even if none is consumed:
    /// whoever waits for a whole message is called for each of its bytes, and does not spin.
    fn offer(
        &mut self,
        callback: &'static str,
        cx: &mut Context<'_>,
        input: &mut Input<'_>,
        call: impl FnOnce(&mut dyn Protocol, &mut Context<'_>, &mut Input<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (offered, before) = (input.len(), self.watch.left.get());
        let result = self.observe(callback, cx, |protocol, cx| {
            let result = call(protocol, cx, input);
            (result, input.len() < offered || offered > before)
        });
        self.watch.left.set(input.len());
        result
    }

    fn may_be_called(&mut self, callback: &'static str) {
        let opens = callback == "on_open";
        let in_order = if opens { self.stage == Stage::New } else { self.stage == Stage::Open };
        let name = self.watch.name;
        demand!(in_order, "{callback} was called on {name} ({}): the fault of what calls it", self.stage.in_words());
        demand!(
            !(callback == "on_eof" && self.eof_told),
            "on_eof was called twice on {name}: the fault of what calls it"
        );
        self.eof_told |= callback == "on_eof";
        // A layer asks for a drain on its own account in between, so what is owed is owed until it comes.
        let owed = if opens || callback == "on_drain" { self.watch.drain_owed.take() } else { true };
        demand!(owed || opens, "on_drain was called on {name}, whose has_room() did not say no");
        self.watch.begin(callback);
        if opens {
            self.enter(Stage::Open);
        }
    }

    fn enter(&mut self, stage: Stage) {
        self.stage = stage;
        self.watch.stage.set(Some(stage));
    }

    /// What is watched there; `Err` gives back what is not.
    fn unwatched(protocol: Box<dyn Protocol>) -> Result<Box<dyn Protocol>, Box<dyn Protocol>> {
        let any: &dyn Any = &*protocol;
        if !any.is::<Self>() {
            return Err(protocol);
        }
        let any: Box<dyn Any> = protocol;
        any.downcast::<Self>().map_or_else(|_| unreachable!("it was looked at"), |observed| Ok(observed.protocol))
    }

    /// Sees to it that who takes over is watched, too.
    fn follow_switch(&mut self, cx: &mut Context<'_>) {
        let Some((depth, to)) = cx.core.switch.take_if(|(depth, _)| *depth == cx.depth) else { return };
        let watch = Rc::clone(&self.watch);
        let to = match to {
            SwitchTo::Replace(new) => SwitchTo::Replace(Box::new(Self::watched(new, watch))),
            SwitchTo::Wrap(wrap) => {
                self.enter(Stage::New); // it is opened again where it lives on
                SwitchTo::Wrap(Box::new(move |old| match Self::unwatched(old) {
                    Ok(old) => Box::new(Self::watched(wrap(old), watch)),
                    Err(around_this) => wrap(around_this),
                }))
            }
        };
        cx.core.switch = Some((depth, to));
    }
}

impl Watch {
    /// Something happens to the connection from outside: what follows is no spin.
    pub(super) fn stimulus(&self) {
        self.idle.set(0);
    }

    /// Callbacks so far.
    pub(super) fn callbacks(&self) -> u64 {
        self.callbacks.get()
    }

    /// The type of the protocol that the connection began with.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// The callback that was called last; empty before the first.
    pub(super) fn last_callback(&self) -> &'static str {
        self.last.get()
    }

    /// Whether the protocol has failed, closed or aborted, or has been told that all is over.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.stage.get(), Some(Stage::Ended | Stage::Closed))
    }

    /// Whether `on_close` has been called, on the last protocol where there were several.
    pub(super) fn has_closed(&self) -> bool {
        self.stage.get() == Some(Stage::Closed)
    }

    /// Whether `has_room` has said no and `on_drain` has not come yet.
    pub(super) fn owes_drain(&self) -> bool {
        self.drain_owed.get() && !self.has_ended()
    }

    /// From now on others hold all the memory there is, whenever a callback runs: what is held beyond what was is too
    /// much, and `hold` says so. (In between the loop has its memory, so that it is not the first to run out.)
    pub(super) fn fill_memory(&self) {
        self.full.set(true);
    }

    /// Whether the protocol does not want its input although it has been told `on_drain`.
    pub(super) fn is_paused_in_vain(&self) -> bool {
        self.reading.get() == Reading::PausedInVain
    }

    /// How often bytes were read straight into a buffer of the protocol's.
    pub(super) fn fills(&self) -> u64 {
        self.fills.get()
    }

    /// From now on buffers of the protocol's are not read into.
    pub(super) fn copy_all(&self) {
        self.copies.set(true);
    }

    fn take_memory(&self, cx: &mut Context<'_>) -> usize {
        let rest = if self.full.get() { cx.core.limits.loop_memory.saturating_sub(cx.core.held) } else { 0 };
        cx.core.held += rest;
        rest
    }

    fn begin(&self, callback: &'static str) {
        self.last.set(callback);
        self.callbacks.set(self.callbacks.get() + 1);
        let recent = &mut *self.recent.borrow_mut();
        recent.rotate_left(1);
        recent[3] = callback;
    }

    /// A callback has returned.
    fn saw(&self, cx: &Context<'_>, progress: bool) {
        self.backlog.set(cx.backlog());
        self.drain_owed.set(self.drain_owed.get() || cx.link.flags.contains(Flag::DRAIN_OWED));
        self.reading.set(match (cx.link.flags.contains(Flag::PAUSED), self.reading.get(), self.last.get()) {
            (false, ..) => Reading::On,
            (true, Reading::On, _) => Reading::Paused,
            (true, Reading::Paused, "on_drain") => Reading::PausedInVain,
            (true, before, _) => before,
        });
        if progress || cx.core.now.saturating_since(self.idle_since.get()) >= SPIN_TIME {
            self.idle.set(0);
            self.idle_since.set(cx.core.now);
            return;
        }
        self.idle.set(self.idle.get() + 1);
        demand!(
            self.idle.get() < SPIN,
            "{} spins: {SPIN} callbacks in a row at one and the same time ({}) consumed nothing and sent nothing; \
             the last were {}",
            self.name,
            cx.core.now,
            self.recent_callbacks(),
        );
    }

    fn recent_callbacks(&self) -> String {
        self.recent.borrow().iter().copied().filter(|callback| !callback.is_empty()).collect::<Vec<_>>().join(", ")
    }

    fn check_memory(&self, cx: &Context<'_>) {
        let (held, limit) = (cx.core.held, cx.core.limits.loop_memory);
        demand!(
            held <= limit,
            "{} goes on after {} although the loop now holds {held} bytes and may hold {limit}: what `hold` answered \
             was ignored",
            self.name,
            self.last.get(),
        );
    }
}

impl Protocol for Observed {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.observe("on_open", cx, |protocol, cx| (protocol.on_open(cx), false))
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.offer("on_data", cx, input, |protocol, cx, input| protocol.on_data(cx, input))
    }

    fn read_buffer(&mut self) -> &mut [u8] {
        if self.watch.copies.get() || self.stage != Stage::Open {
            return &mut [];
        }
        let lent = self.protocol.read_buffer();
        self.watch.lent.set(lent.len());
        lent
    }

    fn on_filled(&mut self, cx: &mut Context<'_>, count: usize) -> Result<(), Failure> {
        let lent = self.watch.lent.take();
        demand!(
            (1..=lent).contains(&count),
            "on_filled was told of {count} bytes, of {lent} that were lent: the fault of what calls it"
        );
        self.watch.left.set(0);
        self.watch.fills.set(self.watch.fills.get() + 1);
        self.observe("on_filled", cx, |protocol, cx| (protocol.on_filled(cx, count), true))
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        self.offer("on_eof", cx, rest, |protocol, cx, rest| protocol.on_eof(cx, rest))
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId) -> Result<(), Failure> {
        self.observe("on_timer", cx, |protocol, cx| (protocol.on_timer(cx, timer), false))
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.observe("on_drain", cx, |protocol, cx| (protocol.on_drain(cx), false))
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        self.observe("on_message", cx, |protocol, cx| (protocol.on_message(cx, message), false))
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.observe("on_shutdown", cx, |protocol, cx| (protocol.on_shutdown(cx), false))
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        if std::thread::panicking() {
            return; // the loop goes down with a run that failed: its own panic is the one to see
        }
        let name = self.watch.name;
        demand!(self.stage != Stage::Closed, "on_close was called twice on {name}: the fault of what calls it");
        self.watch.begin("on_close");
        self.enter(Stage::Closed);
        self.protocol.on_close(cx, reason);
    }
}
