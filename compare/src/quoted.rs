//! Figures of peers that no package registry has. They were measured on the same kind of machine on 2026-11-22, with the
//! same method, from sources built by hand: uWebSockets 66dcff3d and uSockets 86097c49 with
//! `-O3 -march=native -flto`; libuv 1.44.2 as Debian builds it.

use load::Protocol;

/// What the tables call it.
pub(crate) const MARK: &str = "†";
/// What the mark means.
pub(crate) const NOTE: &str = "† Not in a package registry: built by hand (uWebSockets 66dcff3d and uSockets 86097c49 with \
    `-O3 -march=native -flto`, libuv 1.44.2) and measured on 2026-11-22 on the same machine.\n";

/// Instructions a message, by protocol, server and workload.
pub(crate) const INSTRUCTIONS: [(Protocol, &str, &[(&str, f64)]); 3] = [
    (Protocol::Tcp, "uSockets", &[("1x20", 155.0), ("16x1024", 10.0)]),
    (Protocol::Tcp, "libuv", &[("1x20", 318.0), ("16x1024", 20.0)]),
    (
        Protocol::Ws,
        "uWebSockets",
        &[("1x20", 765.0), ("16x20", 395.0), ("1x1024:ascii", 1708.0), ("16x1024:ascii", 3357.0), ("1x16384", 3258.0)],
    ),
];

/// Bytes of an idle WebSocket connection, and after an echo of 1 MiB.
pub(crate) const MEMORY: (&str, f64, f64) = ("uWebSockets", 272.0, 1_060_000.0);
