//! Calls from any thread or task: the loop has a thread of its own, and comes back when its connection is lost.

use std::io;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;
use switchboard::{Backoff, EventLoop, Handle, Limits, Message, Reconnect, Reconnecting, Target};
use tokio::sync::oneshot;

use super::caller::{Again, Call, CallError, Caller};

/// Calls under way at a time.
const MOST: usize = 16_384;

/// How long the last replies may take when the client stops.
const GRACE: Duration = Duration::from_secs(4);

/// What is to be called, and how long that may take.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: String,
    pub(crate) params: Value,
    pub(crate) timeout: Duration,
    /// Carrying it out twice does no harm: it may be sent again if the connection is lost before the reply came.
    pub(crate) idempotent: bool,
}

/// A client of one server, for any number of threads and tasks.
#[derive(Clone)]
pub(crate) struct Client {
    handle: Handle,
    peer: Reconnecting,
}

impl Client {
    /// Connects, and again whenever the connection is lost, until the client is [stopped](Self::stop).
    pub(crate) fn start(target: Target, backoff: Backoff) -> io::Result<(Self, JoinHandle<io::Result<()>>)> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let thread = thread::Builder::new().name("rpc".to_owned()).spawn(move || {
            let mut event_loop = EventLoop::with_limits(Limits { mailbox: MOST, ..Limits::default() })?;
            let again = Again::default();
            let peer = Reconnect::new(target, move |_| Caller::new(MOST, &again)).backoff(backoff);
            let peer = peer.start(event_loop.core());
            let _ = sender.send(Self { handle: event_loop.handle(), peer });
            event_loop.run().map(drop)
        })?;
        match receiver.recv() {
            Ok(client) => Ok((client, thread)),
            Err(_) => Err(io::Error::other("the loop could not be made")),
        }
    }

    /// Makes a call; `then` is called on the loop's thread, whatever becomes of it, and must not block. Where there is no
    /// connection the call waits for the next attempt to make one, and ends with that if it fails.
    pub(crate) fn begin(&self, ask: Ask, then: impl FnOnce(Result<Value, CallError>) + Send + 'static) {
        let Ask { method, params, timeout, idempotent } = ask;
        let (peer, mut call) = (self.peer, Call::new(method, params, idempotent, Box::new(then)));
        // Handed back or dropped where it can't be taken: either tells `then`.
        let _ = self.handle.run(move |core| {
            call.deadline = core.now() + timeout;
            let _ = peer.post(core, Message::user(call));
        });
    }

    /// Makes a call and waits for its reply, on a thread.
    pub(crate) fn call(&self, ask: Ask) -> Result<Value, CallError> {
        let (timeout, (sender, receiver)) = (ask.timeout, mpsc::sync_channel(1));
        self.begin(ask, move |result| drop(sender.send(result)));
        receiver.recv_timeout(timeout).unwrap_or(Err(CallError::TimedOut))
    }

    /// Makes a call and awaits its reply, in a tokio task.
    pub(crate) async fn call_async(&self, ask: Ask) -> Result<Value, CallError> {
        let (timeout, (sender, receiver)) = (ask.timeout, oneshot::channel());
        self.begin(ask, move |result| drop(sender.send(result)));
        match tokio::time::timeout(timeout, receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(CallError::TimedOut),
        }
    }

    /// Waits a while for the replies that are owed, then disconnects.
    pub(crate) fn stop(&self) {
        let _ = self.handle.shutdown(GRACE);
    }
}
