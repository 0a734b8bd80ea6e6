//! Replays the corpora of the fuzz targets whose bodies are here: what the fuzzer once found stays found.

use std::cell::RefCell;
use std::collections::BTreeMap;

use switchboard::testkit::replay_seeds;
use switchboard_proof::differential::{self, DIFFERENCES};
use switchboard_proof::workload;

#[test]
fn differential() {
    let differences = RefCell::new(BTreeMap::new());
    let seeds = replay_seeds(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/differential"), |data| {
        for end in (0..data.len()).step_by(1 + data.len() / 100).chain([data.len()]) {
            for difference in differential::fuzz(&data[..end]) {
                *differences.borrow_mut().entry(difference).or_insert(0) += 1;
            }
        }
    });
    let differences = differences.into_inner();
    println!("{seeds} seeds, {differences:?}");
    for entry in &DIFFERENCES {
        for oracle in entry.oracles {
            let known = (*oracle, entry.difference);
            assert!(differences.contains_key(&known), "no seed shows {known:?} any more: is it none?");
        }
    }
}

#[test]
fn the_loop() {
    let seeds = replay_seeds(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/loop"), workload::fuzz);
    println!("{seeds} seeds");
}
