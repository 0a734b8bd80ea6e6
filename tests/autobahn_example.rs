//! The autobahn example in both roles, as its user and the conformance suite meet it.

#![allow(clippy::result_large_err, reason = "tungstenite's callbacks have such errors")]

use std::net::{TcpListener, TcpStream};
use std::thread;

use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::server::{Request, Response};
use tungstenite::http::HeaderValue;
use tungstenite::protocol::{CloseFrame, WebSocket, WebSocketConfig, frame::coding::CloseCode};
use tungstenite::{Error, HandshakeError, Message};

mod support;

use support::{DEADLINE, Finished, Program};

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("ws://{}", listener.local_addr().expect("its address"));
    (listener, url)
}

fn client(arguments: &[&str]) -> Finished {
    Program::start("autobahn", &[&["client"], arguments].concat()).finish()
}

/// A connection of the client's, what it asked for, and the extensions it offered.
fn accept(listener: &TcpListener) -> (WebSocket<TcpStream>, String, String) {
    let (stream, _) = listener.accept().expect("the client");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let (mut target, mut offered) = (String::new(), String::new());
    let look = |request: &Request, response: Response| {
        target = request.uri().to_string();
        offered = request.headers()["sec-websocket-extensions"].to_str().expect("text").to_owned();
        Ok(response)
    };
    let websocket = tungstenite::accept_hdr(stream, look).expect("an opening handshake");
    (websocket, target, offered)
}

/// Closes, and drops what still comes.
fn close(mut websocket: WebSocket<TcpStream>, code: CloseCode) {
    websocket.close(Some(CloseFrame { code, reason: "".into() })).expect("the client to be there");
    let end = loop {
        if let Err(end) = websocket.read() {
            break end;
        }
    };
    assert!(matches!(end, Error::ConnectionClosed), "{end}");
}

#[test]
fn the_client_runs_every_case_and_asks_for_the_reports() {
    let (listener, url) = listener();
    let suite = thread::spawn(move || {
        let (mut websocket, target, offered) = accept(&listener);
        assert_eq!(target, "/getCaseCount");
        assert_eq!(offered, "permessage-deflate; client_max_window_bits");
        websocket.send(Message::text("3")).unwrap();
        close(websocket, CloseCode::Normal);
        for case in 1..=3 {
            let (mut websocket, target, _) = accept(&listener);
            assert_eq!(target, format!("/runCase?case={case}&agent=somebody"));
            for message in [Message::text("é".repeat(case)), Message::binary(vec![7; 1 << 20])] {
                websocket.send(message.clone()).unwrap();
                assert!(websocket.read().unwrap() == message);
            }
            match case {
                1 => close(websocket, CloseCode::Away),
                2 => drop(websocket), // some cases end like that
                _ => drop(websocket.get_mut().shutdown(std::net::Shutdown::Write)),
            }
        }
        let (websocket, target, _) = accept(&listener);
        assert_eq!(target, "/updateReports?agent=somebody");
        close(websocket, CloseCode::Normal);
    });
    let Finished { status, stdout, stderr } = client(&["--agent", "somebody", &format!("{url}/")]);
    suite.join().unwrap();
    assert_eq!((status.code(), stderr), (Some(0), vec![]));
    assert_eq!(stdout[0], "case 1 of 3: closed with 1001, closed by the peer");
    assert!(stdout[1].starts_with("case 2 of 3: closed with 1006") && stdout.len() == 3, "{stdout:?}");
}

#[test]
fn a_suite_that_is_none_exits_1() {
    let (free, url) = listener();
    drop(free);
    let Finished { status, stdout, stderr } = client(&[&url]);
    assert_eq!((status.code(), stdout), (Some(1), vec![]));
    assert!(stderr[0].starts_with(&format!("error: {url}/getCaseCount: could not connect: ")), "{stderr:?}");

    // A process that another test starts at that moment may have the listener, too, until it runs its own program: then the
    // connection to a case is made, and reset.
    let gone = ["could not connect", "connection broke"].as_slice();
    for (count, trouble) in
        [("many", ["invalid digit"].as_slice()), ("", &["no answer: closed by the peer"]), ("2", gone)]
    {
        let (suite, url) = suite_that_says(count);
        let Finished { status, stderr, .. } = client(&[&url]);
        suite.join().unwrap();
        assert_eq!(status.code(), Some(1), "{count:?}");
        let is_told = trouble.iter().any(|trouble| stderr[0].contains(trouble));
        assert!(is_told && stderr.len() == 1, "{count:?}: {stderr:?}");
    }
}

/// A suite that says how many cases it has, and is gone.
fn suite_that_says(count: &'static str) -> (thread::JoinHandle<()>, String) {
    let (listener, url) = listener();
    let suite = thread::spawn(move || {
        let (mut websocket, ..) = accept(&listener);
        drop(listener);
        if !count.is_empty() {
            websocket.send(Message::text(count)).expect("the client to listen");
        }
        websocket.close(None).expect("the client to be there");
        while websocket.read().is_ok() {}
    });
    (suite, url)
}

#[test]
fn the_server_echoes_long_messages_at_its_root_and_agrees_on_every_parameter() {
    let server = Program::start("autobahn", &["server", "127.0.0.1:0"]);
    let line = server.line();
    let address = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line}"));
    let connect = |path: &str, offer: &str| {
        let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Extensions", HeaderValue::from_str(offer).unwrap());
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        tungstenite::client::client_with_config(request, stream, Some(config))
    };
    for offer in [
        "permessage-deflate",
        "permessage-deflate; client_no_context_takeover; client_max_window_bits=10",
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=9",
    ] {
        let (_, answer) = connect("/", offer).unwrap();
        let agreed = answer.headers()["sec-websocket-extensions"].to_str().unwrap();
        for parameter in offer.split("; ") {
            assert!(agreed.split("; ").any(|agreed| agreed == parameter), "{agreed}, to {offer}");
        }
    }
    let (mut websocket, answer) = connect("/", "x-unknown").unwrap();
    assert_eq!(answer.headers().get("sec-websocket-extensions"), None);
    let long: Vec<u8> = (0..17 << 20).map(|i: u32| i.to_le_bytes()[1]).collect();
    websocket.send(Message::binary(long.clone())).unwrap();
    assert!(websocket.read().unwrap().into_data() == long);

    let Err(HandshakeError::Failure(Error::Http(refusal))) = connect("/elsewhere", "permessage-deflate") else {
        panic!("the echo is at / alone");
    };
    assert_eq!(refusal.status(), 404);

    let Finished { status, stderr, .. } = Program::start("autobahn", &["server", address]).finish();
    assert_eq!(status.code(), Some(1));
    assert!(stderr[0].starts_with(&format!("error: cannot listen on {address}: ")) && stderr.len() == 1, "{stderr:?}");
}

#[test]
fn a_mistake_on_the_command_line_exits_2_and_names_it() {
    for (arguments, named) in [
        (&[][..], "Usage"),
        (&["bystander"], "bystander"),
        (&["server"], "ADDR"),
        (&["server", "nowhere"], "nowhere"),
        (&["client", "http://127.0.0.1:9001"], "ws://"),
        (&["client", "wss://127.0.0.1:9001"], "TLS"),
    ] {
        let Finished { status, stdout, stderr } = Program::start("autobahn", arguments).finish();
        assert_eq!((status.code(), stdout), (Some(2), vec![]), "{arguments:?}");
        assert!(stderr.join("\n").contains(named), "{arguments:?}: {stderr:?}");
    }
    let Finished { status, stdout, .. } = Program::start("autobahn", &["client", "--help"]).finish();
    assert_eq!(status.code(), Some(0));
    assert!(stdout.join("\n").contains("[default: switchboard]"), "{stdout:?}");
}
