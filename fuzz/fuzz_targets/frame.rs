//! WebSocket frames out of arbitrary bytes, against a naive decoder.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| switchboard_websocket::fuzzing::frame(data));
