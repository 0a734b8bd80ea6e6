//! The far end of a connection on the network in memory.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::super::memory::{Shared, StreamState};
use super::super::transcript::Escaped;
use crate::EndpointId;

/// The far end of a connection: what the script does there.
#[derive(Clone)]
pub struct Peer {
    pub(super) state: Shared,
    pub(super) index: usize,
}

impl Peer {
    /// Sends bytes to the loop.
    pub fn send(&self, bytes: &[u8]) {
        self.change(|stream| stream.inbound.extend(bytes));
    }

    /// Half-closes.
    pub fn finish(&self) {
        self.change(|stream| stream.eof = true);
    }

    /// Resets the connection. What was sent before can still be read, as on Linux.
    pub fn reset(&self) {
        self.change(|stream| stream.broken = Some(io::ErrorKind::ConnectionReset));
    }

    /// An outgoing connection of the loop stands.
    pub fn establish(&self) {
        self.change(|stream| stream.established = Ok(true));
    }

    /// An outgoing connection of the loop fails.
    pub fn refuse(&self, kind: io::ErrorKind) {
        self.change(|stream| stream.established = Err(kind));
    }

    /// Lets the loop write `window` more bytes before it would block (at first: any number).
    pub fn set_window(&self, window: usize) {
        if window == 0 {
            self.state.borrow_mut().streams[self.index].window = 0;
        } else {
            self.change(|stream| stream.window = window);
        }
    }

    /// Cuts the loop's next reads to at most these sizes; 0 stands for `WouldBlock`.
    pub fn cut_reads(&self, sizes: impl IntoIterator<Item = usize>) {
        self.state.borrow_mut().streams[self.index].read_sizes.extend(sizes);
    }

    /// Cuts the loop's next writes to at most these sizes; 0 stands for `WouldBlock`.
    pub fn cut_writes(&self, sizes: impl IntoIterator<Item = usize>) {
        self.state.borrow_mut().streams[self.index].write_sizes.extend(sizes);
    }

    /// A signal interrupts the loop's next `calls` reads of bytes and writes: they fail with
    /// [`Interrupted`](io::ErrorKind::Interrupted), and no edge follows.
    pub fn interrupt(&self, calls: usize) {
        self.state.borrow_mut().streams[self.index].interrupts = calls;
    }

    /// Forgets what is left of the cuts.
    pub(in crate::testkit) fn forget_cuts(&self) {
        let stream = &mut self.state.borrow_mut().streams[self.index];
        stream.read_sizes.clear();
        stream.write_sizes.clear();
    }

    /// What the loop has written and was not taken yet.
    #[must_use]
    pub fn received(&self) -> Vec<u8> {
        self.state.borrow().streams[self.index].outbound.clone()
    }

    /// Takes what the loop has written.
    #[must_use]
    pub fn take_received(&self) -> Vec<u8> {
        std::mem::take(&mut self.state.borrow_mut().streams[self.index].outbound)
    }

    /// From now on keeps nothing of what the loop writes, and counts it: for a crowd that is sent much, where the test's
    /// own memory would hide the loop's.
    pub fn discard_received(&self) {
        self.state.borrow_mut().streams[self.index].discarded.get_or_insert(0);
    }

    /// How many bytes the loop has written since then.
    #[must_use]
    pub fn discarded(&self) -> u64 {
        self.state.borrow().streams[self.index].discarded.unwrap_or(0)
    }

    /// Whether the loop has half-closed or closed its side in order, behind what was received.
    #[must_use]
    pub fn saw_eof(&self) -> bool {
        let state = self.state.borrow();
        let stream = &state.streams[self.index];
        stream.closed != Some(true) && (stream.write_shut || stream.closed == Some(false))
    }

    /// Whether this end has reset the connection.
    pub(in crate::testkit) fn is_broken(&self) -> bool {
        self.state.borrow().streams[self.index].broken.is_some()
    }

    /// Whether the loop has closed the connection altogether.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state.borrow().streams[self.index].closed.is_some()
    }

    /// Whether the loop's close was a reset, which may destroy what was on its way.
    #[must_use]
    pub fn saw_reset(&self) -> bool {
        self.state.borrow().streams[self.index].closed == Some(true)
    }

    /// Bytes that were sent to the loop and that it has not read.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.state.borrow().streams[self.index].inbound.len()
    }

    /// How often the loop has called read and write.
    #[must_use]
    pub fn calls(&self) -> (u64, u64) {
        let state = self.state.borrow();
        (state.streams[self.index].reads, state.streams[self.index].writes)
    }

    /// The id of the connection on the loop, while it lives there.
    #[must_use]
    pub fn id(&self) -> Option<EndpointId> {
        self.state.borrow().streams[self.index].key.map(EndpointId::from_key)
    }

    /// The path of a Unix socket's listener.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        self.state.borrow().streams[self.index].path.clone()
    }

    /// This end's address; 0.0.0.0:0 for a Unix socket.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.state.borrow().streams[self.index].peer
    }

    fn change(&self, change: impl FnOnce(&mut StreamState)) {
        let mut state = self.state.borrow_mut();
        change(&mut state.streams[self.index]);
        state.raise_stream(self.index);
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer")
            .field("id", &self.id())
            .field("address", &self.address())
            .field("unread", &self.unread())
            .field("received", &format_args!("{}", Escaped(&self.received())))
            .field("saw_eof", &self.saw_eof())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
