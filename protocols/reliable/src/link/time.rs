//! What a session does as time passes: it sends again, asks for signs of life, and gives up.

use std::time::Duration;

use switchboard::Time;

use super::Link;
use crate::Stats;
use crate::error::PeerGone;

impl Link {
    /// Whether something was sent that the peer has to answer.
    pub(super) fn awaits_answer(&self) -> bool {
        self.sender.awaits_ack() || self.pinged || self.lingers
    }

    /// What awaits a sign of the peer does from now on.
    pub(super) fn note_waiting(&mut self, now: Time) {
        let waiting = self.awaits_answer() || self.sender.is_blocked();
        if waiting && !self.waiting {
            self.unanswered_since = now;
            self.timeout_base = now;
        }
        // RFC 6298 §5.1: it runs from now on, whatever was awaited before.
        let sending = self.sender.awaits_ack();
        if sending && !self.sending {
            self.timeout_base = now;
        }
        (self.waiting, self.sending) = (waiting, sending);
    }

    /// The retransmission timeout of what is under way, or of a ping; or until one is sent to a peer that has no room.
    fn rto(&self) -> Duration {
        if self.sender.awaits_ack() {
            return self.sender.rtt.rto();
        }
        if self.awaits_answer() {
            return self.sender.rtt.rto_doubled(self.pings);
        }
        let rto = self.sender.rtt.rto_doubled(self.probes);
        self.settings.keepalive.map_or(rto, |after| rto.min(after))
    }

    /// When [`on_timer`](Self::on_timer) is next to be called.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let closing = self.closing_since.map(|since| since + self.settings.close_timeout);
        let sign = if self.waiting {
            let given_up = self.unanswered_since + self.settings.timeout;
            let again = self.timeout_base + self.rto();
            Some(if self.awaits_answer() { given_up.min(again) } else { again })
        } else {
            self.settings.keepalive.map(|after| self.heard + after)
        };
        let ack = self.receiver.ack_due().filter(|_| !self.ack_waits);
        [closing, sign, ack].into_iter().flatten().min()
    }

    /// A deadline has passed, by `late`: for so long this side may not have been running, and the peer can't be blamed.
    pub(crate) fn on_timer(&mut self, now: Time, late: Duration, stats: &mut Stats) -> Result<(), PeerGone> {
        self.unanswered_since = (self.unanswered_since + late).min(now);
        let timeout = self.settings.close_timeout;
        if self.closing_since.is_some_and(|since| since + timeout <= now) {
            if self.receiver.is_finished() && self.sender.is_delivered() {
                self.is_over = true;
                return Ok(());
            }
            return Err(PeerGone::CloseTimeout(timeout));
        }
        if !self.waiting {
            if self.settings.keepalive.is_some_and(|after| self.heard + after <= now) {
                self.shrink();
                self.ping(now);
            }
            return Ok(());
        }
        if self.awaits_answer() && self.unanswered_since + self.settings.timeout <= now {
            if self.lingers {
                self.is_over = true;
                return Ok(());
            }
            return Err(PeerGone::Unreachable(self.settings.timeout));
        }
        if self.timeout_base + self.rto() <= now {
            self.timeout_base = now;
            if self.sender.awaits_ack() {
                stats.timeouts += 1;
                self.sender.on_timeout(stats);
            } else if self.awaits_answer() {
                self.pings += 1;
                if self.lingers { self.receiver.on_ping(now) } else { self.ping(now) }
            } else {
                self.probes += 1;
                self.ping(now);
            }
        }
        Ok(())
    }

    fn shrink(&mut self) {
        self.sender.shrink();
        self.receiver.shrink();
        if self.assembly.is_empty() {
            self.assembly = Vec::new();
        }
    }
}
