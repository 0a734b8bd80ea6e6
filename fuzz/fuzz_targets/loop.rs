//! Event loops on the simulated network, under a workload that the input chooses.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| switchboard_proof::workload::fuzz(data));
