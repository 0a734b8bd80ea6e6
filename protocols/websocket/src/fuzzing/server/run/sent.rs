//! What was sent, frame by frame.

use super::Run;
use crate::frame::{Header, Receiver, Role};
use crate::fuzzing::naive::{self, Naive};
use crate::fuzzing::server::echo::FAIL;
use crate::fuzzing::server::inflation::Returned;
use crate::fuzzing::server::model::Frame;

impl Run {
    /// Takes the next whole message, or control frame, of what was sent.
    pub(super) fn next_frame(&mut self) -> Option<Frame> {
        loop {
            let (header, payload) = self.next_fragment()?;
            if header.opcode.is_control() {
                return Some((header.opcode, payload));
            }
            let (first, mut message) = self.begun.take().unwrap_or((header, Vec::new()));
            message.extend(payload);
            if header.fin {
                return Some((first.opcode, self.inflated(first.compressed, !first.fin, message)));
            }
            self.begun = Some((first, message));
        }
    }

    fn next_fragment(&mut self) -> Option<(Header, Vec<u8>)> {
        let role = if self.model.role == Role::Client { Role::Server } else { Role::Client };
        let compression = self.model.inflation.is_some();
        let receiver = Receiver { role, in_message: self.begun.is_some(), compression };
        let (header, start) = match naive::header(&self.sent, receiver) {
            Naive::Header(header, start) => (header, start),
            Naive::Short => return None,
            Naive::Bad => panic!("no frame: {}", self.sent.escape_ascii()),
        };
        assert!(header.fin || self.seen.streams.get(), "nothing is sent in fragments");
        let end = start + usize::try_from(header.payload).expect("a length that fits");
        if end > self.sent.len() {
            return None;
        }
        let key = header.mask.unwrap_or_default();
        let payload = self.sent.drain(..end).skip(start).zip(key.into_iter().cycle()).map(|(byte, key)| byte ^ key);
        Some((header, payload.collect()))
    }

    /// What a message that was sent, in one frame or in pieces, says.
    fn inflated(&mut self, compressed: bool, in_pieces: bool, payload: Vec<u8>) -> Vec<u8> {
        let (Some(inflation), Some(wishes)) = (&self.model.inflation, &self.settings.compression) else {
            return payload;
        };
        let make = || Returned::new(self.model.role, &inflation.parameters, wishes);
        let returned = self.returned.get_or_insert_with(make);
        if !compressed {
            let is_post = payload.first() == Some(&FAIL); // one for many, which is compressed if that is shorter
            let is_due = returned.is_always_compressed() && payload.len() >= wishes.threshold;
            assert!(is_post || !is_due, "not compressed: {}", payload.escape_ascii());
            return payload;
        }
        let plain = returned.read(&payload);
        assert!(in_pieces || plain.len() >= wishes.threshold, "compressed below the threshold");
        plain
    }
}
