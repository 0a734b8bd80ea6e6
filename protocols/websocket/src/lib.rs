//! RFC 6455 WebSocket for the Switchboard runtime.
#![forbid(unsafe_code)]
pub mod close;
pub mod frame;
pub mod handshake;
pub mod mask;
pub mod utf8;
pub use handshake::{Accept, Response};
#[doc(hidden)]
pub mod fuzzing;
