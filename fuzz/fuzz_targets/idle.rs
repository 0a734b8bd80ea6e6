//! An idle timeout around an echo: the kit's own oracles alone, in one line.
#![no_main]

switchboard::fuzz_protocol!(
    switchboard_heartbeat::IdleTimeout::new(std::time::Duration::from_secs(7)).around(switchboard_echo::TcpEcho)
);
