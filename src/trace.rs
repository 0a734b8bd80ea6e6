//! What the loop tells [`tracing`](https://docs.rs/tracing): everything in one place, off the path of messages. All of it
//! has the target `switchboard`. Where nobody listens an event costs one load.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tracing::{debug, info, warn};

use crate::driver::Stream;
use crate::{Blame, CloseReason, EndpointId, LimitExceeded, Tally};

/// A connection stands.
pub(crate) fn opened(id: EndpointId, stream: &impl Stream) {
    debug!(target: "switchboard", id = %id, peer = stream.peer_addr().ok().map(tracing::field::display), "opened");
}

/// A connection or socket has ended, or never came to be. That a limit was hit, or that the program misused something, is
/// for the program's makers to know.
pub(crate) fn closed(id: EndpointId, reason: &CloseReason) {
    match reason.blame() {
        Some(Blame::Limit | Blame::Caller) => warn!(target: "switchboard", id = %id, reason = %reason, "closed"),
        _ => debug!(target: "switchboard", id = %id, reason = %reason, "closed"),
    }
}

/// A listener or socket is there.
pub(crate) fn bound(id: EndpointId, what: &'static str, address: impl FnOnce() -> Option<SocketAddr>) {
    debug!(target: "switchboard", id = %id, what, address = address().map(tracing::field::display), "bound");
}

/// A listener has gone.
pub(crate) fn unbound(id: EndpointId) {
    debug!(target: "switchboard", id = %id, "listener closed");
}

/// A listener's factory has turned a peer away.
pub(crate) fn refused(listener: EndpointId, peer: Option<SocketAddr>) {
    debug!(target: "switchboard", listener = %listener, peer = peer.map(tracing::field::display), "refused");
}

/// A listener stops accepting until a connection has gone. Said again only when an eighth of the places has been free
/// meanwhile, or the log would have a line for each who comes to a full loop.
pub(crate) fn full(listener: EndpointId, limit: usize) {
    warn!(target: "switchboard", listener = %listener, limit = %LimitExceeded::Connections(limit), "accepts no more");
}

/// A UDP socket opens no session for who is new: there are as many as may be, or too many came in a second.
pub(crate) fn sessions_full(socket: EndpointId, sessions: usize) {
    warn!(target: "switchboard", socket = %socket, sessions, "opens no more sessions for now");
}

/// A peer went before it was accepted.
pub(crate) fn accept_failed(listener: EndpointId, error: &io::Error) {
    debug!(target: "switchboard", listener = %listener, error = %error, "a peer went before it was accepted");
}

/// Nobody can be accepted for a while.
pub(crate) fn exhausted(listener: EndpointId, error: &io::Error, retry: Duration) {
    warn!(target: "switchboard", listener = %listener, error = %error, retry = ?retry, "cannot accept");
}

/// The loop drains.
pub(crate) fn drain_begun(connections: usize, timeout: Duration) {
    info!(target: "switchboard", connections, timeout = ?timeout, "the drain begins");
}

/// The loop has ended.
pub(crate) fn ended(tally: &Tally) {
    info!(target: "switchboard", drained = tally.drained, cut_off = tally.cut_off, took = ?tally.took, "the loop has ended");
}
