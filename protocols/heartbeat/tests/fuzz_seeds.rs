//! Replays the fuzz target's seeds on stable Rust: what the fuzzer once found stays found.

use switchboard::testkit::replay_seeds;
use switchboard_heartbeat::fuzzing;

#[test]
fn heartbeat() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/heartbeat");
    assert!(replay_seeds(seeds, fuzzing::heartbeat) >= 20, "the named seeds are there");
}
