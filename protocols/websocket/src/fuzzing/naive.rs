//! Plain readings of RFC 6455, as slow as can be: what the crate's own are compared with.

use crate::frame::{Header, OpCode, Receiver, Role};

/// What bytes begin with.
pub(super) enum Naive {
    /// A header and how many bytes it has.
    Header(Header, usize),
    /// The beginning of a header.
    Short,
    /// No header.
    Bad,
}

/// RFC 6455 §5.2, octet by octet, as slowly and plainly as can be.
pub(super) fn header(bytes: &[u8], receiver: Receiver) -> Naive {
    let bit = |octet: u8, bit: u32| octet >> bit & 1 == 1;
    let Some(&first) = bytes.first() else { return Naive::Short };
    let fin = bit(first, 7);
    let opcode = match first % 16 {
        0 if receiver.in_message => OpCode::Continuation,
        1 if !receiver.in_message => OpCode::Text,
        2 if !receiver.in_message => OpCode::Binary,
        8 if fin => OpCode::Close,
        9 if fin => OpCode::Ping,
        10 if fin => OpCode::Pong,
        _ => return Naive::Bad,
    };
    let compressed = receiver.compression && matches!(opcode, OpCode::Text | OpCode::Binary) && bit(first, 6);
    if (bit(first, 6) && !compressed) || bit(first, 5) || bit(first, 4) {
        return Naive::Bad;
    }
    let Some(&second) = bytes.get(1) else { return Naive::Short };
    let masked = bit(second, 7);
    if masked != (receiver.role == Role::Server) || (first % 16 >= 8 && second % 128 > 125) {
        return Naive::Bad;
    }
    let (octets, smallest): (u8, u128) = match second % 128 {
        126 => (2, 126),
        127 => (8, 65_536),
        _ => (0, 0),
    };
    let mut payload = if octets == 0 { u64::from(second % 128) } else { 0 };
    for index in 0..octets {
        let Some(&octet) = bytes.get(2 + usize::from(index)) else { return Naive::Short };
        payload = payload * 256 + u64::from(octet);
        // What is the smallest and the largest this can still become?
        let missing = 8 * (octets - 1 - index);
        let largest = (u128::from(payload) << missing) + (1 << missing) - 1;
        if u128::from(payload) << missing >= 1 << 63 || largest < smallest {
            return Naive::Bad;
        }
    }
    let length = usize::from(2 + octets + if masked { 4 } else { 0 });
    if bytes.len() < length {
        return Naive::Short;
    }
    let mask = masked.then(|| [bytes[length - 4], bytes[length - 3], bytes[length - 2], bytes[length - 1]]);
    Naive::Header(Header { fin, compressed, opcode, mask, payload }, length)
}

/// The code (1005 for none) and the reason of a close frame's payload (RFC 6455 §5.5.1, §7.4), or the code to fail the
/// connection with.
pub(super) fn close(payload: &[u8]) -> Result<(u16, &str), u16> {
    match payload {
        [] => Ok((1005, "")),
        [_] => Err(1002),
        [high, low, reason @ ..] => {
            let code = u16::from(*high) << 8 | u16::from(*low);
            let known = (1000..1015).contains(&code) && ![1004, 1005, 1006].contains(&code);
            if !known && !(3000..5000).contains(&code) {
                return Err(1002);
            }
            std::str::from_utf8(reason).map(|reason| (code, reason)).map_err(|_| 1007)
        }
    }
}
