//! What the fuzz targets run, in the crate so that stable tests replay their seeds. Not part of the public interface.

mod frame;
mod handshake;
mod naive;
mod octets;
mod server;

pub use frame::frame;
pub use handshake::handshake;
pub use server::{websocket_client, websocket_server};
