//! Who is measured.

use load::Protocol;

/// An echo server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contender {
    /// As in the tables.
    pub(crate) name: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) launch: Launch,
    /// The package whose version is quoted.
    pub(crate) package: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Launch {
    /// `bench_server` with these arguments.
    Switchboard(&'static [&'static str]),
    /// The `server` example with these.
    Example(&'static [&'static str]),
    /// `bare` with this one.
    Bare(&'static str),
    /// `peers` with this one.
    Peer(&'static str),
    /// This program of `native/` with this one.
    Native(&'static str, &'static str),
}

use Launch::{Bare, Example, Native, Peer, Switchboard};
use Protocol::{Tcp, Udp, Ws, Wsz};

/// All of them; in each protocol Switchboard first, then the limit.
pub(crate) const ALL: [Contender; 27] = [
    contender(Tcp, "Switchboard", Switchboard(&["tcp-echo", "0", "--connections", "20000"]), "switchboard"),
    contender(Tcp, "bare mio", Bare("tcp"), "mio"),
    contender(Tcp, "uSockets (C)", Native("usockets", "tcp"), UWEBSOCKETS),
    contender(Tcp, "libuv (C)", Native("libuv", "tcp"), LIBUV),
    contender(Tcp, "tokio", Peer("tcp-tokio"), "tokio"),
    contender(Tcp, "message-io", Peer("tcp-message-io"), "message-io"),
    contender(Udp, "Switchboard", Switchboard(&["udp-echo", "0"]), "switchboard"),
    contender(Udp, "bare mio", Bare("udp"), "mio"),
    contender(Udp, "bare mio, batched", Bare("udp-batched"), "nix"),
    contender(Udp, "libuv (C)", Native("libuv", "udp"), LIBUV),
    contender(Udp, "tokio", Peer("udp-tokio"), "tokio"),
    contender(Udp, "message-io", Peer("udp-message-io"), "message-io"),
    contender(Ws, "Switchboard", Switchboard(&["ws-echo", "0", "--connections", "20000"]), "switchboard"),
    contender(Ws, "bare mio, no UTF-8 check", Bare("ws"), "mio"),
    contender(Ws, "uWebSockets (C++)", Native("uwebsockets", "ws"), UWEBSOCKETS),
    contender(Ws, "fastwebsockets", Peer("ws-fastwebsockets"), "fastwebsockets"),
    contender(Ws, "sockudo-ws", Peer("ws-sockudo"), "sockudo-ws"),
    contender(Ws, "sockudo-ws, raw, no UTF-8 check", Peer("ws-sockudo-raw"), "sockudo-ws"),
    contender(Ws, "tokio-websockets", Peer("ws-tokio-websockets"), "tokio-websockets"),
    contender(Ws, "web-socket", Peer("ws-web-socket"), "web-socket"),
    contender(Ws, "yawc", Peer("ws-yawc"), "yawc"),
    contender(Ws, "tokio-tungstenite", Peer("ws-tokio-tungstenite"), "tokio-tungstenite"),
    contender(Ws, "message-io", Peer("ws-message-io"), "message-io"),
    contender(Wsz, "Switchboard", Switchboard(&["wsz-echo", "0", "--level", "1"]), "switchboard"),
    contender(Wsz, "uWebSockets (C++)", Native("uwebsockets", "wsz"), UWEBSOCKETS),
    contender(Wsz, "sockudo-ws", Peer("wsz-sockudo"), "sockudo-ws"),
    contender(Wsz, "yawc", Peer("wsz-yawc"), "yawc"),
];

/// The programs of `native/`.
pub(crate) const NATIVE: [&str; 3] = ["libuv", "usockets", "uwebsockets"];
/// The packages that carry the sources of `native/`'s libraries.
pub(crate) const UWEBSOCKETS: &str = "libuwebsockets-sys";
pub(crate) const LIBUV: &str = "libuv-sys2";

/// Switchboard as a whole server: every protocol on one thread, and a page that shows what goes on, live. Its WebSocket can
/// compress, and looks at the path.
pub(crate) const EXAMPLE: Contender =
    contender(Ws, "Switchboard, the `server` example's `/echo`", Example(ARGUMENTS), "switchboard");
const ARGUMENTS: &[&str] = &[
    "--quiet",
    "--connections=20000",
    "--tcp-echo=127.0.0.1:0",
    "--udp-echo=127.0.0.1:0",
    "--heartbeat=127.0.0.1:0",
    "--websocket=127.0.0.1:0",
];

const fn contender(protocol: Protocol, name: &'static str, launch: Launch, package: &'static str) -> Contender {
    Contender { name, protocol, launch, package }
}

/// What a protocol is called in a table's heading.
pub(crate) fn title(protocol: Protocol) -> &'static str {
    match protocol {
        Tcp => "TCP",
        Udp => "UDP",
        Ws => "WebSocket",
        Wsz => "WebSocket, permessage-deflate",
    }
}
