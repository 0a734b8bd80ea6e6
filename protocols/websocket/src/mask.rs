//! Masking and unmasking of payloads (RFC 6455 §5.3), which are the same operation.
//!
//! Octet `i` of a payload is XORed with octet `i mod 4` of the key. A payload that arrives in parts is unmasked part by
//! part, each exactly once: [`advance`] turns the key by what has been done, so that the next part starts in phase.

/// A masking key as it stands on the wire.
pub type Key = [u8; 4];

/// Bytes handled by one step of the wide loop: it compiles to full vector registers, in safe code.
const BLOCK: usize = 64;

/// XORs `payload` with `key`, whose first octet belongs to the payload's first.
#[inline]
pub fn apply(payload: &mut [u8], key: Key) {
    if payload.len() >= BLOCK {
        apply_long(payload, key);
    } else {
        apply_short(payload, key);
    }
}

/// The key for what follows `done` bytes of payload.
#[inline]
#[must_use]
pub fn advance(key: Key, done: usize) -> Key {
    let mut turned = key;
    turned.rotate_left(done % 4);
    turned
}

/// Less than a block: at most seven 8-byte words, then a 4-byte one, then single bytes.
///
/// Inlined, since short messages are the ones in which a call would show.
#[inline]
fn apply_short(payload: &mut [u8], key: Key) {
    let (words, rest) = payload.as_chunks_mut::<8>();
    apply_words(words, doubled(key));
    let (halves, rest) = rest.as_chunks_mut::<4>();
    for chunk in halves {
        *chunk = (u32::from_ne_bytes(*chunk) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

#[inline(never)]
fn apply_long(payload: &mut [u8], key: Key) {
    let (blocks, rest) = payload.as_chunks_mut::<BLOCK>();
    for block in blocks {
        apply_words(block.as_chunks_mut().0, doubled(key));
    }
    apply_short(rest, key);
}

#[inline]
fn apply_words(words: &mut [[u8; 8]], key: u64) {
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
}

/// The key twice, as the word that eight octets of it are in memory.
#[inline]
fn doubled(key: Key) -> u64 {
    let half = u64::from(u32::from_ne_bytes(key));
    half << 32 | half
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6455 §5.3, octet by octet.
    fn naive(payload: &mut [u8], key: Key) {
        for (index, byte) in payload.iter_mut().enumerate() {
            *byte ^= key[index % 4];
        }
    }

    fn sample(length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(length as u64);
        std::iter::repeat_with(|| random.u8(..)).take(length).collect()
    }

    #[test]
    fn rfc_example() {
        // RFC 6455 §5.7: "A single-frame masked text message".
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        apply(&mut payload, [0x37, 0xfa, 0x21, 0x3d]);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn agrees_with_the_definition_at_every_length_and_alignment() {
        let key = [0x12, 0x00, 0xff, 0xa5];
        for length in (0..300).chain([1024, 4096 + 63]) {
            for offset in 0..8 {
                let mut fast = sample(length + offset);
                let mut slow = fast.clone();
                apply(&mut fast[offset..], key);
                naive(&mut slow[offset..], key);
                assert_eq!(fast, slow, "length {length}, offset {offset}");
            }
        }
    }

    #[test]
    fn parts_stay_in_phase_at_every_split() {
        let key = [1, 2, 3, 4];
        let plain = sample(150);
        let mut whole = plain.clone();
        naive(&mut whole, key);
        for first in 0..=plain.len() {
            for second in first..=plain.len() {
                let mut parts = plain.clone();
                apply(&mut parts[..first], key);
                let key = advance(key, first);
                apply(&mut parts[first..second], key);
                let key = advance(key, second - first);
                apply(&mut parts[second..], key);
                assert_eq!(parts, whole, "split at {first} and {second}");
            }
        }
    }

    #[test]
    fn twice_is_nothing() {
        let plain = sample(1000);
        let mut payload = plain.clone();
        apply(&mut payload, [9, 8, 7, 6]);
        assert_ne!(payload, plain);
        apply(&mut payload, [9, 8, 7, 6]);
        assert_eq!(payload, plain);
    }
}
