//! What protocols under test say they understood.

use std::cell::RefCell;
use std::fmt::Display;
use std::mem;
use std::rc::Rc;

/// What a run keeps; what comes on top is counted.
const MOST_NOTES: usize = 100_000;
const MOST_BYTES: usize = 16 << 20;

thread_local! {
    static CURRENT: RefCell<Option<Notes>> = const { RefCell::new(None) };
}

/// Has a protocol under test say what it understood: `note(format_args!("text {text}"))` in the
/// handler that the test plugs in.
///
/// [`check_conformance`](super::check_conformance) and [`fuzz`](super::fuzz) collect the notes of a run, and demand that
/// they are the same however the input was cut. Outside of such a run this does nothing and formats
/// nothing. A run keeps its first 100,000 notes (16 MiB of text) and counts the rest.
pub fn note(event: impl Display) {
    let current = CURRENT.with_borrow(Option::clone);
    if let Some(notes) = current {
        notes.push(&event);
    }
}

/// The notes of one run.
#[derive(Clone, Default)]
pub(super) struct Notes(Rc<RefCell<Log>>);

#[derive(Default)]
struct Log {
    notes: Vec<String>,
    bytes: usize,
    more: u64,
}

impl Notes {
    /// Runs `f`; what is noted meanwhile on this thread is kept here.
    pub(super) fn during<R>(&self, f: impl FnOnce() -> R) -> R {
        /// Gives the thread back to the run around this one, also when `f` panics.
        struct Restore(Option<Notes>);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }
        let _restore = Restore(CURRENT.replace(Some(self.clone())));
        f()
    }

    /// How many notes there are.
    pub(super) fn len(&self) -> usize {
        self.0.borrow().notes.len()
    }

    /// Takes the notes, in order.
    pub(super) fn take(&self) -> Vec<String> {
        let log = mem::take(&mut *self.0.borrow_mut());
        let more = (log.more > 0).then(|| format!("({} more notes)", log.more));
        log.notes.into_iter().chain(more).collect()
    }

    fn push(&self, event: &dyn Display) {
        {
            let mut log = self.0.borrow_mut();
            if log.notes.len() >= MOST_NOTES || log.bytes >= MOST_BYTES {
                log.more += 1;
                return;
            }
        }
        let text = event.to_string(); // may note something itself
        let mut log = self.0.borrow_mut();
        log.bytes += text.len();
        log.notes.push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_run_collects_and_runs_do_not_mix() {
        let (outer, inner) = (Notes::default(), Notes::default());
        note("nobody listens");
        outer.during(|| {
            note(1);
            inner.during(|| note(2));
            note(3);
        });
        note("nobody listens");
        assert_eq!((outer.take(), inner.take()), (vec!["1".into(), "3".into()], vec!["2".into()]));
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let notes = Notes::default();
        notes.during(|| (0..MOST_NOTES + 5).for_each(note));
        assert_eq!(notes.take().last().map(String::as_str), Some("(5 more notes)"));
    }
}
