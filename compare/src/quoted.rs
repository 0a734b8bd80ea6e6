//! Figures of a newer uWebSockets, which no package carries: it checks UTF-8 in longer steps. Measured by the same method.

use load::Protocol;

/// What the tables call it.
pub(crate) const NAME: &str = "uWebSockets (C++) †";
/// What the mark means.
pub(crate) const NOTE: &str = "† A newer one, which no package carries: 66dcff3d, with uSockets 86097c49, built by hand with \
    `-O3 -march=native -flto` and measured on 2026-11-22 on two shared Zen 3 processors with glibc 2.36.\n";

/// Its instructions a message, by workload.
pub(crate) const INSTRUCTIONS: (Protocol, &[(&str, f64)]) = (
    Protocol::Ws,
    &[("1x20", 765.0), ("16x20", 395.0), ("1x1024:ascii", 1708.0), ("16x1024:ascii", 3357.0), ("1x16384", 3258.0)],
);

/// Bytes of an idle WebSocket connection, and after an echo of 1 MiB.
pub(crate) const MEMORY: [f64; 2] = [272.0, 1_060_000.0];
