//! What a server's WebSocket sends, frame by frame (RFC 6455 §5.2).

use anyhow::{Context, Result, bail, ensure};

use crate::wire;

/// What is done with bytes of messages.
pub(crate) type Seen<'a> = &'a mut dyn FnMut(&[u8]) -> Result<()>;

/// Where a stream of frames is.
#[derive(Default)]
pub(crate) struct Frames {
    /// What is there of a header that is not whole; of a control frame all of it.
    begun: Vec<u8>,
    /// Bytes of a message's frame that are still to come.
    left: usize,
}

impl Frames {
    /// So many bytes, at least, that come next belong to a message.
    pub(crate) fn left(&self) -> usize {
        self.left
    }

    /// So many of [those](Self::left) have come.
    pub(crate) fn skip(&mut self, count: usize) {
        self.left -= count;
    }

    /// Whether no frame has begun that has not ended.
    pub(crate) fn is_between(&self) -> bool {
        self.left == 0 && self.begun.is_empty()
    }

    /// Takes the next bytes: those of messages, headers included, go to `message`. Pings are answered in `pongs`
    /// (§5.5.2), pongs are nobody's.
    pub(crate) fn take(&mut self, mut bytes: &[u8], pongs: &mut Vec<u8>, message: Seen<'_>) -> Result<()> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let (here, rest) = bytes.split_at(bytes.len().min(self.left));
                (self.left, bytes) = (self.left - here.len(), rest);
                message(here)?;
                continue;
            }
            let missing = self.wanted()? - self.begun.len();
            let (here, rest) = bytes.split_at(bytes.len().min(missing));
            self.begun.extend_from_slice(here);
            bytes = rest;
            if self.begun.len() == self.wanted()? {
                self.begin(pongs, message)?;
                self.begun.clear();
            }
        }
        Ok(())
    }

    /// How many bytes the header has, as far as that is known, or the control frame.
    fn wanted(&self) -> Result<usize> {
        let [first, length, ..] = self.begun[..] else { return Ok(2) };
        ensure!(length & 0x80 == 0, "a server's frame that is masked");
        if first & 8 == 0 {
            return Ok(wire::header_length(length));
        }
        ensure!(length < 126, "a control frame of more than 125 bytes");
        Ok(2 + usize::from(length))
    }

    fn begin(&mut self, pongs: &mut Vec<u8>, message: Seen<'_>) -> Result<()> {
        let (first, rest) = (self.begun[0], &self.begun[2..]);
        match first & 0x0f {
            0..=2 => {
                let length = rest.iter().fold(0, |length, byte| length << 8 | u64::from(*byte));
                let length = if rest.is_empty() { u64::from(self.begun[1]) } else { length };
                self.left = usize::try_from(length).context("a frame's length")?;
                message(&self.begun)
            }
            wire::PING => {
                pongs.extend(wire::pong(rest));
                Ok(())
            }
            wire::PONG => Ok(()),
            8 => match rest {
                [high, low, reason @ ..] => {
                    let (code, reason) = (u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(reason));
                    bail!("the server closes the WebSocket: {code} {reason}")
                }
                _ => bail!("the server closes the WebSocket"),
            },
            opcode => bail!("a frame with opcode {opcode}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages' bytes and the pongs of a stream that comes in pieces of `piece` bytes.
    fn taken(stream: &[u8], piece: usize) -> Result<(Vec<u8>, Vec<u8>)> {
        let (mut frames, mut pongs, mut messages) = (Frames::default(), Vec::new(), Vec::new());
        for bytes in stream.chunks(piece) {
            frames.take(bytes, &mut pongs, &mut |bytes| {
                messages.extend_from_slice(bytes);
                Ok(())
            })?;
        }
        assert!(frames.is_between());
        Ok((messages, pongs))
    }

    #[test]
    fn pings_are_answered_and_taken_out_wherever_they_are() {
        let long = [&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0][..], &[7; 65_536]].concat();
        let middle = [&[0x82, 126, 1, 0][..], &[8; 256]].concat();
        let (empty, short) = ([0x81, 0], [0x81, 2, b'h', b'i']);
        let ping = [0x89, 8, b'b', b'e', b'a', b't', 0, 0, 0, 1];
        let (no_ping, pong) = ([0x89, 0], [0x8a, 1, 9]);
        let stream = [&ping[..], &long, &no_ping, &pong, &empty, &short, &ping, &middle, &no_ping].concat();
        let messages = [&long[..], &empty, &short, &middle].concat();
        for piece in [1, 2, 3, 7, 1000, usize::MAX] {
            let (seen, pongs) = taken(&stream, piece).unwrap();
            assert!(seen == messages, "in pieces of {piece}");
            let expected = [wire::pong(&ping[2..]), wire::pong(&[]), wire::pong(&ping[2..]), wire::pong(&[])];
            assert_eq!(pongs, expected.concat());
        }
    }

    #[test]
    fn what_is_no_frame_of_a_message_is_an_error_that_says_so() {
        let told = |stream: &[u8]| taken(stream, 1).unwrap_err().to_string();
        assert!(told(&[0x88, 6, 0x03, 0xe9, b'a', b'w', b'a', b'y']).contains("1001 away"));
        assert!(told(&[0x88, 0]).contains("closes"));
        assert!(told(&[0x82, 0x81, 0, 0, 0, 0, 0]).contains("masked"));
        assert!(told(&[0x89, 126, 0, 126]).contains("125"));
        assert!(told(&[0x83, 0]).contains("opcode 3"));
    }
}
