//! The protocol of the explorations: what it does is part of the choices, and it knows what it was
//! promised.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::{CloseReason, Closing, Context, Core, Failure, Input, Message, Protocol, TimerId};

use crate::explorer::{Choice, Script};
use crate::notes::{Ended, Facts, Notes};

/// More than any high-water mark of these tests.
pub(crate) const SHOUT: &[u8] = b"!!!!!!";
/// How long it pauses.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);

/// When it looks at its watch, whatever else happens: so a timer is armed nearly always.
const WATCH: Duration = Duration::from_millis(12);

/// What it may do in each callback; the first is the usual, and free.
#[derive(Clone, Copy)]
pub(crate) struct Reactions {
    pub(crate) open: &'static [Choice],
    pub(crate) data: &'static [Choice],
    pub(crate) eof: &'static [Choice],
    pub(crate) timer: &'static [Choice],
    pub(crate) drain: &'static [Choice],
    pub(crate) message: &'static [Choice],
    pub(crate) shutdown: &'static [Choice],
}

const USUAL: &[Choice] = &[Choice::Usual];

impl Reactions {
    pub(crate) const USUAL: Self =
        Self { open: USUAL, data: USUAL, eof: USUAL, timer: USUAL, drain: USUAL, message: USUAL, shutdown: USUAL };
}

/// Echoes, or does otherwise, as the script says.
pub(crate) struct Actor {
    script: Rc<Script>,
    reactions: Reactions,
    notes: Notes,
    /// The other connection, if there is one.
    other: Option<Notes>,
    opened: Cell<bool>,
}

impl Actor {
    pub(crate) fn new(script: &Rc<Script>, reactions: Reactions, notes: &Notes) -> Self {
        Self { script: Rc::clone(script), reactions, notes: notes.clone(), other: None, opened: Cell::new(false) }
    }

    pub(crate) fn with_other(mut self, other: &Notes) -> Self {
        self.other = Some(other.clone());
        self
    }

    fn successor(&self) -> Self {
        Self { other: self.other.clone(), ..Self::new(&self.script, self.reactions, &self.notes) }
    }

    /// Checks what holds in every callback, and chooses what to do in this one.
    fn enter(&self, options: &[Choice]) -> Choice {
        self.check();
        self.script.choose(options)
    }

    fn check(&self) {
        let mut facts = self.notes.borrow_mut();
        facts.callbacks += 1;
        assert!(self.opened.get(), "a callback before on_open");
        assert_eq!(facts.closed, 0, "a callback after on_close");
        assert_eq!(facts.ending, None, "a callback after the protocol ended the connection");
    }

    fn say(&self, cx: &mut Context<'_>, bytes: &[u8]) {
        let mut facts = self.notes.borrow_mut();
        if facts.finished {
            return;
        }
        cx.send(bytes);
        facts.said.extend_from_slice(bytes);
        facts.drain_owed |= !cx.has_room();
    }

    fn echo(&self, cx: &mut Context<'_>, input: &mut Input<'_>, count: usize) {
        let bytes = input.take(count);
        self.say(cx, bytes);
        self.notes.borrow_mut().consumed += count;
    }

    /// Pauses, and resumes by timer.
    fn pause(&self, cx: &mut Context<'_>) {
        cx.pause_reading();
        let mut facts = self.notes.borrow_mut();
        facts.paused = true;
        facts.timer.get_or_insert_with(|| (cx.set_timer(PAUSE), cx.now() + PAUSE));
    }

    fn resume(&self, cx: &mut Context<'_>) {
        cx.resume_reading();
        let mut facts = self.notes.borrow_mut();
        facts.reoffer |= facts.paused;
        facts.paused = false;
    }

    /// What can be done in every callback, after it has done its own.
    fn carry_out(&self, cx: &mut Context<'_>, choice: Choice) -> Result<(), Failure> {
        match choice {
            Choice::Shout => self.say(cx, SHOUT),
            Choice::Pause | Choice::PauseLeaving => self.pause(cx),
            Choice::Choke => {
                self.say(cx, SHOUT);
                self.pause(cx);
            }
            Choice::AwaitDrain => {
                self.say(cx, SHOUT);
                if self.notes.borrow().drain_owed {
                    cx.pause_reading();
                    self.notes.borrow_mut().paused = true;
                }
            }
            Choice::Blink => {
                cx.pause_reading();
                self.notes.borrow_mut().paused = true;
                self.resume(cx);
            }
            Choice::Finish => {
                cx.finish();
                self.notes.borrow_mut().finished = true;
            }
            Choice::Close | Choice::Abort | Choice::Fail => {
                self.notes.borrow_mut().ending = Some(choice);
                match choice {
                    Choice::Close => cx.close(),
                    Choice::Abort => cx.abort(),
                    _ => return Err(Failure::peer("it was told to fail")),
                }
            }
            Choice::Switch | Choice::SwitchOne | Choice::SwitchPaused => {
                if choice == Choice::SwitchPaused {
                    cx.pause_reading();
                }
                self.notes.borrow_mut().switching = true;
                cx.switch_to(self.successor());
            }
            Choice::Post => {
                if let Some(other) = &self.other {
                    other.post(|id, message| cx.post(id, message));
                }
            }
            Choice::CloseOther => {
                if let Some(other) = &self.other
                    && let Some(id) = other.borrow().id
                {
                    let core: &mut Core = cx;
                    core.close(id);
                }
                if let Some(other) = &self.other {
                    other.borrow_mut().cut = true;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The bytes of `input` are the next ones that the peer sent.
fn check_order(facts: &Facts, input: &[u8]) {
    let expected = (facts.consumed..facts.consumed + input.len()).map(|number| number as u8);
    assert!(
        input.iter().copied().eq(expected),
        "bytes lost, repeated or out of order at {}: {input:?}",
        facts.consumed
    );
    assert!(input.len() >= facts.left, "{} bytes were left, and only {} came back", facts.left, input.len());
}

impl Protocol for Actor {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        assert!(!self.opened.replace(true), "on_open twice");
        {
            let mut facts = self.notes.borrow_mut();
            facts.id = Some(cx.id());
            facts.opened += 1;
            facts.switching = false;
            // What the one before it left comes here, whatever that one waited for.
            (facts.reoffer, facts.awaited) = (true, 0);
            (facts.paused, facts.drain_owed, facts.timer) = (false, false, None);
            facts.watch = Some((cx.set_timer(WATCH), cx.now() + WATCH));
            (facts.eof, facts.shutdown) = (false, false);
        }
        let choice = self.enter(self.reactions.open);
        self.carry_out(cx, choice)
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        let choice = self.enter(self.reactions.data);
        {
            let mut facts = self.notes.borrow_mut();
            assert!(!facts.eof, "on_data after on_eof");
            assert!(!facts.paused, "on_data while the protocol has paused");
            assert!(!cx.is_reading_paused(), "on_data while reading waits for the output to drain");
            assert!(!input.is_empty(), "on_data with nothing");
            check_order(&facts, input);
            let again = std::mem::take(&mut facts.reoffer);
            assert!(again || input.len() > facts.left, "on_data with nothing new");
            assert!(again || input.len() >= facts.awaited, "on_data before what it waits for is there");
        }
        let (count, awaited) = match choice {
            Choice::One | Choice::SwitchOne => (1, 0),
            Choice::Most => (input.len() - 1, 0),
            Choice::Leave => (0, input.len() + 1),
            Choice::PauseLeaving | Choice::Choke | Choice::Switch | Choice::SwitchPaused | Choice::Blink => (0, 0),
            _ => (input.len(), 0),
        };
        if awaited > 0 {
            input.wait_for(awaited);
        }
        self.echo(cx, input, count);
        let mut facts = self.notes.borrow_mut();
        (facts.left, facts.awaited) = (input.len(), awaited);
        drop(facts);
        self.carry_out(cx, choice)
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        let choice = self.enter(self.reactions.eof);
        {
            let mut facts = self.notes.borrow_mut();
            assert!(!std::mem::replace(&mut facts.eof, true), "on_eof twice");
            assert!(!facts.paused, "on_eof while the protocol has paused");
            check_order(&facts, rest);
        }
        if !matches!(choice, Choice::Switch | Choice::SwitchPaused) {
            let count = rest.len();
            self.echo(cx, rest, count);
        }
        self.notes.borrow_mut().left = rest.len();
        match choice {
            Choice::Usual => self.carry_out(cx, Choice::Finish),
            Choice::Shout => {
                self.say(cx, SHOUT);
                self.carry_out(cx, Choice::Finish)
            }
            // Goes on sending for a while.
            Choice::Ignore => {
                self.pause(cx);
                Ok(())
            }
            _ => self.carry_out(cx, choice),
        }
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId) -> Result<(), Failure> {
        if self.notes.borrow_mut().watch.take_if(|watch| watch.0 == timer).is_some_and(|watch| watch.1 == cx.now()) {
            self.check();
            return Ok(());
        }
        let choice = self.enter(self.reactions.timer);
        let (set, deadline) = self.notes.borrow_mut().timer.take().expect("a timer that is armed");
        assert_eq!(timer, set, "somebody else's timer");
        assert_eq!(cx.now(), deadline, "a timer early or late");
        self.resume(cx);
        let eof = self.notes.borrow().eof;
        let result = self.carry_out(cx, choice);
        if eof && self.notes.borrow().ending.is_none() {
            self.carry_out(cx, Choice::Finish)?;
        }
        result
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let choice = self.enter(self.reactions.drain);
        let owed = std::mem::take(&mut self.notes.borrow_mut().drain_owed);
        assert!(owed, "on_drain that nobody is owed");
        assert!(cx.backlog() <= cx.limits().low_water, "on_drain above the low-water mark");
        if self.notes.borrow().timer.is_none() {
            self.resume(cx);
        }
        self.carry_out(cx, choice)
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        let choice = self.enter(self.reactions.message);
        let Message::Bytes(bytes) = message else { panic!("a message nobody has sent") };
        {
            let mut facts = self.notes.borrow_mut();
            assert!(facts.letters.last().is_none_or(|&last| last < bytes[0]), "letters out of order");
            facts.letters.push(bytes[0]);
        }
        assert!(cx.backlog() <= cx.limits().high_water, "a letter above the high-water mark");
        self.say(cx, b"*");
        self.carry_out(cx, choice)
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        let choice = self.enter(self.reactions.shutdown);
        assert!(!std::mem::replace(&mut self.notes.borrow_mut().shutdown, true), "on_shutdown twice");
        match choice {
            Choice::Usual => self.carry_out(cx, Choice::Close),
            Choice::Shout => {
                self.say(cx, SHOUT);
                self.carry_out(cx, Choice::Close)
            }
            _ => self.carry_out(cx, choice),
        }
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        let mut facts = self.notes.borrow_mut();
        facts.callbacks += 1;
        if matches!(reason, CloseReason::Switched) {
            assert!(std::mem::take(&mut facts.switching), "a switch nobody asked for");
            return;
        }
        facts.closed += 1;
        facts.ended = Some(match reason {
            CloseReason::Local | CloseReason::Peer => Ended::InOrder,
            CloseReason::Aborted { .. } => Ended::Aborted,
            CloseReason::Shutdown { .. } => Ended::CutOff,
            CloseReason::Connect(_) | CloseReason::ConnectTimeout(_) => Ended::Connect,
            CloseReason::Failure(_) => Ended::Failed,
            CloseReason::Limit(_) => Ended::Limit,
            _ => Ended::Broke,
        });
        assert_eq!(facts.closed, 1, "on_close twice");
    }
}
