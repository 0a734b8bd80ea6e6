//! A connection from its first byte to its end.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::Harness;
use switchboard::{Failure, Limits};

use crate::handshake::{NoOrigin, OriginPolicy};
use crate::{Accept, Handler, Message, Peer, Request, Response, Settings, WebSocket};

use super::naive;

/// How a connection that has not ended ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Time,
    Eof,
    Reset,
    Shutdown,
}

impl Ending {
    pub(super) const ALL: [Self; 4] = [Self::Time, Self::Eof, Self::Reset, Self::Shutdown];
}

/// What came of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Talk {
    pub(super) sent: Vec<u8>,
    fin: bool,
    log: Vec<String>,
    end: String,
}

impl Talk {
    /// Feeds the pieces, and lets it end. Nothing is left then.
    pub(super) fn of(settings: &Rc<Settings>, pieces: &[&[u8]], ending: Ending) -> Self {
        let log = Rc::<RefCell<_>>::default();
        let limits = Limits {
            receive_buffer: 20_000,
            read_budget: 4096,
            high_water: 4096,
            low_water: 1024,
            send_buffer: 20_000,
            ..Limits::default()
        };
        let mut harness = Harness::with_limits(WebSocket::with_settings(Witness(Rc::clone(&log)), settings), limits);
        for piece in pieces {
            harness.feed(piece);
        }
        match ending {
            Ending::Time => harness.advance(settings.handshake_timeout),
            Ending::Eof => harness.eof(),
            Ending::Reset => harness.reset(),
            Ending::Shutdown => harness.shutdown(Duration::from_secs(1)),
        }
        harness.eof();
        harness.advance(settings.close_timeout + Limits::default().linger + Duration::from_secs(1));
        let (sent, fin) = (harness.take_sent(), harness.saw_eof());
        let end = harness.close_reason().expect("an end").to_string();
        let core = harness.core();
        let left = (core.open_connections(), core.armed_timers(), core.held_bytes());
        assert_eq!(left, (0, 0, 0), "connections, timers and bytes are left");
        Self { sent, fin, log: log.take(), end }
    }

    /// That what was read of a request was answered with one of these statuses, and closed.
    pub(super) fn check_answer(&self, mut request: &[u8], statuses: &[u16]) {
        while let Some(rest) = request.strip_prefix(b"\r\n") {
            request = rest;
        }
        let (answer, body) = Answer::read(&self.sent);
        assert!(statuses.contains(&answer.status), "{self:?}, but {statuses:?}");
        let connection = answer.field("connection").expect("Connection");
        assert!(connection.split(", ").any(|option| option == "close"), "{connection}");
        let length: usize = answer.field("content-length").expect("Content-Length").parse().expect("a number");
        assert_eq!(body.len(), if request.starts_with(b"HEAD ") { 0 } else { length }, "{self:?}");
        assert!(self.fin, "it is not closed: {self:?}");
        match answer.status {
            405 => assert_eq!(answer.field("allow"), Some("GET")),
            426 => {
                assert_eq!(answer.field("upgrade"), Some("websocket"));
                let plain = self.log.iter().any(|line| line.starts_with("plain"));
                assert!(plain || answer.field("sec-websocket-version") == Some("13"), "{self:?}");
            }
            _ => {}
        }
    }

    /// That it was accepted with this; gives what was sent behind the answer.
    pub(super) fn check_switch(&self, accept: &str) -> &[u8] {
        let (answer, behind) = Answer::read(&self.sent);
        assert_eq!(answer.status, 101, "{self:?}");
        assert_eq!(answer.field("upgrade"), Some("websocket"));
        assert_eq!(answer.field("connection"), Some("Upgrade"));
        assert_eq!(answer.field("sec-websocket-accept"), Some(accept));
        let chosen = answer.field("sec-websocket-protocol").unwrap_or_default();
        assert!(self.log[0].starts_with(&format!("handshake {chosen} ")), "{self:?}");
        behind
    }
}

/// The head of a response, by another parser than one of ours.
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
}

impl Answer {
    fn read(bytes: &[u8]) -> (Self, &[u8]) {
        let mut headers = [httparse::EMPTY_HEADER; 10];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(bytes).unwrap_or_else(|error| panic!("{error}: {}", bytes.escape_ascii()));
        let httparse::Status::Complete(length) = parsed else { panic!("no answer: {}", bytes.escape_ascii()) };
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).expect("text");
        let fields = response.headers.iter().map(|field| (field.name.to_lowercase(), text(field.value)));
        let (status, fields) = (response.code.expect("a status"), fields.collect());
        (Self { status, fields }, &bytes[length..])
    }

    /// The value of a field that may be there once.
    fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| &**value);
        let first = values.next();
        assert_eq!(values.next(), None, "{name} is there twice");
        first
    }
}

/// Accepts every handshake, with the first subprotocol that is offered; repeats what it is told.
struct Witness(Rc<RefCell<Vec<String>>>);

impl Witness {
    fn note(&self, what: &str, request: &Request<'_>) {
        let (path, query, host) = (request.path(), request.query(), request.host());
        assert!(path.starts_with('/') || path == "*", "{request:?}");
        assert!(host.is_some() || !request.is_http_1_1(), "{request:?}");
        let origin = request.origin().map(|origin| (origin, request.is_same_origin()));
        if let (1, Some((origin, is_same))) = (request.header_values("origin").count(), origin) {
            assert_eq!(is_same, host.is_some_and(|host| naive::is_same_origin(origin, host)), "{request:?}");
        }
        let policy = OriginPolicy::same_origin(NoOrigin::Permit);
        assert_eq!(policy.permits(request), request.is_same_origin(), "{request:?}");
        self.0.borrow_mut().push(format!("{what} {path} {query:?} {host:?} {origin:?}"));
    }
}

impl Handler for Witness {
    fn on_handshake(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Result<Accept, Response> {
        let chosen = request.subprotocols().next().map(str::to_owned);
        self.note(&format!("handshake {}", chosen.as_deref().unwrap_or_default()), request);
        Ok(chosen.into_iter().fold(Accept::new(), Accept::subprotocol))
    }

    fn on_http(&mut self, _: &mut Peer<'_, '_>, request: &Request<'_>) -> Response {
        self.note("plain", request);
        Response::upgrade_required()
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        self.0.borrow_mut().push(format!("{message:?}"));
        peer.send(message);
        Ok(())
    }
}
