//! The page's HTTP answer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use switchboard_websocket::{Request, Response};

const HTML: &str = include_str!("page.html");

/// The page, with the policy that lets its own style and script run and nothing else.
pub(crate) struct Page {
    policy: String,
}

impl Page {
    pub(crate) fn new() -> Self {
        let style = digest(between("<style>", "</style>"));
        let script = digest(between("<script type=\"module\">", "</script>"));
        let policy = format!(
            "default-src 'none'; style-src '{style}'; script-src '{script}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        Self { policy }
    }

    pub(crate) fn answer(&self, request: &Request<'_>) -> Response {
        if request.path() != "/" {
            return Response::text(404, "there is nothing here: the page is at /\n");
        }
        if !matches!(request.method(), "GET" | "HEAD") {
            return Response::text(405, "the page can only be read\n").header("Allow", "GET, HEAD");
        }
        Response::html(HTML)
            .header("Content-Security-Policy", self.policy.clone())
            .header("Cache-Control", "no-cache")
            .header("X-Content-Type-Options", "nosniff")
            .header("Referrer-Policy", "no-referrer")
    }
}

/// The text of the page's one element with these tags.
fn between(open: &str, close: &str) -> &'static str {
    let inside = HTML.split_once(open).and_then(|(_, rest)| rest.split_once(close));
    inside.map_or("", |(text, _)| text)
}

/// What a content security policy calls an inline element (CSP Level 3 §2.3.1).
fn digest(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}
