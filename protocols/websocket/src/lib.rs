//! RFC 6455 WebSocket for the Switchboard runtime.
#![forbid(unsafe_code)]

mod assembly;
pub mod close;
mod closing;
pub mod error;
pub mod frame;
#[doc(hidden)]
pub mod fuzzing;
mod handler;
pub mod handshake;
pub mod mask;
mod message;
mod opening;
mod peer;
mod settings;
mod state;
pub mod utf8;
mod websocket;

pub use close::CloseCode;
pub use handler::{Closed, Handler, MessageFn, message_fn};
pub use handshake::{Accept, Request, Response};
pub use message::{Message, Post, SharedText};
pub use peer::Peer;
pub use settings::Settings;
pub use websocket::WebSocket;
