//! Masking and unmasking of payloads (RFC 6455 §5.3), which are the same operation.
//!
//! Octet `i` of a payload is XORed with octet `i mod 4` of the key. A payload that arrives in parts is unmasked part by
//! part, each exactly once: [`advance`] turns the key by what has been done, so that the next part starts in phase.

#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
use fearless_simd::{Level, Simd};

/// A masking key as it stands on the wire.
pub type Key = [u8; 4];

/// What has fewer bytes is done by the caller, without a call. At least two [`VECTOR`]s.
const LONG: usize = 64;

/// Bytes handled by one step of the wide loop: a register of AVX2, two of SSE2 or NEON, in safe code.
const VECTOR: usize = 32;

/// What has as many bytes is worth asking the CPU for AVX2, some 20 instructions.
#[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
const WIDE: usize = 256;

/// XORs `payload` with `key`, whose first octet belongs to the payload's first.
#[inline]
pub fn apply(payload: &mut [u8], key: Key) {
    if payload.len() < LONG {
        apply_short(payload, key);
    } else {
        apply_long(payload, key);
    }
}

/// Appends `payload`, XORed with `key`: what copying it and then [`apply`] give, in one pass.
pub fn append(out: &mut Vec<u8>, payload: &[u8], key: Key) {
    out.reserve(payload.len());
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if payload.len() >= WIDE
        && let Some(avx2) = Level::new().as_avx2()
    {
        return avx2.vectorize(
            #[inline(always)]
            || append_vectors(out, payload, key),
        );
    }
    append_vectors(out, payload, key);
}

/// The key for what follows `done` bytes of payload.
#[inline]
#[must_use]
pub fn advance(key: Key, done: usize) -> Key {
    let octets = u32::try_from(done % 4).unwrap_or_default();
    u32::from_le_bytes(key).rotate_right(8 * octets).to_le_bytes()
}

/// In steps of 32, 16, 8 and 4 bytes, each taken at most once, then single bytes. (20 bytes: 24 instructions; a loop over
/// words 34.)
#[inline]
fn apply_short(payload: &mut [u8], key: Key) {
    let rest = step::<8>(step::<16>(step::<32>(payload, key), key), key);
    let rest = step::<4>(rest, key);
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// The first `N` bytes, if there are as many, and gives back the others.
#[inline(always)]
fn step<const N: usize>(payload: &mut [u8], key: Key) -> &mut [u8] {
    if payload.len() < N {
        return payload;
    }
    let (block, rest) = payload.split_at_mut(N);
    apply_words(block, key);
    rest
}

/// 1,024 bytes: 140 instructions with AVX2, 270 without; 16,384 bytes: 1,400 and 3,500.
#[inline(never)]
fn apply_long(payload: &mut [u8], key: Key) {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    if payload.len() >= WIDE
        && let Some(avx2) = Level::new().as_avx2()
    {
        return avx2.vectorize(
            #[inline(always)]
            || apply_vectors(payload, key),
        );
    }
    apply_vectors(payload, key);
}

/// All that is aligned in vectors, which takes half the time of unaligned ones: a header of 8 or 14 bytes sees to it that
/// few payloads begin aligned. The first and the last vector overlap those: they are read before and written after.
#[inline(always)]
fn apply_vectors(payload: &mut [u8], key: Key) {
    let (Some(first), Some(last)) = (payload.first_chunk::<VECTOR>(), payload.last_chunk::<VECTOR>()) else { return };
    let (mut first, mut last) = (*first, *last);
    apply_words(&mut first, key);
    apply_words(&mut last, advance(key, payload.len()));
    let unaligned = payload.as_ptr().align_offset(VECTOR).min(VECTOR);
    for vector in payload[unaligned..].as_chunks_mut::<VECTOR>().0 {
        apply_words(vector, advance(key, unaligned));
    }
    payload.first_chunk_mut().into_iter().for_each(|to| *to = first);
    payload.last_chunk_mut().into_iter().for_each(|to| *to = last);
}

/// Block by block, which never is in memory but where it goes.
#[inline(always)]
fn append_vectors(out: &mut Vec<u8>, payload: &[u8], key: Key) {
    let (blocks, rest) = payload.as_chunks::<{ 4 * VECTOR }>();
    for block in blocks {
        let mut block = *block;
        apply_words(&mut block, key);
        out.extend_from_slice(&block);
    }
    let start = out.len();
    out.extend_from_slice(rest);
    apply(&mut out[start..], key);
}

/// Whole words: of a length that is known it compiles to vector registers without a loop.
#[inline(always)]
fn apply_words(words: &mut [u8], key: Key) {
    for word in words.as_chunks_mut().0 {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
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
        for length in (0..600).chain([1024, 4096 + 63]) {
            for offset in 0..=VECTOR {
                let mut fast = sample(length + offset);
                let mut slow = fast.clone();
                apply(&mut fast[offset..], key);
                naive(&mut slow[offset..], key);
                assert_eq!(fast, slow, "length {length}, offset {offset}");
            }
        }
    }

    #[test]
    fn appends_what_copying_and_masking_gives_at_every_length() {
        let key = [0x12, 0x00, 0xff, 0xa5];
        for length in (0..600).chain([1024, 4096 + 63]) {
            for before in [0, 1, 14] {
                let plain = sample(length);
                let mut out = sample(before);
                append(&mut out, &plain, key);
                let mut masked = plain.clone();
                naive(&mut masked, key);
                assert_eq!(out, [sample(before), masked].concat(), "length {length} behind {before}");
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
