//! Figures of peers that no package registry has. They were measured on 2026-11-22 on two shared
//! Zen 3 processors with the same method, from sources built by hand: uWebSockets 66dcff3d and uSockets 86097c49 with
//! `-O3 -march=native -flto`; libuv 1.44.2 as Debian builds it.

use load::Protocol;

/// What the tables call it.
pub(crate) const MARK: &str = "†";
/// What the mark means.
pub(crate) const NOTE: &str = "† Not in a package registry: built by hand (uWebSockets 66dcff3d and uSockets 86097c49 with \
    `-O3 -march=native -flto`, libuv 1.44.2) and measured on 2026-11-22 on two \
    shared Zen 3 processors with glibc 2.36.\n";

/// A server's instructions a message, by workload.
pub(crate) struct Quote {
    pub(crate) protocol: Protocol,
    pub(crate) name: &'static str,
    pub(crate) instructions: &'static [(&'static str, f64)],
}

pub(crate) const INSTRUCTIONS: [Quote; 3] = [
    Quote { protocol: Protocol::Tcp, name: "uSockets", instructions: &[("1x20", 155.0), ("16x1024", 10.0)] },
    Quote { protocol: Protocol::Tcp, name: "libuv", instructions: &[("1x20", 318.0), ("16x1024", 20.0)] },
    Quote {
        protocol: Protocol::Ws,
        name: "uWebSockets",
        instructions: &[
            ("1x20", 765.0),
            ("16x20", 395.0),
            ("1x1024:ascii", 1708.0),
            ("16x1024:ascii", 3357.0),
            ("1x16384", 3258.0),
        ],
    },
];

/// Bytes of an idle WebSocket connection, and after an echo of 1 MiB.
pub(crate) const MEMORY: (&str, f64, f64) = ("uWebSockets", 272.0, 1_060_000.0);
