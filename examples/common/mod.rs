//! What the examples with a page share: the answers with its files, Ctrl-C, and how they print.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use switchboard::Handle;
use switchboard_websocket::{Request, Response};

/// A page's three files: `page.html`, which names the others, `page.css` and `page.js`.
pub(crate) struct Page {
    pub(crate) html: &'static str,
    pub(crate) css: &'static str,
    pub(crate) js: &'static str,
}

impl Page {
    /// Answers a plain request. The page may run these files and nothing else, and talk to this server alone.
    pub(crate) fn answer(&self, request: &Request<'_>) -> Response {
        let (kind, body) = match request.path() {
            "/" => ("text/html; charset=utf-8", self.html),
            "/page.css" => ("text/css; charset=utf-8", self.css),
            "/page.js" => ("text/javascript; charset=utf-8", self.js),
            _ => return Response::text(404, "there is nothing here: the page is at /\n"),
        };
        if !matches!(request.method(), "GET" | "HEAD") {
            return Response::text(405, "the page can only be read\n").header("Allow", "GET, HEAD");
        }
        let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
        Response::new(200)
            .body(body)
            .header("Content-Type", kind)
            .header("Content-Security-Policy", policy)
            .header("Cache-Control", "no-cache")
            .header("X-Content-Type-Options", "nosniff")
            .header("Referrer-Policy", "no-referrer")
    }
}

/// Opens something on an address; the error says what, and where.
pub(crate) fn at<T>(name: &str, address: SocketAddr, open: impl FnOnce(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    open(address).map_err(|error| io::Error::new(error.kind(), format!("{name} cannot listen on {address}: {error}")))
}

/// The first Ctrl-C (or SIGTERM) lets every connection say goodbye, a second one stops at once.
pub(crate) fn stop_by_signal(handle: Handle) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for (count, _) in signals.forever().enumerate() {
            // A loop that has ended is on its way out already.
            let _ = if count == 0 { handle.shutdown(Duration::from_secs(4)) } else { handle.stop() };
        }
    })?;
    Ok(())
}

/// Prints a line, at once. Nobody reading it any more is no reason to stop.
pub(crate) fn say(line: Arguments<'_>) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// The same to the standard error. (`eprintln!` panics where nobody reads it any more.)
pub(crate) fn note(line: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{line}");
}
