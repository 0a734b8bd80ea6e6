//! Echo on a socket.

use switchboard::{Datagram, DatagramContext, DatagramProtocol, Failure};

/// Sends every datagram back to where it says it came from (RFC 862, UDP), empty ones too.
///
/// Nothing is kept for a peer. What the system has no room for waits or is dropped within
/// [`Limits::datagram_queue`](switchboard::Limits::datagram_queue), and is counted.
///
/// A source address can be forged, and two echoes told of each other by one forged datagram answer
/// each other for ever: bind it where only those who should reach it can.
#[derive(Clone, Copy, Debug, Default)]
pub struct UdpEcho;

impl DatagramProtocol for UdpEcho {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
        cx.send_back(datagram);
        Ok(())
    }
}
