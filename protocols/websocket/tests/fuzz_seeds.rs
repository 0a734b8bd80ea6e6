//! Replays the fuzz targets' corpora on stable Rust: what the fuzzer once found stays found. The named seeds go further,
//! cut off at every byte and with bits flipped.

use std::fs;
use std::path::Path;

use switchboard_websocket::fuzzing;

/// The name and the content of each file, in order.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| {
            let entry = entry.expect("a readable folder");
            (
                entry.file_name().into_string().expect("a name in UTF-8"),
                fs::read(entry.path()).expect("a readable seed"),
            )
        })
        .collect();
    files.sort();
    files
}

/// The files that people named: the fuzzer names its own by their hash.
fn seeds(target: &str) -> impl Iterator<Item = Vec<u8>> {
    let by_hash = |name: &str| name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    corpus(target).into_iter().filter(move |(name, _)| !by_hash(name)).map(|(_, seed)| seed)
}

fn replay(target: &str, run: fn(&[u8])) {
    let files = corpus(target);
    assert!(files.len() >= 20, "the named seeds are there");
    for (name, data) in files {
        println!("{target}/{name}"); // shown if it fails
        run(&data);
    }
}

fn flipped(seed: &[u8], bit: usize) -> Vec<u8> {
    let mut flipped = seed.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    flipped
}

#[test]
fn frame() {
    replay("frame", fuzzing::frame);
    for seed in seeds("frame") {
        for end in 0..=seed.len() {
            fuzzing::frame(&seed[..end]);
        }
        for bit in 0..8 * seed.len().min(24) {
            fuzzing::frame(&flipped(&seed, bit));
        }
    }
}

#[test]
fn handshake() {
    replay("handshake", fuzzing::handshake);
    for seed in seeds("handshake") {
        for end in 0..=seed.len() {
            fuzzing::handshake(&seed[..end]);
        }
        for bit in (32..8 * seed.len()).step_by(7) {
            fuzzing::handshake(&flipped(&seed, bit));
        }
    }
}

#[test]
fn deflate() {
    replay("deflate", fuzzing::deflate);
    for seed in seeds("deflate") {
        for end in (0..=seed.len()).step_by(3) {
            fuzzing::deflate(&seed[..end]);
        }
        for bit in (0..8 * seed.len().min(160)).step_by(5) {
            fuzzing::deflate(&flipped(&seed, bit));
        }
    }
}

#[test]
fn websocket_server() {
    replay("websocket_server", fuzzing::websocket_server);
    for seed in seeds("websocket_server") {
        for end in 0..seed.len() {
            fuzzing::websocket_server(&seed[..end]);
        }
        for bit in (0..8 * seed.len().min(40)).step_by(7) {
            fuzzing::websocket_server(&flipped(&seed, bit));
        }
    }
}

#[test]
fn websocket_client() {
    replay("websocket_client", fuzzing::websocket_client);
    for seed in seeds("websocket_client") {
        for end in 0..seed.len() {
            fuzzing::websocket_client(&seed[..end]);
        }
        for bit in (0..8 * seed.len().min(60)).step_by(7) {
            fuzzing::websocket_client(&flipped(&seed, bit));
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

#[test]
fn messages_at_random() {
    let mut random = fastrand::Rng::with_seed(3);
    for _ in 0..20_000 {
        let length = random.usize(8..60);
        let mut data: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        data[5..8].copy_from_slice(&[0, 0, random.u8(..)]); // no header; a message's length
        fuzzing::deflate(&data);
    }
}

/// The same conversations, with an application that takes messages in pieces; or, where it does already, whole.
#[test]
fn connections_the_other_way() {
    for (target, run) in
        [("websocket_server", fuzzing::websocket_server as fn(&[u8])), ("websocket_client", fuzzing::websocket_client)]
    {
        for (name, mut data) in corpus(target) {
            println!("{target}/{name} the other way");
            if let Some(choices) = data.first_mut() {
                *choices ^= 0x01;
            }
            run(&data);
        }
    }
}

#[test]
fn connections_at_random() {
    let mut random = fastrand::Rng::with_seed(2);
    for _ in 0..3_000 {
        let length = random.usize(..60);
        let data: Vec<u8> = (0..length).map(|_| if random.bool() { random.u8(..16) } else { random.u8(..) }).collect();
        fuzzing::websocket_server(&data);
        fuzzing::websocket_client(&data);
    }
}
