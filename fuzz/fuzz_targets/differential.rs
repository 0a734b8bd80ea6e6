//! Frames out of arbitrary bytes, read by our server and client, and by those of tungstenite and fastwebsockets.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = switchboard_proof::differential::fuzz(data);
});
