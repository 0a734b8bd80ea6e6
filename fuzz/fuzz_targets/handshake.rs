//! Opening handshakes out of arbitrary bytes, whole and in chunks, against a naive reading of the RFCs.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| switchboard_websocket::fuzzing::handshake(data));
