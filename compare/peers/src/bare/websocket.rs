//! WebSocket, as a limit: frames are unmasked where they were read, their headers rewritten in front of them, and what
//! lies between them closed up. No messages, no check of UTF-8, no control frames, no limits.

use std::ops::Range;

use crate::Respond;
use crate::streams::HEADROOM;

/// The header of a masked frame, at most.
const HEADER: usize = 14;

#[derive(Default)]
pub(crate) struct WebSocket {
    open: bool,
    /// The handshake's request, or a frame's header, as far as it has come.
    partial: Vec<u8>,
    /// Bytes of the current frame's payload that are still to come, and the mask, turned to the next of them.
    rest: u64,
    mask: [u8; 4],
}

struct Header {
    first: u8,
    length: u64,
    mask: [u8; 4],
    size: usize,
}

impl Respond for WebSocket {
    fn respond(&mut self, buffer: &mut [u8], read: Range<usize>) -> Option<Range<usize>> {
        if !self.open {
            return self.upgrade(buffer, read);
        }
        let mut at = read.start;
        let mut out = read.start..read.start; // moves to the left of the first frame, once
        while at < read.end {
            if self.rest == 0 {
                let header = match self.header(&buffer[at..read.end]) {
                    Ok(Some((header, taken))) => {
                        at += taken;
                        header
                    }
                    Ok(None) => break,
                    Err(()) => return None,
                };
                let (bytes, length) = reply_header(header.first, header.length);
                if out.is_empty() {
                    out = at - length..at - length;
                }
                buffer[out.end..out.end + length].copy_from_slice(&bytes[..length]);
                out.end += length;
                (self.rest, self.mask) = (header.length, header.mask);
            }
            let length = usize::try_from(self.rest).unwrap_or(usize::MAX).min(read.end - at);
            unmask(&mut buffer[at..at + length], self.mask);
            if out.end != at {
                buffer.copy_within(at..at + length, out.end);
            }
            self.mask.rotate_left(length % 4);
            self.rest -= length as u64;
            out.end += length;
            at += length;
        }
        Some(out)
    }
}

impl WebSocket {
    fn upgrade(&mut self, buffer: &mut [u8], read: Range<usize>) -> Option<Range<usize>> {
        self.partial.extend_from_slice(&buffer[read]);
        if !self.partial.ends_with(b"\r\n\r\n") {
            return Some(0..0);
        }
        let response = peers::accept(&self.partial, None)?;
        buffer[HEADROOM..HEADROOM + response.len()].copy_from_slice(response.as_bytes());
        (self.open, self.partial) = (true, Vec::new());
        Some(HEADROOM..HEADROOM + response.len())
    }

    /// The header that ends in `input`, and how many bytes of that are its own.
    fn header(&mut self, input: &[u8]) -> Result<Option<(Header, usize)>, ()> {
        let before = self.partial.len();
        if before == 0
            && let Some(header) = Header::parse(input)?
        {
            let size = header.size;
            return Ok(Some((header, size)));
        }
        self.partial.extend_from_slice(&input[..input.len().min(HEADER - before)]);
        let Some(header) = Header::parse(&self.partial)? else { return Ok(None) };
        self.partial.clear();
        let size = header.size - before;
        Ok(Some((header, size)))
    }
}

impl Header {
    fn parse(input: &[u8]) -> Result<Option<Self>, ()> {
        let &[first, second, ..] = input else { return Ok(None) };
        if second & 0x80 == 0 || first & 0x08 != 0 {
            return Err(()); // not masked, or a control frame
        }
        let (length, mask_at) = match (second & 0x7f, input) {
            (126, &[_, _, a, b, ..]) => (u64::from(u16::from_be_bytes([a, b])), 4),
            (127, &[_, _, a, b, c, d, e, f, g, h, ..]) => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 10),
            (126 | 127, _) => return Ok(None),
            (length, _) => (u64::from(length), 2),
        };
        let Some(&mask) = input[mask_at..].first_chunk() else { return Ok(None) };
        Ok(Some(Self { first, length, mask, size: mask_at + 4 }))
    }
}

fn reply_header(first: u8, length: u64) -> ([u8; 10], usize) {
    let mut header = [0; 10];
    header[0] = first;
    let [.., high, low] = length.to_be_bytes();
    match length {
        ..126 => {
            header[1] = low;
            (header, 2)
        }
        126..0x1_0000 => {
            header[1..4].copy_from_slice(&[126, high, low]);
            (header, 4)
        }
        _ => {
            header[1] = 127;
            header[2..].copy_from_slice(&length.to_be_bytes());
            (header, 10)
        }
    }
}

fn unmask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    rest.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_cut_anywhere_come_back_unmasked() {
        let mask = [1, 2, 3, 4];
        let (mut input, mut expected) = (Vec::new(), Vec::new());
        for length in [0_usize, 5, 125, 126, 300, 70_000] {
            let payload: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0]).collect();
            let (header, size) = reply_header(0x82, length as u64);
            expected.extend_from_slice(&header[..size]);
            expected.extend_from_slice(&payload);
            input.extend_from_slice(&header[..size]);
            let second = input.len() - size + 1;
            input[second] |= 0x80;
            input.extend_from_slice(&mask);
            input.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        }
        for step in [1, 2, 3, 7, 64, 1000, input.len()] {
            let mut socket = WebSocket { open: true, ..WebSocket::default() };
            let mut output = Vec::new();
            for piece in input.chunks(step) {
                let mut buffer = vec![0; HEADROOM];
                buffer.extend_from_slice(piece);
                let end = buffer.len();
                let out = socket.respond(&mut buffer, HEADROOM..end).unwrap();
                output.extend_from_slice(&buffer[out]);
            }
            assert!(output == expected, "in steps of {step}");
        }
    }
}
