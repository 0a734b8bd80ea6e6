//! Replays the fuzz target's seeds on stable Rust: what the fuzzer once found stays found.

use switchboard::testkit::replay_seeds;
use switchboard_echo::fuzzing;

#[test]
fn echo() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/echo");
    assert!(replay_seeds(seeds, fuzzing::echo) >= 20, "the named seeds are there");
}
