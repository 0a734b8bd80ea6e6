//! A connection of the heartbeat's line protocol, by operations and pieces, against a naive peer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| switchboard_heartbeat::fuzzing::heartbeat(data));
