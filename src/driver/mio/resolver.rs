//! Looking up names, which blocks, on threads of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::EndpointId;
use crate::driver::Wake;

/// How many names are looked up at the same time.
const THREADS: usize = 4;
/// How long a thread stays that has nothing to do.
const IDLE: Duration = Duration::from_secs(5);

type Name = Arc<(String, u16)>;
type Answer = io::Result<Vec<SocketAddr>>;

/// Names that are looked up, and who waits for which. All who wait for the same name share one lookup.
#[derive(Default)]
pub(super) struct Resolver {
    shared: Arc<Shared>,
    waiting: BTreeMap<Name, BTreeSet<u64>>,
    names: BTreeMap<u64, Name>,
    answers: BTreeMap<u64, Answer>,
    /// Lookups that the threads were asked for and whose answers were not taken.
    asked: usize,
}

/// What the threads know.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Name>,
    answers: Vec<(Name, Answer)>,
    threads: usize,
    /// How many of them have nothing to do.
    idle: usize,
    /// Nobody waits any more.
    ended: bool,
}

impl Resolver {
    /// Looks a name up. `waker` is told when there is an answer to be [taken](Self::take).
    pub(super) fn resolve(&mut self, key: u64, host: &str, port: u16, waker: &Arc<dyn Wake>) {
        let name = Name::new((host.to_owned(), port));
        self.names.insert(key, Arc::clone(&name));
        let waiting = self.waiting.entry(Arc::clone(&name)).or_default();
        waiting.insert(key);
        if waiting.len() > 1 {
            return;
        }
        self.asked += 1;
        let mut state = self.shared.lock();
        state.queue.push_back(name);
        if state.queue.len() > state.idle && state.threads < THREADS {
            let (shared, to_wake) = (Arc::clone(&self.shared), Arc::clone(waker));
            let thread = thread::Builder::new().name("switchboard-resolver".to_owned());
            match thread.spawn(move || shared.serve(&*to_wake)) {
                Ok(_) => state.threads += 1,
                Err(error) if state.threads == 0 => {
                    if let Some(name) = state.queue.pop_back() {
                        state.answers.push((name, Err(error)));
                    }
                    let _ = waker.wake(); // fails only where the poll will, too
                }
                Err(_) => {} // those that are there will come to it
            }
        }
        drop(state);
        self.shared.work.notify_one();
    }

    /// Whether an answer may come.
    pub(super) fn is_asked(&self) -> bool {
        self.asked > 0
    }

    /// Reports for whom there are answers now.
    #[cold]
    #[inline(never)]
    pub(super) fn take(&mut self, answered: &mut Vec<EndpointId>) {
        let answers = std::mem::take(&mut self.shared.lock().answers);
        self.asked -= answers.len();
        for (name, answer) in answers {
            for key in self.waiting.remove(&name).into_iter().flatten() {
                self.names.remove(&key);
                self.answers.insert(key, again(&answer));
                answered.push(EndpointId::from_key(key));
            }
        }
    }

    pub(super) fn resolved(&mut self, key: u64) -> Option<Answer> {
        self.answers.remove(&key)
    }

    /// What has begun can't be stopped; what has not is not begun if nobody else waits for it.
    pub(super) fn forget(&mut self, key: u64) {
        self.answers.remove(&key);
        let Some(name) = self.names.remove(&key) else { return };
        let Some(waiting) = self.waiting.get_mut(&name) else { return };
        waiting.remove(&key);
        if waiting.is_empty() {
            self.waiting.remove(&name);
            let queue = &mut self.shared.lock().queue;
            if let Some(place) = queue.iter().position(|queued| *queued == name) {
                queue.remove(place);
                self.asked -= 1;
            }
        }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.queue.clear();
        state.ended = true;
        drop(state);
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's life.
    fn serve(&self, waker: &dyn Wake) {
        let mut state = self.lock();
        while !state.ended {
            if let Some(name) = state.queue.pop_front() {
                drop(state);
                let answer = (name.0.as_str(), name.1).to_socket_addrs().map(Iterator::collect);
                state = self.lock();
                state.answers.push((name, answer));
                if !state.ended {
                    let _ = waker.wake(); // fails only where the poll will, too
                }
                continue;
            }
            state.idle += 1;
            let (woken, waited) = self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if waited.timed_out() && state.queue.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }
}

/// The same answer for somebody else.
fn again(answer: &Answer) -> Answer {
    match answer {
        Ok(addresses) => Ok(addresses.clone()),
        Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// Tells when it was woken, and, by the channel's end, when no thread is left that could do that.
    struct Bell(SyncSender<()>);

    impl Wake for Bell {
        fn wake(&self) -> io::Result<()> {
            self.0.send(()).map_err(io::Error::other)
        }
    }

    fn resolver() -> (Resolver, Arc<dyn Wake>, Receiver<()>) {
        let (bell, rings) = sync_channel(1000);
        (Resolver::default(), Arc::new(Bell(bell)), rings)
    }

    fn taken(resolver: &mut Resolver) -> Vec<u64> {
        let mut answered = Vec::new();
        resolver.take(&mut answered);
        answered.into_iter().map(EndpointId::key).collect()
    }

    /// Takes answers until there are so many.
    fn take(resolver: &mut Resolver, rings: &Receiver<()>, count: usize) -> BTreeSet<u64> {
        let mut answered = BTreeSet::new();
        while answered.len() < count {
            rings.recv_timeout(PATIENCE).expect("a wake-up for each answer");
            answered.extend(taken(resolver));
        }
        answered
    }

    #[test]
    fn each_gets_its_own_answer_from_a_few_threads() {
        let (mut resolver, waker, rings) = resolver();
        // Addresses need no name server.
        for key in 0..100 {
            resolver.resolve(key, &format!("192.0.2.{}", key % 50), 80, &waker);
        }
        assert!(resolver.shared.lock().threads <= THREADS);
        assert_eq!(take(&mut resolver, &rings, 100), (0..100).collect());
        for key in 0..100_u8 {
            let answer = resolver.resolved(key.into()).expect("an answer").expect("an address");
            assert_eq!(answer, [([192, 0, 2, key % 50], 80).into()]);
        }
        assert!(resolver.resolved(0).is_none(), "taken");
        let Resolver { waiting, names, answers, asked, .. } = &resolver;
        assert_eq!((waiting.len(), names.len(), answers.len(), *asked), (0, 0, 0, 0));
    }

    #[test]
    fn what_is_not_found_is_said_to_all_who_asked() {
        let (mut resolver, waker, rings) = resolver();
        for key in [1, 2] {
            resolver.resolve(key, "no name has a \0 in it", 80, &waker);
        }
        take(&mut resolver, &rings, 2);
        let [one, two] = [1, 2].map(|key| resolver.resolved(key).expect("an answer").expect_err("no address"));
        assert_eq!((one.kind(), one.to_string()), (two.kind(), two.to_string()));
    }

    #[test]
    fn what_is_forgotten_leaves_nothing() {
        let (mut resolver, waker, rings) = resolver();
        for key in 0..1000 {
            resolver.resolve(key, &format!("192.0.2.{}", key % 200), 80, &waker);
            resolver.forget(key);
            resolver.forget(key);
        }
        assert!(resolver.shared.lock().queue.is_empty());
        resolver.resolve(1, "192.0.2.1", 80, &waker);
        assert_eq!(take(&mut resolver, &rings, 1), [1].into());
        resolver.forget(1);
        assert!(resolver.resolved(1).is_none());
        // What had begun came to an end without anybody hearing of it.
        while resolver.asked > 0 {
            rings.recv_timeout(PATIENCE).expect("a wake-up for each answer");
            assert_eq!(taken(&mut resolver), []);
        }
        assert!(resolver.shared.lock().answers.is_empty());
    }

    #[test]
    fn its_threads_end_with_it() {
        let (mut resolver, waker, rings) = resolver();
        resolver.resolve(1, "192.0.2.1", 80, &waker);
        take(&mut resolver, &rings, 1);
        assert_eq!(resolver.shared.lock().threads, 1);
        drop((resolver, waker));
        assert_eq!(rings.recv_timeout(IDLE / 2), Err(RecvTimeoutError::Disconnected));
    }
}
