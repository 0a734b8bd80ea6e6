//! Every order of several threads at the queue, up to a number of preemptions:
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=3 cargo test --release --lib loom`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::sync::Notify;
use loom::thread;

use super::{Queue, Undelivered};
use crate::driver::Wake;

/// A sleep that a wake-up ends: as the poll of a driver.
struct Alarm {
    notify: Notify,
    /// Not loom's: counting is no part of what is explored.
    wakes: AtomicUsize,
}

impl Alarm {
    fn new() -> Arc<Self> {
        Arc::new(Self { notify: Notify::new(), wakes: AtomicUsize::new(0) })
    }

    fn wakes(&self) -> usize {
        self.wakes.load(Ordering::Relaxed)
    }
}

impl Wake for Alarm {
    fn wake(&self) -> io::Result<()> {
        self.wakes.fetch_add(1, Ordering::Relaxed);
        self.notify.notify();
        Ok(())
    }
}

type Item = (char, u32);

fn queue<T: Send + 'static>(limit: usize) -> (Arc<Queue<T>>, Arc<Alarm>) {
    let alarm = Alarm::new();
    let waker: Arc<dyn Wake> = alarm.clone();
    (Arc::new(Queue::new(waker, limit)), alarm)
}

/// A loop: sleeps while nothing is pending, takes what is; until it has `count` items. Says how
/// often it took something.
fn turn_until(queue: &Queue<Item>, alarm: &Alarm, count: usize, taken: &mut Vec<Item>) -> usize {
    let mut times = 0;
    let mut items = Vec::new();
    while taken.len() < count {
        if !queue.is_pending() {
            alarm.notify.wait();
        }
        if queue.is_pending() {
            queue.take(&mut items);
            times += usize::from(!items.is_empty());
            taken.append(&mut items);
        }
    }
    times
}

fn of(name: char, items: &[Item]) -> Vec<u32> {
    items.iter().filter(|item| item.0 == name).map(|item| item.1).collect()
}

fn push_two(queue: &Arc<Queue<Item>>, name: char) -> thread::JoinHandle<()> {
    let queue = Arc::clone(queue);
    thread::spawn(move || {
        for number in 0..2 {
            assert!(queue.push((name, number)).is_ok());
        }
    })
}

#[test]
fn everything_is_taken_in_each_threads_order_with_one_wake_for_each_emptying() {
    loom::model(|| {
        let (queue, alarm) = queue(8);
        let threads = ['a', 'b'].map(|name| push_two(&queue, name));
        let mut taken = Vec::new();
        let times = turn_until(&queue, &alarm, 4, &mut taken);
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(of('a', &taken), [0, 1]);
        assert_eq!(of('b', &taken), [0, 1]);
        assert!(!queue.is_pending(), "all is taken");
        assert_eq!(alarm.wakes(), times, "one wake-up for each time the queue was emptied");
    });
}

#[test]
fn a_loop_that_never_sleeps_sees_everything() {
    loom::model(|| {
        let (queue, _alarm) = queue(8);
        let thread = push_two(&queue, 'a');
        let (mut taken, mut items) = (Vec::new(), Vec::new());
        while taken.len() < 2 {
            if queue.is_pending() {
                queue.take(&mut items);
                taken.append(&mut items);
            } else {
                thread::yield_now();
            }
        }
        thread.join().unwrap();
        assert_eq!(of('a', &taken), [0, 1]);
    });
}

#[test]
fn at_the_end_each_item_is_taken_or_dropped_or_handed_back() {
    loom::model(|| {
        let (queue, alarm) = queue(8);
        let threads = ['a', 'b'].map(|name| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let refused = (0..2).filter_map(|number| queue.push((name, number)).err());
                refused.map(Undelivered::into_inner).collect::<Vec<_>>()
            })
        });
        let mut taken = Vec::new();
        if queue.is_pending() {
            queue.take(&mut taken);
        }
        let times = usize::from(!taken.is_empty());
        let dropped = queue.end();
        assert!(!queue.is_pending(), "nothing comes after the end");
        let refused = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>();
        for name in ['a', 'b'] {
            let all = [of(name, &taken), of(name, &dropped), of(name, &refused)].concat();
            assert_eq!(all, [0, 1], "each once, and those that were refused behind those that were not");
        }
        assert!(!queue.is_pending(), "nor later");
        assert_eq!(alarm.wakes(), times + usize::from(!dropped.is_empty()));
        assert!(queue.push_always(('c', 0)).is_err());
    });
}

#[test]
fn who_finds_it_full_gets_the_item_back_and_can_still_stop_the_loop() {
    loom::model(|| {
        let (queue, alarm) = queue(1);
        let threads = ['a', 'b'].map(|name| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || match queue.push((name, 0)) {
                Ok(()) => 1,
                Err(Undelivered::Full(item)) => {
                    assert_eq!(item, (name, 0));
                    assert!(queue.push_always((name, 1)).is_ok());
                    1
                }
                Err(Undelivered::Ended(_)) => unreachable!("nobody has ended it"),
            })
        });
        let mut taken = Vec::new();
        turn_until(&queue, &alarm, 2, &mut taken);
        assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), taken.len());
        assert_eq!((of('a', &taken).len(), of('b', &taken).len()), (1, 1));
    });
}

/// Pushes to the queue it was in when it is dropped.
struct Parting(Arc<Queue<Self>>, Arc<AtomicUsize>);

impl Drop for Parting {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
        let again = Self(Arc::clone(&self.0), Arc::clone(&self.1));
        match self.0.push(again) {
            // Handed back: its own destructor must not try for ever.
            Err(Undelivered::Ended(again) | Undelivered::Full(again)) => std::mem::forget(again),
            Ok(()) => panic!("pushed to a queue that has ended"),
        }
    }
}

#[test]
fn what_is_dropped_at_the_end_may_use_the_queue() {
    loom::model(|| {
        let (queue, _alarm) = queue(8);
        let dropped = Arc::new(AtomicUsize::new(0));
        let thread = {
            let (queue, dropped) = (Arc::clone(&queue), Arc::clone(&dropped));
            thread::spawn(move || {
                let parting = Parting(Arc::clone(&queue), dropped);
                drop(queue.push(parting));
            })
        };
        drop(queue.end());
        thread.join().unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), 1, "dropped once, by the one or the other");
    });
}
