//! What a failing seed prints is how to see it again.

use std::env;
use std::process::{Command, Output};

use switchboard::testkit::check_seeds;

/// Fails for one seed of those it names; other tests run it, in a process of its own.
#[test]
#[ignore = "fails as it is meant to, in the second process of other tests"]
fn planted() {
    let mut ran = 0;
    check_seeds(0..100, |seed| {
        ran += 1;
        assert_ne!(seed, 42, "run {ran} finds the planted bug");
    });
    println!("{ran} seeds passed");
}

/// Runs the planted test with this in its environment.
fn run(variables: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "seeds::planted", "--nocapture"]);
    command.env_remove("SWITCHBOARD_SEED").env_remove("SWITCHBOARD_SEEDS").env_remove("RUST_TEST_THREADS");
    let Output { status, stdout, stderr } = command.envs(variables.iter().copied()).output().unwrap();
    (status.success(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

#[test]
fn a_failure_says_how_to_replay_it_and_that_replays_it() {
    let (passed, text) = run(&[]);
    assert!(!passed && text.contains("run 43 finds the planted bug"), "{text}");
    let release = if cfg!(debug_assertions) { "" } else { " --release" };
    let command = format!(
        "SWITCHBOARD_SEED=0x2a cargo test{release} -p switchboard --test simulation -- --exact seeds::planted --nocapture"
    );
    assert!(text.contains(&command), "{text}");

    let (passed, text) = run(&[("SWITCHBOARD_SEED", "0x2a")]);
    assert!(!passed && text.contains("run 1 finds the planted bug"), "{text}");
    let (passed, text) = run(&[("SWITCHBOARD_SEED", "41")]);
    assert!(passed && text.contains("1 seeds passed"), "{text}");
}

#[test]
fn fresh_seeds_are_others_each_time_and_their_base_is_said() {
    let base = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("7 fresh seeds from 0x"));
        line.unwrap_or_else(|| panic!("{text}")).to_owned()
    };
    let (passed, first) = run(&[("SWITCHBOARD_SEEDS", "7")]);
    assert!(passed && first.contains("7 seeds passed"), "{first}");
    let (_, second) = run(&[("SWITCHBOARD_SEEDS", "7")]);
    assert_ne!(base(&first), base(&second));
}

#[test]
fn a_seed_that_is_no_number_is_refused() {
    let (passed, text) = run(&[("SWITCHBOARD_SEED", "2a")]);
    assert!(!passed && text.contains("SWITCHBOARD_SEED must be a number"), "{text}");
}
