//! The opening handshake on a connection, and plain HTTP in its place.

use std::rc::Rc;

use switchboard::{Context, Failure, Input, Message, Protocol};

use crate::deflate::{self, Parameters};
use crate::handshake::{self, Accept, AcceptKey, Answer, HandshakeError, InvalidAnswer, Request, Response};
use crate::state::{Phase, State};
use crate::{Handler, Peer, Settings, WebSocket};

impl<H: Handler> WebSocket<H> {
    /// More of the opening request has arrived, and perhaps frames right behind it.
    #[cold]
    pub(crate) fn on_opening(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        let Phase::Opening(opening) = &mut self.state.phase else { return Ok(()) };
        let settings = Rc::clone(&self.state.settings);
        let end = match opening.scanner.scan(input, settings.max_handshake) {
            Ok(Some(end)) => end,
            Ok(None) => return Ok(()),
            Err(error) => {
                let method = method_of(&input[..opening.scanner.scanned()]); // whatever else has come with it
                let error = match error {
                    // RFC 9112 §3 has a status for that.
                    HandshakeError::TooLarge { limit } if opening.scanner.is_in_first_line() => {
                        HandshakeError::TargetTooLong { limit }
                    }
                    error => error,
                };
                return Err(self.refuse_request(cx, error, method));
            }
        };
        let head = input.take(end);
        let method = method_of(head);
        let request = match Request::parse_scanned(head, &opening.scanner, settings.max_headers) {
            Ok(request) => request,
            Err(error) => return Err(self.refuse_request(cx, error, method)),
        };
        match examine(&request, &settings) {
            Ok(Some((key, agreed))) => match self.handler.on_handshake(&mut Peer::new(cx, &mut self.state), &request) {
                Ok(accept) => {
                    let accept = accept.agree_on(agreed);
                    let posts = self.accept(cx, &accept, &request, key)?;
                    return self.opened(cx, input, None, posts);
                }
                Err(response) => self.answer(cx, response, &request)?,
            },
            Ok(None) => {
                let response = self.handler.on_http(&mut Peer::new(cx, &mut self.state), &request);
                self.answer(cx, response, &request)?;
            }
            Err(error) => return Err(self.refuse_request(cx, error, request.method())),
        }
        input.take_all(); // RFC 9112 §9.6: after `Connection: close` no further request is looked at
        Ok(())
    }

    /// Sends the 101, and gives what was posted meanwhile.
    fn accept(
        &mut self,
        cx: &mut Context<'_>,
        accept: &Accept,
        request: &Request<'_>,
        key: AcceptKey,
    ) -> Result<Vec<Message>, Failure> {
        let Phase::Opening(opening) = &mut self.state.phase else { return Ok(Vec::new()) }; // cut off by the handler
        let Some(out) = cx.send_buffer() else { return Ok(Vec::new()) };
        if let Err(error) = accept.write(request, key, out) {
            return Err(self.misanswered(cx, error, request));
        }
        let posts = std::mem::take(&mut opening.posts);
        self.state.phase = Phase::Open;
        self.state.begin_compression(accept.compression);
        Ok(posts)
    }

    /// The WebSocket stands: the handler is told, then what was posted before and what came behind the request has its
    /// turn.
    pub(crate) fn opened(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut Input<'_>,
        answer: Option<&Answer<'_>>,
        posts: Vec<Message>,
    ) -> Result<(), Failure> {
        let mut posts = posts.into_iter();
        let mut said = self.say_open(cx, answer);
        while said.is_ok()
            && let Some(post) = posts.next()
        {
            said = self.on_message(cx, post);
        }
        posts.for_each(|_| self.state.count_unsent()); // where the handler failed
        said?;
        match self.state.phase {
            Phase::Open | Phase::Sending(_) if cx.is_reading_paused() => Ok(()),
            Phase::Open | Phase::Sending(_) => self.on_frames(cx, input),
            _ => self.on_other_data(cx, input),
        }
    }

    fn say_open(&mut self, cx: &mut Context<'_>, answer: Option<&Answer<'_>>) -> Result<(), Failure> {
        if self.state.is_open() {
            self.start_beat(cx);
        }
        cx.unasked(); // the handshake did not ask for what the handler has to say
        if let Some(answer) = answer {
            let handled = self.handler.on_accepted(&mut Peer::new(cx, &mut self.state), answer);
            self.handled(cx, handled)?;
        }
        if self.state.is_open() {
            let handled = self.handler.on_open(&mut Peer::new(cx, &mut self.state));
            self.handled(cx, handled)?;
        }
        Ok(())
    }

    /// Sends a plain answer, and closes.
    fn answer(&mut self, cx: &mut Context<'_>, response: Response, request: &Request<'_>) -> Result<(), Failure> {
        if !matches!(self.state.phase, Phase::Opening(_)) {
            return Ok(()); // the handler has cut the connection off
        }
        let Some(out) = cx.send_buffer() else { return Ok(()) };
        match response.write(request.method(), out) {
            Ok(body) => {
                cx.send_shared(body);
                self.state.give_up_opening();
                cx.close();
                Ok(())
            }
            Err(error) => Err(self.misanswered(cx, error, request)),
        }
    }

    /// The application's answer can't be sent: the client gets another.
    fn misanswered(&mut self, cx: &mut Context<'_>, error: InvalidAnswer, request: &Request<'_>) -> Failure {
        self.respond(cx, Response::text(500, "the application's answer was invalid\n"), request.method());
        Failure::caller(error)
    }

    fn refuse_request(&mut self, cx: &mut Context<'_>, error: HandshakeError, method: &str) -> Failure {
        self.respond(cx, Response::refusal(error), method);
        error.into_failure()
    }

    pub(crate) fn on_handshake_timeout(&mut self, cx: &mut Context<'_>) -> Failure {
        match &self.state.phase {
            // Who has not said a word is not talked to: browsers open connections that they may never use.
            Phase::Opening(opening) if !opening.scanner.has_begun() => HandshakeError::Timeout.into_failure(),
            _ => self.refuse_request(cx, HandshakeError::Timeout, "GET"),
        }
    }

    fn respond(&mut self, cx: &mut Context<'_>, response: Response, method: &str) {
        self.state.give_up_opening();
        if let Some(out) = cx.send_buffer() {
            let body = response.write_unchecked(method, out);
            cx.send_shared(body);
        }
    }
}

impl State {
    /// There will be no WebSocket: what was posted before is lost, and counted.
    pub(crate) fn give_up_opening(&mut self) {
        if let Phase::Opening(opening) = std::mem::replace(&mut self.phase, Phase::Answered) {
            self.unsent = self.unsent.saturating_add(u32::try_from(opening.posts.len()).unwrap_or(u32::MAX));
        }
    }
}

/// What a request asks for, if it is an opening handshake: the key to answer it with, and what its offers of compression
/// come to (RFC 7692 §5).
fn examine(
    request: &Request<'_>,
    settings: &Settings,
) -> Result<Option<(AcceptKey, Option<Parameters>)>, HandshakeError> {
    let Some(key) = handshake::examine(request)? else { return Ok(None) };
    settings.origins.admit(request)?;
    let Some(compression) = &settings.compression else { return Ok(Some((key, None))) };
    Ok(Some((key, deflate::accept(&request.extensions()?, compression))))
}

/// Whether it is `HEAD`, of a request that may not be readable: whatever the answer, it has no body (RFC 9110 §9.3.2).
fn method_of(head: &[u8]) -> &'static str {
    let mut lines = head;
    while let Some(rest) = lines.strip_prefix(b"\r\n") {
        lines = rest;
    }
    if lines.starts_with(b"HEAD ") { "HEAD" } else { "GET" }
}
