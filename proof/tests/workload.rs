//! The mixed workload from many seeds: a fixed set in every run, fresh ones as asked for.

use std::sync::Mutex;

use switchboard::testkit::check_seeds_on;
use switchboard_proof::workload::{self, Report};

#[test]
fn seeds() {
    let total = Mutex::new(Report::default());
    check_seeds_on(2, 0..200, |seed| {
        let report = workload::run(seed);
        *total.lock().expect("who held it did not panic") += report;
    });
    println!("{}", total.into_inner().expect("nobody panicked"));
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..12 {
        assert_eq!(workload::run(seed), workload::run(seed), "seed {seed}");
    }
}
