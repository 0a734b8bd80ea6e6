//! What the fuzz targets run, in the crate so that stable tests replay their seeds. Not part of the public interface.

mod deflate;
mod frame;
mod handshake;
mod inflate;
mod naive;
mod octets;
mod server;

pub use deflate::deflate;
pub use frame::frame;
pub use handshake::handshake;
#[cfg(test)]
pub(crate) use inflate::naive_inflate;
pub use server::{websocket_client, websocket_server};
