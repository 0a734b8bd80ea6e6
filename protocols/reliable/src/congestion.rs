//! How much may be under way: NewReno, as RFC 9002 §7 states it, in bytes.

/// The congestion window of one direction of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Congestion {
    window: usize,
    threshold: usize,
    /// Bytes of a full datagram.
    datagram: usize,
    /// The window never grows above this: the receiver takes no more.
    most: usize,
    /// Bytes acknowledged since the window last grew by a datagram, when it grows slowly.
    acked: usize,
    /// What was sent before this belongs to the latest loss: neither does its acknowledgement grow the window, nor its
    /// loss shrink it again.
    recovery: u64,
}

impl Congestion {
    pub(crate) fn new(datagram: usize, most: usize) -> Self {
        let window = initial(datagram);
        Self { window, threshold: usize::MAX, datagram, most: most.max(2 * datagram), acked: 0, recovery: 0 }
    }

    /// Bytes that may be under way.
    pub(crate) fn window(&self) -> usize {
        self.window
    }

    /// `bytes` have arrived of which the last was sent as `order`. The window grows only where it was what held the
    /// sender up (§7.8), by the bytes below the threshold (§7.3.1), above it by a datagram for each whole window (§7.3.3).
    pub(crate) fn on_acked(&mut self, bytes: usize, order: u64, was_full: bool) {
        if order < self.recovery || !was_full {
            return;
        }
        if self.window < self.threshold {
            self.window += bytes;
        } else {
            self.acked += bytes;
            if self.acked >= self.window {
                self.acked -= self.window;
                self.window += self.datagram;
            }
        }
        self.window = self.window.min(self.most);
    }

    /// What was sent as `order` is lost; `next` is sent next. Once for all that were under way (§7.3.2).
    pub(crate) fn on_lost(&mut self, order: u64, next: u64) {
        if order >= self.recovery {
            self.recovery = next;
            self.window = (self.window / 2).max(self.least());
            self.threshold = self.window;
            self.acked = 0;
        }
    }

    /// The retransmission timeout has passed with `flight` bytes under way: RFC 5681 §3.1, and if it is the first of
    /// several, the threshold.
    pub(crate) fn on_timeout(&mut self, flight: usize, is_first: bool, next: u64) {
        if is_first {
            self.threshold = (flight / 2).max(self.least());
        }
        self.recovery = next;
        self.window = self.least();
        self.acked = 0;
    }

    /// Nothing was sent for longer than the retransmission timeout: what the window was worth may have changed
    /// (RFC 5681 §4.1), and a burst of it would go out.
    pub(crate) fn on_idle(&mut self) {
        self.threshold = self.threshold.max(self.window * 3 / 4);
        self.window = self.window.min(initial(self.datagram));
    }

    /// RFC 9002 §7.2: two datagrams, of which one acknowledgement comes at once.
    fn least(&self) -> usize {
        2 * self.datagram
    }
}

/// The first window: RFC 9002 §7.2.
fn initial(datagram: usize) -> usize {
    (10 * datagram).min(14_720.max(2 * datagram))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn congestion() -> Congestion {
        Congestion::new(1_200, 1_200_000)
    }

    #[test]
    fn it_begins_with_ten_datagrams_or_less_of_long_ones() {
        assert_eq!(congestion().window(), 12_000);
        assert_eq!(Congestion::new(9_000, usize::MAX).window(), 18_000);
        assert_eq!(Congestion::new(1_500, usize::MAX).window(), 14_720);
    }

    #[test]
    fn it_doubles_each_round_trip_until_a_loss_and_then_grows_by_a_datagram() {
        let mut congestion = congestion();
        congestion.on_acked(12_000, 9, true);
        assert_eq!(congestion.window(), 24_000);
        congestion.on_lost(12, 30);
        assert_eq!(congestion.window(), 12_000);
        congestion.on_lost(29, 31);
        congestion.on_acked(6_000, 29, true);
        assert_eq!(congestion.window(), 12_000, "of the same round trip");
        congestion.on_acked(6_000, 30, true);
        congestion.on_acked(6_000, 31, true);
        assert_eq!(congestion.window(), 13_200);
        congestion.on_lost(31, 40);
        assert_eq!(congestion.window(), 6_600);
    }

    #[test]
    fn after_a_pause_it_begins_anew_and_remembers_where_it_was() {
        let mut congestion = congestion();
        congestion.on_acked(12_000, 9, true);
        congestion.on_lost(12, 30);
        congestion.on_acked(12_000, 31, true);
        congestion.on_idle();
        assert_eq!(congestion.window(), 12_000);
        let mut wide = Congestion::new(1_200, 1_200_000);
        wide.on_acked(36_000, 9, true);
        wide.on_lost(12, 30);
        wide.on_idle();
        assert_eq!(wide.window(), 12_000);
        wide.on_acked(12_000, 31, true);
        assert_eq!(wide.window(), 24_000, "fast up to the threshold");
    }

    #[test]
    fn it_does_not_grow_where_it_was_not_used_nor_above_what_the_receiver_takes() {
        let mut congestion = Congestion::new(1_200, 15_000);
        congestion.on_acked(12_000, 9, false);
        assert_eq!(congestion.window(), 12_000);
        congestion.on_acked(12_000, 9, true);
        assert_eq!(congestion.window(), 15_000);
    }

    #[test]
    fn a_timeout_takes_it_down_to_two_datagrams_and_it_grows_fast_to_half_of_what_was_under_way() {
        let mut congestion = congestion();
        congestion.on_timeout(12_000, true, 10);
        congestion.on_timeout(2_400, false, 11);
        assert_eq!(congestion.window(), 2_400);
        congestion.on_acked(2_400, 10, true);
        assert_eq!(congestion.window(), 2_400, "sent before");
        congestion.on_acked(3_600, 11, true);
        assert_eq!(congestion.window(), 6_000);
        congestion.on_acked(1_200, 12, true);
        assert_eq!(congestion.window(), 6_000, "the threshold is reached");
        for _ in 0..50 {
            congestion.on_lost(20, 21);
        }
        assert_eq!(congestion.window(), 3_000);
    }
}
