//! Whole WebSocket connections out of operations and chunks, against a naive model of a client.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| switchboard_websocket::fuzzing::websocket_client(data));
