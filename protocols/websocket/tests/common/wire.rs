//! Frames by the words of RFC 6455 §5.2 and §5.3, not by what is under test.

/// A frame as it stood on the wire, unmasked.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    /// FIN, RSV1 to RSV3, opcode.
    pub first: u8,
    pub key: Option<[u8; 4]>,
    /// Octets of the extended payload length.
    pub extended: usize,
    pub payload: Vec<u8>,
}

/// Whole frames, and nothing else.
pub fn decode(mut bytes: &[u8]) -> Vec<Seen> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let (length, rest) = rest.split_at(extended);
        let long = length.iter().fold(0, |length, octet| length << 8 | usize::from(*octet));
        let length = if extended == 0 { usize::from(second & 0x7f) } else { long };
        let (key, rest) = rest.split_at(if second & 0x80 == 0 { 0 } else { 4 });
        let (payload, rest) = rest.split_at(length);
        let key: Option<[u8; 4]> = key.try_into().ok();
        let octet = |(index, octet): (usize, &u8)| octet ^ key.unwrap_or_default()[index % 4];
        frames.push(Seen { first: *first, key, extended, payload: payload.iter().enumerate().map(octet).collect() });
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half a header: {bytes:x?}");
    frames
}
