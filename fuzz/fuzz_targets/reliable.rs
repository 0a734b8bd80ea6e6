//! A client and a server of reliable sessions, with the input as the network between them, or as either one gone mad.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| switchboard_reliable::fuzzing::reliable(data));
