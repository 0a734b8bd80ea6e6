//! Frames out of arbitrary bytes, read by our server and by tungstenite's.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    switchboard_proof::differential::fuzz(data);
});
