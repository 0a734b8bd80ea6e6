//! The workloads and differentials that prove the crates of Switchboard together: run by tests from
//! seeds, and by the fuzzer from its input.

#![forbid(unsafe_code)]

pub mod dice;
pub mod differential;
pub mod streams;
pub mod workload;
