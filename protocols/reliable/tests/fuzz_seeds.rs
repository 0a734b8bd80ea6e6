//! Replays the fuzz target's seeds on stable Rust: what the fuzzer once found stays found. And what a seed can do, chance
//! can, too.

use switchboard::testkit::{check_seeds_on, replay_seeds};
use switchboard_reliable::fuzzing;

#[test]
fn reliable() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/reliable");
    assert!(replay_seeds(seeds, fuzzing::reliable) >= 60, "the named seeds are there");
}

/// Operations of the target, drawn from a seed: most of them open and talk, some only then go mad.
fn operations(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut below = |most: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((state >> 33) ^ (state >> 47)) % most
    };
    let byte = |number: u64| number.to_le_bytes()[0];
    let mut operations = if below(4) == 0 { vec![] } else { b"><><".to_vec() };
    let is_hostile = below(4) == 0;
    for _ in 0..10 + below(90) {
        match below(if is_hostile { 26 } else { 22 }) {
            0..4 => operations.extend([b"cC"[usize::from(below(2) == 0)], byte(below(40))]),
            4..11 => operations.push(b"><><+-.,**"[usize::from(byte(below(10)))]),
            11..13 => operations.extend([b"oO"[usize::from(below(2) == 0)], byte(below(6))]),
            13..15 => operations.extend([b't', byte(below(60))]),
            15..18 => operations.push(b'n'),
            18 => operations.push(b"prPR"[usize::from(byte(below(4)))]),
            19 => operations.extend([b"wW"[usize::from(below(2) == 0)], [0, 1, 3, 255][usize::from(byte(below(4)))]]),
            20 if below(6) == 0 => operations.push(b"xXaAdD"[usize::from(byte(below(6)))]),
            20 | 21 => {}
            _ => {
                operations.extend([b"@#"[usize::from(below(2) == 0)], 9, byte(0x11 + below(8))]);
                operations.extend((0..8).map(|at| if at == 4 { 0x80 * byte(below(2)) } else { byte(below(9)) }));
            }
        }
    }
    operations
}

#[test]
fn chance() {
    check_seeds_on(2, 0..100, |seed| fuzzing::reliable(&operations(seed)));
}
