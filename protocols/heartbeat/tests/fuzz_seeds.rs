//! Replays the fuzz targets' seeds on stable Rust: what the fuzzer once found stays found.

use switchboard::testkit::replay_seeds;
use switchboard_heartbeat::fuzzing;

#[test]
fn heartbeat() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/heartbeat");
    assert!(replay_seeds(seeds, fuzzing::heartbeat) >= 20, "the named seeds are there");
}

#[test]
fn session() {
    let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/session");
    assert!(replay_seeds(seeds, fuzzing::session) >= 10, "the named seeds are there");
}
