//! Replays the fuzz targets' seeds on stable Rust, whole, cut off at every byte, and with each bit of the first ones
//! flipped: what the fuzzer once found stays found.

use std::path::Path;
use std::{fs, io};

use switchboard_websocket::fuzzing;

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |entry: io::Result<fs::DirEntry>| fs::read(entry?.path());
    entries.map(read).collect::<io::Result<_>>().expect("readable seeds")
}

#[test]
fn frame() {
    let seeds = seeds("frame");
    assert!(seeds.len() >= 20, "the named seeds are there");
    for seed in seeds {
        for end in 0..=seed.len() {
            fuzzing::frame(&seed[..end]);
        }
        for bit in 0..8 * seed.len().min(24) {
            let mut flipped = seed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fuzzing::frame(&flipped);
        }
    }
}

#[test]
fn frames_at_random() {
    let mut random = fastrand::Rng::with_seed(1);
    let likely = [0x00, 0x01, 0x81, 0x82, 0x80, 0x88, 0x89, 0x8a, 0x7e, 0x7f, 0xfe, 0xff, 0x85, 0x82, 0x03, 0xe8];
    for _ in 0..200_000 {
        let length = random.usize(..40);
        let data: Vec<u8> =
            (0..length).map(|_| if random.bool() { likely[random.usize(..16)] } else { random.u8(..) }).collect();
        fuzzing::frame(&data);
    }
}
