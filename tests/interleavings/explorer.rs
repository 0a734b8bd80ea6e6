//! Depth-first exploration without a store of states: each sequence of choices is run from its
//! beginning, and the next one differs in the last choice that has an alternative left.

use std::cell::RefCell;
use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;

/// Everything that the world, or a protocol in a callback, may decide to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// The world does no more harm: windows open, the peer finishes, time passes.
    Stop,
    /// One turn of the loop.
    Turn,

    // The world between two turns.
    /// The peer sends one byte.
    Byte,
    /// The peer sends more than two reads take.
    Flood,
    /// The peer half-closes.
    End,
    /// The peer resets.
    Reset,
    /// No more is taken; one byte more; two; everything.
    Shut,
    Crack,
    Gap,
    Open,
    /// The next read, or write, is cut to a byte, or would block.
    CutRead,
    BlockRead,
    CutWrite,
    BlockWrite,
    /// An event that announces nothing.
    Stale,
    /// An event of the connection that had this place before.
    Bygone,
    /// Somebody posts a letter to the connection.
    Letter,
    /// The same of the other connection.
    OtherByte,
    OtherOpen,
    OtherEnd,
    OtherReset,
    OtherLetter,
    /// The loop is asked to close or abort the connection, or to shut down.
    CloseIt,
    AbortIt,
    Shutdown,
    /// Time passes until the next deadline.
    Later,
    /// What becomes of an outgoing connection.
    Establish,
    Refuse,
    /// A peer connects; the next accept finds no descriptor, or a peer that has gone.
    Connect,
    Exhausted,
    Vanished,

    // A protocol in its callbacks.
    /// What it does if nothing is to be shown: consumes and echoes all, answers a letter, closes
    /// in answer to a shutdown, half-closes in answer to a half-close.
    Usual,
    /// Consumes and echoes one byte.
    One,
    /// Consumes and echoes all but one byte.
    Most,
    /// Consumes nothing and waits for one byte more than is there.
    Leave,
    /// Consumes and echoes all, and sends more than the high-water mark.
    Shout,
    /// Consumes and echoes all and pauses, or consumes nothing and pauses; resumes by timer.
    Pause,
    PauseLeaving,
    /// As `PauseLeaving`, and sends more than the high-water mark.
    Choke,
    /// As `Pause`, and as `Shout`, but goes on at `on_drain` if one is owed.
    AwaitDrain,
    /// Pauses and resumes in the same callback, consuming nothing the first time.
    Blink,
    /// Consumes and echoes all and half-closes, closes, aborts, or fails.
    Finish,
    Close,
    Abort,
    Fail,
    /// Consumes nothing, or one byte, and another protocol takes over.
    Switch,
    SwitchOne,
    /// Consumes nothing, pauses, and another protocol takes over.
    SwitchPaused,
    /// Posts a letter to the other connection.
    Post,
    /// Closes the other connection.
    CloseOther,
    /// Does nothing about a shutdown or a half-close for now.
    Ignore,
}

impl Choice {
    /// What it costs of the bound: turns cost nothing, for the loop takes them in any case.
    fn cost(self, options: &[Self]) -> usize {
        usize::from(self != Self::Turn && self != options[0])
    }
}

/// One run's choices: those that lead to where the exploration stands, then the first of each.
pub(crate) struct Script(RefCell<State>);

struct State {
    path: Vec<Branch>,
    at: usize,
    budget: usize,
    /// Every choice so far, in order.
    story: Vec<Choice>,
    /// The choices of a story that is told again.
    told: Option<Vec<Choice>>,
    kind: bool,
}

impl State {
    fn goes_on(&self) -> bool {
        match &self.told {
            _ if self.kind => false,
            Some(told) => self.at < told.len(),
            None => self.budget > 0,
        }
    }
}

#[derive(Clone, Copy)]
struct Branch {
    chosen: usize,
    of: usize,
}

impl Script {
    fn new(path: Vec<Branch>, budget: usize, told: Option<Vec<Choice>>) -> Self {
        Self(RefCell::new(State { path, at: 0, budget, story: Vec::new(), told, kind: false }))
    }

    /// Chooses one of `options`, the first of which costs nothing.
    pub(crate) fn choose(&self, options: &[Choice]) -> Choice {
        let mut state = self.0.borrow_mut();
        if !state.goes_on() {
            return options[0];
        }
        let at = state.at;
        state.at += 1;
        let choice = if let Some(told) = &state.told {
            let choice = told[at];
            assert!(options.contains(&choice), "the story has {choice:?} at {at}, where {options:?} are possible");
            choice
        } else {
            if at == state.path.len() {
                state.path.push(Branch { chosen: 0, of: options.len() });
            }
            let branch = state.path[at];
            assert_eq!(branch.of, options.len(), "the same choices must lead to the same place: {:?}", state.story);
            options[branch.chosen]
        };
        state.budget = state.budget.saturating_sub(choice.cost(options));
        state.story.push(choice);
        choice
    }

    /// From now on the first of each, which the story does not tell.
    pub(crate) fn be_kind(&self) {
        self.0.borrow_mut().kind = true;
    }

    /// Whether there is something to choose still.
    pub(crate) fn goes_on(&self) -> bool {
        self.0.borrow().goes_on()
    }

    fn story(&self) -> Vec<Choice> {
        self.0.borrow().story.clone()
    }

    /// The path to the next sequence, if there is one.
    fn next_path(&self) -> Option<Vec<Branch>> {
        let mut path = self.0.borrow().path.clone();
        while let Some(last) = path.last_mut() {
            last.chosen += 1;
            if last.chosen < last.of {
                return Some(path);
            }
            path.pop();
        }
        None
    }
}

/// What an exploration has come to.
struct Explored {
    sequences: u64,
    failed: u64,
    /// The first that failed.
    story: Option<Vec<Choice>>,
}

/// Runs every sequence that costs at most `bound`; stops at the first that fails unless all are to
/// be counted.
fn walk(bound: usize, run: fn(&Rc<Script>), count_all: bool) -> Explored {
    let mut explored = Explored { sequences: 0, failed: 0, story: None };
    let mut path = Some(Vec::new());
    while let Some(prefix) = path {
        let script = Rc::new(Script::new(prefix, bound, None));
        explored.sequences += 1;
        if panic::catch_unwind(AssertUnwindSafe(|| run(&script))).is_err() {
            explored.failed += 1;
            explored.story.get_or_insert_with(|| script.story());
            if !count_all {
                return explored;
            }
        }
        path = script.next_path();
    }
    explored
}

/// Explores every sequence up to `bound` (and `INTERLEAVINGS_DEEPER` more, if that is set).
///
/// # Panics
///
/// If one fails: with the shortest that does.
pub(crate) fn explore(name: &str, bound: usize, run: fn(&Rc<Script>)) {
    let deeper = env::var("INTERLEAVINGS_DEEPER").map_or(0, |deeper| deeper.parse::<isize>().unwrap());
    let count_all = env::var_os("INTERLEAVINGS_COUNT").is_some();
    let bound = bound.saturating_add_signed(deeper);
    let explored = walk(bound, run, count_all);
    println!("{name}: {} sequences of at most {bound} steps, {} failed", explored.sequences, explored.failed);
    let Some(first) = explored.story else { return };
    // The shortest tells most.
    let shortest = (1..bound).find_map(|bound| walk(bound, run, false).story).unwrap_or(first);
    panic!("{name}: this sequence fails; `replay(&{shortest:?}, ..)` shows it again");
}

/// Runs one sequence: a story that an exploration has printed.
pub(crate) fn replay(story: &[Choice], run: fn(&Rc<Script>)) {
    let script = Rc::new(Script::new(Vec::new(), 0, Some(story.to_vec())));
    run(&script);
}
