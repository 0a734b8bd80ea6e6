//! A connection of the echo, by operations and pieces: what comes back is what went in.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| switchboard_echo::fuzzing::echo(data));
