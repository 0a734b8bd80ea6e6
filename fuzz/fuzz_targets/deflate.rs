//! Compressed messages and their negotiation, against a naive decoder.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| switchboard_websocket::fuzzing::deflate(data));
