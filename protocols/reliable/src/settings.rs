//! Every limit and timing of a session, in one place. All are finite by default.

use std::time::Duration;

use switchboard::Limits;

use crate::error::UsageError;
use crate::header::{LONGEST_DATAGRAM, MOST_SEGMENTS, SHORTEST_DATAGRAM};

/// What a session may hold and for how long. Shared by those that have the same, behind an `Rc`. The two sides of a session
/// may have different ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of the longest datagram that is sent or taken, without UDP's and IP's headers, 128 to 32,768; the smaller one
    /// of both sides counts. Default 1,200, which passes everywhere without being fragmented (RFC 9000 §14).
    pub datagram: usize,
    /// Bytes of the longest message that is sent or taken; the smaller one of both sides counts for each direction.
    /// Default 64 KiB.
    pub max_message: usize,
    /// Bytes that may arrive ahead of what can be delivered: it bounds what is lost, or under way, at once, and so the
    /// throughput to one window a round trip. Counted in whole datagrams, of which it may have 2 to 1,024. Default 256 KiB.
    pub receive_window: usize,
    /// Bytes that may wait to arrive, with about 150 more for each datagram. [`Peer::has_room`](crate::Peer::has_room) says
    /// no at half of it, and `on_drain` comes at a quarter. Default 512 KiB.
    pub send_buffer: usize,
    /// The retransmission timeout before a round trip was measured. Default 1 s (RFC 6298 §2.1).
    pub initial_rto: Duration,
    /// The shortest retransmission timeout. Default 200 ms: RFC 6298 §2.4 asks for 1 s, TCPs in use take this.
    pub min_rto: Duration,
    /// The longest one. Default 60 s (RFC 6298 §2.5).
    pub max_rto: Duration,
    /// How long the acknowledgement of a single segment may wait for a second one or for something to be sent along with.
    /// Default 25 ms (RFC 9000 §18.2).
    pub ack_delay: Duration,
    /// How long the opening may take. Default 10 s.
    pub open_timeout: Duration,
    /// How long what was sent may go unacknowledged before the peer is given up. Default 30 s.
    pub timeout: Duration,
    /// How long closing may take, from [`close`](crate::Peer::close) on, with all that waited to be sent. Default 10 s.
    pub close_timeout: Duration,
    /// How long nothing may come before the peer is asked for a sign of life; `None` for ever. It keeps address
    /// translators' bindings and the session's own [idle timeout](switchboard::SessionOptions::idle_timeout) from ending it.
    /// A peer that gives none within [`timeout`](Self::timeout) is given up. Default 15 s, the least that RFC 8085 §3.5
    /// allows on the Internet.
    pub keepalive: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            datagram: 1_200,
            max_message: 64 * 1024,
            receive_window: 256 * 1024,
            send_buffer: 512 * 1024,
            initial_rto: Duration::from_secs(1),
            min_rto: Duration::from_millis(200),
            max_rto: Duration::from_secs(60),
            ack_delay: Duration::from_millis(25),
            open_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(10),
            keepalive: Some(Duration::from_secs(15)),
        }
    }
}

impl Settings {
    /// Whether they agree with each other, and with a loop of these limits. Asked when a session begins.
    ///
    /// # Errors
    /// [`UsageError`], which names what must change.
    pub fn check(&self, limits: &Limits) -> Result<(), UsageError> {
        let longest = usize::try_from(u32::MAX).unwrap_or(usize::MAX);
        for (setting, value, least, most) in [
            ("datagram", self.datagram, SHORTEST_DATAGRAM, LONGEST_DATAGRAM),
            ("max_message", self.max_message, 1, longest),
            ("receive_window", self.receive_window, 2 * self.datagram, longest),
            // Half of it is room, and the longest message must fit above that, cut into the shortest segments.
            ("send_buffer", self.send_buffer, self.max_message.saturating_mul(6).max(4 * 1024), usize::MAX),
        ] {
            if !(least..=most).contains(&value) {
                return Err(UsageError::Range { setting, value, least, most });
            }
        }
        let rtos = [Duration::from_millis(1), self.min_rto, self.initial_rto, self.max_rto];
        if !rtos.is_sorted() || self.ack_delay >= self.min_rto {
            return Err(UsageError::Timeouts);
        }
        if self.most_held() > limits.loop_memory {
            return Err(UsageError::LoopMemory { needed: self.most_held(), actual: limits.loop_memory });
        }
        Ok(())
    }

    /// Bytes that one session may hold.
    #[must_use]
    pub fn most_held(&self) -> usize {
        // What waits to arrive, in buffers of whole datagrams as far as it is under way, and the lists around all that.
        let windows = self.receive_window.saturating_add(MOST_SEGMENTS * (self.datagram + 256));
        windows.saturating_add(self.send_buffer).saturating_add(self.max_message.saturating_mul(2))
    }

    /// The receive window in segments.
    pub(crate) fn window(&self) -> u16 {
        let segments = (self.receive_window / self.datagram.max(1)).clamp(2, MOST_SEGMENTS);
        u16::try_from(segments).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_the_defaults_of_the_loop() {
        assert_eq!(Settings::default().check(&Limits::default()), Ok(()));
        assert_eq!(Settings::default().window(), 218);
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let check = |settings: Settings| settings.check(&Limits::default()).unwrap_err().to_string();
        let error = check(Settings { datagram: 100, ..Settings::default() });
        assert_eq!(error, "Settings::datagram is 100 and must be 128 to 32768");
        assert!(check(Settings { max_message: 1 << 20, ..Settings::default() }).contains("send_buffer"));
        assert!(check(Settings { receive_window: 2_000, ..Settings::default() }).contains("receive_window"));
        let second = Duration::from_secs(1);
        assert!(check(Settings { max_rto: second / 2, ..Settings::default() }).contains("ascend"));
        assert!(check(Settings { ack_delay: second, ..Settings::default() }).contains("ack_delay"));
        let limits = Limits { loop_memory: 1 << 20, ..Limits::default() };
        assert!(Settings::default().check(&limits).unwrap_err().to_string().contains("loop_memory"));
    }
}
