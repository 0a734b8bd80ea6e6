//! Sending, where it is more than to append to what is corked.

use std::io;

use super::Context;
use crate::link::Flag;

/// From this many bytes on a piece that is likely the last of its visit is written from where it lies.
pub(super) const LARGE: usize = 8 * 1024;

/// From this many bytes on a write more costs less than a copy.
const VERY_LARGE: usize = 64 * 1024;

impl Context<'_> {
    /// A large piece; on a session, a datagram. Else nothing is sent any more.
    #[cold]
    #[inline(never)]
    pub(super) fn send_otherwise(&mut self, bytes: &[u8]) {
        if self.can_send() {
            let written = self.write_now(bytes);
            self.out.push(&bytes[written..]);
        } else if self.can_send_datagrams() {
            self.out.push_datagram(bytes);
        } else {
            self.count_unsent(bytes.len());
        }
    }

    /// Offers the system what is corked and, behind it, `bytes` where they lie; says how many of those it took. Nothing
    /// is tried where output waits already, here or in the connection, by a protocol whose output a layer seals, and
    /// when this visit has written more than the high-water mark: who sends for as long as there is room would never
    /// return.
    fn write_now(&mut self, bytes: &[u8]) -> usize {
        let waits = self.link.flags.intersects(Flag::WRITE_FULL | Flag::WRITE_MORE);
        let waits = waits || self.outside > 0 || self.returned > 0 || !self.out.is_for_visits();
        let corked = self.out.len();
        // Answers that are short of the input have others to follow (their headers may be shorter). Written one by one,
        // four messages of 16 KiB cost 1.4 times what they cost together.
        let more = self.out.gone > 0 || corked + bytes.len() < self.offered - self.offered / 8;
        if waits || (more && bytes.len() < VERY_LARGE) || self.out.gone > self.core.limits.high_water {
            return 0;
        }
        let offered = &bytes[..bytes.len().min(self.core.burst)];
        let result = match corked {
            0 => self.stream.write(offered).map(|written| (written, offered.len())),
            _ => self.out.write_with(self.stream, offered, usize::MAX),
        };
        match result {
            Ok((0, _)) => 0, // an error, which shows again
            Ok((written, asked)) => {
                self.core.counters[self.link.counters as usize].bytes_out += written as u64;
                self.link.last_write = self.core.now;
                self.link.flags.insert(Flag::ASKED);
                if written < asked {
                    self.link.flags.insert(Flag::WRITE_FULL);
                } else if offered.len() < bytes.len() {
                    self.link.flags.insert(Flag::WRITE_MORE);
                }
                if corked > 0 {
                    self.out.advance(written.min(corked));
                }
                self.out.gone += written;
                written.saturating_sub(corked)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => {
                self.out.refused(error);
                self.link.flags.insert(Flag::WRITE_FULL | Flag::ASKED);
                0
            }
        }
    }
}
