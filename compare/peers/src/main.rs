//! Echo servers on other libraries, each on one thread and written the way its library documents, with the writes of
//! one wake-up batched where the library lets one do so.
//!
//! `peers SERVER PORT` serves on 127.0.0.1 (port 0: any that is free), prints `listening on ADDRESS`, and ends with
//! SIGTERM.

mod corked;
mod message_io;
mod tokio_sockets;
mod websocket;

use std::net::{Ipv4Addr, SocketAddr};

use ::message_io::network::Transport;
use anyhow::Result;
use clap::{Parser, ValueEnum};

/// Echo servers on other libraries.
#[derive(Parser)]
#[command(name = "peers")]
struct Cli {
    /// Which one.
    server: Server,
    /// Where, on 127.0.0.1.
    port: u16,
}

#[derive(Clone, Copy, ValueEnum)]
enum Server {
    TcpTokio,
    TcpMessageIo,
    UdpTokio,
    UdpMessageIo,
    WsFastwebsockets,
    WsSockudo,
    WsSockudoRaw,
    WsTokioTungstenite,
    WsTokioWebsockets,
    WsWebSocket,
    WsYawc,
    WsMessageIo,
    WszSockudo,
    WszYawc,
}

fn main() -> Result<()> {
    let Cli { server, port } = Cli::parse();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    match server {
        Server::TcpTokio => tokio_sockets::tcp(address),
        Server::TcpMessageIo => message_io::serve(Transport::Tcp, address),
        Server::UdpTokio => tokio_sockets::udp(address),
        Server::UdpMessageIo => message_io::serve(Transport::Udp, address),
        Server::WsFastwebsockets => websocket::fastwebsockets(address),
        Server::WsSockudo => websocket::sockudo(address),
        Server::WsSockudoRaw => websocket::sockudo_raw(address),
        Server::WsTokioTungstenite => websocket::tokio_tungstenite(address),
        Server::WsTokioWebsockets => websocket::tokio_websockets(address),
        Server::WsWebSocket => websocket::web_socket(address),
        Server::WsYawc => websocket::yawc(address, false),
        Server::WsMessageIo => message_io::serve(Transport::Ws, address),
        Server::WszSockudo => websocket::sockudo_deflate(address),
        Server::WszYawc => websocket::yawc(address, true),
    }
}
