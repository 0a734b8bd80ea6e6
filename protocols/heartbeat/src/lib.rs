//! Heartbeat, keepalive and idle timeout for the Switchboard runtime.

mod beat;
mod config;
mod line;
mod rtt;

pub use beat::{Beat, PeerSilent, Tick};
pub use config::{Config, ConfigError, LONGEST_TIMEOUT, SHORTEST_INTERVAL};
pub use line::{LONGEST_LINE, Line, LineError};
pub use rtt::Rtt;
