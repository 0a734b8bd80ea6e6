//! The loop's handle for other threads.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use queue::Queue;

use crate::driver::Wake;
use crate::{ConnectionId, Context, Core, EndpointId, Message};

mod queue;
mod sync;

/// A way to the event loop from any thread: `Send`, `Sync`, and cheap to clone.
///
/// What it is asked to do happens in the loop's next turn, in the order asked. The loop is woken
/// once however much is asked of it meanwhile.
///
/// ```
/// use std::time::Duration;
/// use switchboard::EventLoop;
///
/// let mut event_loop = EventLoop::new()?;
/// let handle = event_loop.handle();
/// let thread = std::thread::spawn(move || handle.shutdown(Duration::from_secs(5)));
/// let tally = event_loop.run()?; // returns, because the other thread says so
/// assert_eq!(tally.cut_off, 0);
/// # thread.join().unwrap().unwrap();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Handle(Arc<Queue<Remote>>);

/// The loop has ended, or was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event loop has ended")]
pub struct LoopEnded;

/// What a handle could not hand over, and why.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Undelivered<T> {
    /// The loop has ended, or was dropped.
    #[error("the event loop has ended")]
    Ended(T),
    /// As much waits for the loop as [`Limits::handle_queue`](crate::Limits::handle_queue) allows.
    #[error("the event loop's queue is full (limit handle_queue)")]
    Full(T),
}

impl<T> Undelivered<T> {
    /// What could not be handed over.
    pub fn into_inner(self) -> T {
        match self {
            Self::Ended(value) | Self::Full(value) => value,
        }
    }

    fn map<U>(self, f: impl FnOnce(T) -> U) -> Undelivered<U> {
        match self {
            Self::Ended(value) => Undelivered::Ended(f(value)),
            Self::Full(value) => Undelivered::Full(f(value)),
        }
    }
}

impl<T> fmt::Debug for Undelivered<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended(_) => "Ended(..)",
            Self::Full(_) => "Full(..)",
        })
    }
}

/// A closure for the loop's thread.
pub(crate) type RunOnLoop = Box<dyn FnOnce(&mut Core) + Send>;
/// A closure for one connection, on the loop's thread.
pub(crate) type RunOnConnection = Box<dyn FnOnce(&mut Context<'_>) + Send>;

/// What other threads ask of the loop.
pub(crate) enum Remote {
    Post(EndpointId, Message),
    Publish(Box<str>, Option<u64>, Bytes),
    Run(RunOnLoop),
    With(ConnectionId, RunOnConnection),
    Shutdown(Duration),
    Stop,
}

impl Handle {
    pub(crate) fn new(waker: Arc<dyn Wake>, limit: usize) -> Self {
        Self(Arc::new(Queue::new(waker, limit)))
    }

    /// Posts a message to a connection or UDP socket. If that is gone when the loop comes to it, or
    /// its mailbox is full, the message counts as undelivered in [`Counters`](crate::Counters).
    ///
    /// # Errors
    ///
    /// Hands the message back if the loop has ended or its queue is full.
    pub fn post(&self, to: impl Into<EndpointId>, message: impl Into<Message>) -> Result<(), Undelivered<Message>> {
        let give_back = |remote| match remote {
            Remote::Post(_, message) => message,
            _ => unreachable!("what is handed back is what was handed over"),
        };
        self.push(Remote::Post(to.into(), message.into()), give_back)
    }

    /// Publishes on a topic: see [`Core::publish`]. How many publications may wait in the turn that comes to it is a matter
    /// of the subscriptions ([`Slow`](crate::Slow)).
    ///
    /// # Errors
    ///
    /// Hands the payload back if the loop has ended or its queue is full.
    pub fn publish(&self, topic: &str, payload: impl Into<Bytes>) -> Result<(), Undelivered<Bytes>> {
        self.push_publication(topic, None, payload.into())
    }

    /// Publishes with a key: see [`Core::publish_keyed`].
    ///
    /// # Errors
    ///
    /// Hands the payload back if the loop has ended or its queue is full.
    pub fn publish_keyed(&self, topic: &str, key: u64, payload: impl Into<Bytes>) -> Result<(), Undelivered<Bytes>> {
        self.push_publication(topic, Some(key), payload.into())
    }

    /// Runs a closure on the loop's thread, between callbacks.
    ///
    /// # Errors
    ///
    /// Hands the closure back if the loop has ended or its queue is full.
    pub fn run(&self, closure: impl FnOnce(&mut Core) + Send + 'static) -> Result<(), Undelivered<RunOnLoop>> {
        let give_back = |remote| match remote {
            Remote::Run(closure) => closure,
            _ => unreachable!("what is handed back is what was handed over"),
        };
        self.push(Remote::Run(Box::new(closure)), give_back)
    }

    /// Runs a closure on the loop's thread with a connection's [`Context`], as
    /// [`EventLoop::with`](crate::EventLoop::with) does. Dropped uncalled if the connection is gone.
    ///
    /// # Errors
    ///
    /// Hands the closure back if the loop has ended or its queue is full.
    pub fn with(
        &self,
        id: ConnectionId,
        closure: impl FnOnce(&mut Context<'_>) + Send + 'static,
    ) -> Result<(), Undelivered<RunOnConnection>> {
        let give_back = |remote| match remote {
            Remote::With(_, closure) => closure,
            _ => unreachable!("what is handed back is what was handed over"),
        };
        self.push(Remote::With(id, Box::new(closure)), give_back)
    }

    /// Starts to drain the loop: see [`Core::shutdown`].
    ///
    /// # Errors
    ///
    /// If the loop has ended already.
    pub fn shutdown(&self, timeout: Duration) -> Result<(), LoopEnded> {
        self.push_always(Remote::Shutdown(timeout))
    }

    /// Ends the loop in its next turn; every connection is cut off.
    ///
    /// # Errors
    ///
    /// If the loop has ended already.
    pub fn stop(&self) -> Result<(), LoopEnded> {
        self.push_always(Remote::Stop)
    }

    /// Whether the loop has something to fetch.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        self.0.is_pending()
    }

    /// Fetches all requests into `requests`, which must be empty.
    pub(crate) fn take(&self, requests: &mut Vec<Remote>) {
        self.0.take(requests);
    }

    /// From now on every request is refused; those that waited are dropped. Says how many messages
    /// were among them.
    pub(crate) fn end(&self) -> u64 {
        let requests = self.0.end();
        requests.iter().filter(|request| matches!(request, Remote::Post(..))).count() as u64
    }

    fn push_publication(&self, topic: &str, key: Option<u64>, payload: Bytes) -> Result<(), Undelivered<Bytes>> {
        let give_back = |remote| match remote {
            Remote::Publish(_, _, payload) => payload,
            _ => unreachable!("what is handed back is what was handed over"),
        };
        self.push(Remote::Publish(topic.into(), key, payload), give_back)
    }

    fn push<T>(&self, remote: Remote, give_back: impl FnOnce(Remote) -> T) -> Result<(), Undelivered<T>> {
        self.0.push(remote).map_err(|undelivered| undelivered.map(give_back))
    }

    /// As `push`, for what must get through though the queue is full.
    fn push_always(&self, remote: Remote) -> Result<(), LoopEnded> {
        self.0.push_always(remote).map_err(|_| LoopEnded)
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("pending", &self.is_pending()).finish()
    }
}
