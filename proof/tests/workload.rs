//! The mixed workload from many seeds: a fixed set in every run, fresh ones as asked for.

use std::cell::RefCell;

use switchboard::testkit::check_seeds;
use switchboard_proof::workload::{self, Report};

#[test]
fn seeds() {
    let total = RefCell::new(Report::default());
    check_seeds(0..200, |seed| *total.borrow_mut() += workload::run(seed));
    println!("{}", total.into_inner());
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..12 {
        assert_eq!(workload::run(seed), workload::run(seed), "seed {seed}");
    }
}
