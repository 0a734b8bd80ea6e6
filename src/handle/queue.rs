//! What many threads push and one loop takes.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::Undelivered;
use super::sync::{AtomicBool, Mutex, MutexGuard};
use crate::driver::Wake;

/// A queue of bounded length, whose pushes wake the one who takes.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    /// Whether something is queued: spares the loop the lock.
    pending: AtomicBool,
    limit: usize,
    waker: Arc<dyn Wake>,
}

struct State<T> {
    items: Vec<T>,
    ended: bool,
}

impl<T> Queue<T> {
    pub(super) fn new(waker: Arc<dyn Wake>, limit: usize) -> Self {
        let state = State { items: Vec::new(), ended: false };
        Self { state: Mutex::new(state), pending: AtomicBool::new(false), limit, waker }
    }

    /// Whether there is something to take. If it says no, a wake-up follows whatever is pushed.
    #[inline]
    pub(super) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::Acquire)
    }

    /// Moves everything into `items`, which must be empty.
    pub(super) fn take(&self, items: &mut Vec<T>) {
        debug_assert!(items.is_empty());
        let mut state = self.lock();
        self.pending.store(false, Ordering::Release);
        std::mem::swap(&mut state.items, items);
    }

    /// From now on everything is refused. Hands back what waited: to be dropped without the lock,
    /// for its destructors may use the queue.
    pub(super) fn end(&self) -> Vec<T> {
        let mut state = self.lock();
        state.ended = true;
        self.pending.store(false, Ordering::Release);
        std::mem::take(&mut state.items)
    }

    /// Queues an item, or hands it back.
    pub(super) fn push(&self, item: T) -> Result<(), Undelivered<T>> {
        let state = self.lock();
        if state.ended {
            return Err(Undelivered::Ended(item));
        }
        if state.items.len() >= self.limit {
            return Err(Undelivered::Full(item));
        }
        self.append(state, item);
        Ok(())
    }

    /// As [`push`](Self::push), for what must get through though the queue is full.
    pub(super) fn push_always(&self, item: T) -> Result<(), Undelivered<T>> {
        let state = self.lock();
        if state.ended {
            return Err(Undelivered::Ended(item));
        }
        self.append(state, item);
        Ok(())
    }

    /// Whoever finds the queue empty wakes the loop; the others know it is on its way.
    fn append(&self, mut state: MutexGuard<'_, State<T>>, item: T) {
        state.items.push(item);
        let first = state.items.len() == 1;
        self.pending.store(true, Ordering::Release);
        drop(state);
        if first {
            // It can only fail for lack of kernel memory; then the loop learns of it in its next turn.
            let _ = self.waker.wake();
        }
    }

    /// No code of others runs under the lock, so a poisoned one is whole all the same.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(loom, test))]
mod loom_tests;
