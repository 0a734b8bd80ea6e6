//! Random streams of frames, valid and damaged, to our WebSocket and to the oracles, in either role.

use std::collections::BTreeMap;
use std::sync::Mutex;

use switchboard::testkit::check_seeds_on;
use switchboard_proof::dice::Dice;
use switchboard_proof::differential::{DIFFERENCES, Difference, Oracle, Terms, compare};
use switchboard_proof::streams::{Writer, encode};
use switchboard_websocket::frame::Role;

/// What a seed stands for: a stream for one role, with its limits, valid or with up to three damages.
fn run(seed: u64) -> Vec<(Oracle, Difference)> {
    let mut dice = Dice::seeded(seed);
    let receiver = if dice.one_in(2) { Role::Server } else { Role::Client };
    let max_message = if dice.one_in(12) { 70_000 } else { [200, 1000][dice.index(2)] };
    let max_fragments = if dice.one_in(3) { 3 } else { 100 };
    let writer = Writer { receiver, max_message, max_fragments };
    let mut frames = writer.valid(&mut dice, None).frames;
    for _ in 0..dice.below(4) {
        if !frames.is_empty() {
            writer.damage(&mut dice, &mut frames);
        }
    }
    let mut bytes = encode(&frames);
    if dice.one_in(4) {
        writer.damage_octets(&mut dice, &mut bytes);
    }
    let chunk = if bytes.len() > 5000 || dice.one_in(2) { bytes.len().max(1) } else { 1 + dice.index(40) };
    compare(&Terms { role: receiver, max_message, max_fragments }, &bytes, chunk)
}

#[test]
fn verdicts_agree_or_the_difference_is_listed() {
    let found = Mutex::new(BTreeMap::<_, u32>::new());
    let runs = Mutex::new(0);
    check_seeds_on(2, 0..4000, |seed| {
        let differences = run(seed);
        *runs.lock().expect("who held it did not panic") += 1;
        let mut found = found.lock().expect("who held it did not panic");
        for difference in differences {
            *found.entry(difference).or_default() += 1;
        }
    });
    let found = found.into_inner().expect("nobody panicked");
    for ((oracle, difference), count) in &found {
        println!("{count:>6}  {oracle:<15} {difference:?}");
    }
    if runs.into_inner().expect("nobody panicked") < 4000 {
        return; // of few seeds not all need show
    }
    for entry in &DIFFERENCES {
        for oracle in entry.oracles {
            let known = (*oracle, entry.difference);
            assert!(found.contains_key(&known), "no seed shows {known:?} any more: is it none?");
        }
    }
}

/// The list in the code and the one for readers are one.
#[test]
fn the_list_is_in_the_docs() {
    let docs = include_str!("../../docs/differential.md");
    let in_docs: Vec<&str> = docs.lines().filter(|line| line.starts_with("| `")).collect();
    let in_code: Vec<String> = DIFFERENCES.iter().map(ToString::to_string).collect();
    assert_eq!(in_docs, in_code, "to be put into docs/differential.md:\n{}\n", in_code.join("\n"));
}
