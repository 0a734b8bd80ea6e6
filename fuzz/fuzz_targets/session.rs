//! The heartbeat's line protocol on a session over UDP, by operations: every delivery must come to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| switchboard_heartbeat::fuzzing::session(data));
