//! The server example as its user meets it: its command line, its output, its ports and its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal::{SIGINT, SIGTERM};
use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::error::ProtocolError;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{WebSocket, WebSocketConfig};
use tungstenite::{Error, Message};

mod support;

use support::{DEADLINE, Finished, NAMES, Program, Server, example, now};

type Client = WebSocket<TcpStream>;

fn open(server: &Server, path: &str, origin: Option<&str>) -> Result<Client, Error> {
    let mut request = format!("ws://{}{path}", server.address("websocket")).into_client_request()?;
    if let Some(origin) = origin {
        request.headers_mut().insert("Origin", HeaderValue::from_str(origin).expect("a header's value"));
    }
    let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
    match tungstenite::client::client_with_config(request, server.connect("websocket"), Some(config)) {
        Ok((client, _)) => Ok(client),
        Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
        Err(tungstenite::HandshakeError::Interrupted(_)) => panic!("the handshake takes too long"),
    }
}

/// The status with which an opening handshake is refused.
fn refusal(server: &Server, path: &str, origin: Option<&str>) -> u16 {
    match open(server, path, origin) {
        Err(Error::Http(response)) => response.status().as_u16(),
        other => panic!("{other:?}"),
    }
}

/// A request in plain HTTP, and all of the answer.
fn http(server: &Server, request: &str) -> String {
    let mut stream = server.connect("websocket");
    stream.write_all(request.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and its end");
    answer
}

fn round_trip(stream: &mut TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).expect("the server to read");
    let mut back = vec![0; bytes.len()];
    stream.read_exact(&mut back).expect("the server to answer");
    assert!(back == bytes, "the echo differs");
}

fn read_close(client: &mut Client) -> (CloseCode, String) {
    loop {
        match client.read().expect("a close frame") {
            Message::Close(Some(frame)) => return (frame.code, frame.reason.to_string()),
            Message::Close(None) => panic!("a close frame without a code"),
            _ => {}
        }
    }
}

/// The feed's next frame in which `found` finds something.
fn await_frame<T>(feed: &mut Client, what: &str, mut found: impl FnMut(&Value) -> Option<T>) -> T {
    let end = now() + DEADLINE;
    while now() < end {
        if let Message::Text(text) = feed.read().expect("the feed goes on")
            && let Some(found) = found(&serde_json::from_str(&text).expect("JSON"))
        {
            return found;
        }
    }
    panic!("{what} never showed");
}

fn of<'a>(frame: &'a Value, name: &str) -> &'a Value {
    let protocols = frame["protocols"].as_array().expect("protocols");
    protocols.iter().find(|protocol| protocol["name"] == name).expect("a protocol of that name")
}

fn heard(stream: TcpStream) -> String {
    let mut text = String::new();
    BufReader::new(stream).read_line(&mut text).expect("a line");
    text
}

// The command line.

#[test]
fn standard_output_is_the_addresses_and_ready_and_at_the_end_the_tally() {
    for quiet in [&["--quiet"][..], &[]] {
        let mut server = Server::start(quiet); // which checks the first five lines
        round_trip(&mut server.connect("tcp-echo"), b"hello");
        server.program.signal(SIGTERM);
        let Finished { status, stdout, stderr } = server.program.finish();
        assert_eq!(status.code(), Some(0));
        assert_eq!(
            stdout[..4],
            [
                "tcp-echo served 1 connections, 5 bytes in, 5 bytes out",
                "udp-echo served 0 datagrams, 0 bytes in, 0 bytes out",
                "heartbeat served 0 connections, 0 bytes in, 0 bytes out",
                "websocket served 0 connections, 0 bytes in, 0 bytes out",
            ]
        );
        assert!(stdout[4].starts_with("stopped: ") && stdout.len() == 5, "{stdout:?}");
        assert_eq!(stderr.is_empty(), !quiet.is_empty(), "{stderr:?}");
    }
}

#[test]
fn the_defaults_are_told_by_help() {
    let Finished { status, stdout, .. } = Program::start("server", &["--help"]).finish();
    assert_eq!(status.code(), Some(0));
    let help = stdout.join("\n");
    for default in ["127.0.0.1:7000", "127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:8080", "16384", "64MiB"] {
        assert!(help.contains(&format!("[default: {default}]")), "{default}: {help}");
    }
}

#[test]
fn a_mistake_on_the_command_line_exits_2_and_names_it() {
    for (arguments, named) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["--tcp-echo", "nowhere"], "nowhere"),
        (&["--ping-interval", "soon"], "soon"),
        (&["--ping-interval", "-1"], "-1"),
        (&["--ping-interval", "5", "--ping-timeout", "4s"], "timeout"),
        (&["--connections", "0"], "connections"),
        (&["--max-message", "2GiB", "--memory", "1GiB"], "max_message"),
        (&["--quiet", "--verbose"], "--verbose"),
        (&["stray"], "stray"),
    ] {
        let Finished { status, stdout, stderr } = Program::start("server", arguments).finish();
        assert_eq!(status.code(), Some(2), "{arguments:?}");
        assert!(stdout.is_empty(), "{stdout:?}");
        assert!(stderr[0].starts_with("error: ") && stderr[0].contains(named), "{arguments:?}: {stderr:?}");
    }
}

#[test]
fn a_port_in_use_is_told_in_one_line_and_exits_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken_udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    for name in NAMES {
        let address = if name == "udp-echo" { taken_udp.local_addr() } else { taken.local_addr() }.unwrap().to_string();
        let mut arguments = vec![format!("--{name}"), address.clone()];
        for other in NAMES.iter().filter(|other| **other != name) {
            arguments.extend([format!("--{other}"), "127.0.0.1:0".to_owned()]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let Finished { status, stdout, stderr } = Program::start("server", &arguments).finish();
        assert_eq!(status.code(), Some(1), "{name}");
        assert!(stdout.is_empty(), "{name}: {stdout:?}");
        assert_eq!(stderr.len(), 1, "{stderr:?}");
        assert!(stderr[0].starts_with(&format!("error: {name} cannot listen on {address}: ")), "{stderr:?}");
    }
}

#[test]
fn verbose_prints_a_line_when_a_connection_opens_and_when_it_closes_and_why() {
    let server = Server::start(&["--verbose"]);
    for (name, said, reason) in [
        ("tcp-echo", &b"hello"[..], "closed by the peer"),
        ("heartbeat", b"nonsense\n", "the peer broke the protocol: "),
        ("websocket", b"GET / HTTP/1.0\r\n\r\n", "closed by this side"),
    ] {
        let mut stream = server.connect(name);
        let peer = stream.local_addr().unwrap();
        assert_eq!(server.program.line(), format!("{name} {peer} opened"));
        stream.write_all(said).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let line = server.program.line();
        let rest = line.strip_prefix(&format!("{name} {peer} closed after ")).unwrap_or_else(|| panic!("{line}"));
        let (seconds, why) = rest.split_once(" s: ").unwrap();
        assert!(seconds.parse::<f64>().unwrap() < DEADLINE.as_secs_f64(), "{line}");
        assert!(why.starts_with(reason) || name == "tcp-echo" && why == "closed by this side", "{line}");
    }
}

// Its end.

#[test]
fn one_signal_drains_and_exits_0_within_five_seconds() {
    for signal in [SIGTERM, SIGINT] {
        let mut server = Server::start(&[]);
        let mut echo = server.connect("tcp-echo");
        round_trip(&mut echo, b"hello");
        let mut beat = server.connect("heartbeat");
        beat.write_all(b"PING 1\n").unwrap();
        let mut answer = [0; 7];
        beat.read_exact(&mut answer).unwrap();
        let mut web = open(&server, "/echo", None).unwrap();
        let asked = now();
        server.program.signal(signal);
        assert_eq!(read_close(&mut web).0, CloseCode::Away);
        while web.read().is_ok() {} // answers the close frame, and waits for the end
        assert_eq!(echo.read(&mut answer).unwrap(), 0);
        drop((echo, beat));
        let Finished { status, stdout, .. } = server.program.finish();
        assert!(asked.elapsed() < Duration::from_secs(5));
        assert_eq!(status.code(), Some(0));
        let last = stdout.last().unwrap();
        assert!(last.starts_with("stopped: 3 connections drained, 0 cut off, in "), "{last}");
    }
}

#[test]
fn who_does_not_say_goodbye_is_cut_off_within_five_seconds() {
    let mut server = Server::start(&["--quiet"]);
    let silent = open(&server, "/echo", None).unwrap();
    let asked = now();
    server.program.signal(SIGTERM);
    let Finished { status, stdout, .. } = server.program.finish();
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert_eq!(status.code(), Some(0));
    assert!(stdout.last().unwrap().contains("1 cut off"), "{stdout:?}");
    drop(silent);
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut server = Server::start(&[]);
    assert!(server.program.error_line().contains(&server.address("websocket").to_string()));
    let silent = open(&server, "/echo", None).unwrap();
    server.program.signal(SIGINT);
    assert!(server.program.error_line().contains("again"), "the drain has begun");
    let asked = now();
    server.program.signal(SIGINT);
    let Finished { status, stdout, .. } = server.program.finish();
    assert!(asked.elapsed() < Duration::from_secs(2));
    assert_eq!(status.code(), Some(130), "as shells say of SIGINT");
    assert!(stdout.last().unwrap().contains("1 cut off"), "{stdout:?}");
    drop(silent);
}

// Its ports.

#[test]
fn tcp_echo_gives_back_everything_and_then_the_end() {
    let server = Server::start(&["--quiet"]);
    let mut stream = server.connect("tcp-echo");
    let sent: Vec<u8> = (0_u32..2 * 1024 * 1024).flat_map(u32::to_le_bytes).collect();
    let (mut writer, bytes) = (stream.try_clone().unwrap(), sent.clone());
    let writing = std::thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut back = Vec::new();
    stream.read_to_end(&mut back).unwrap();
    writing.join().unwrap();
    assert!(back == sent, "{} of {} bytes", back.len(), sent.len());
}

#[test]
fn udp_echo_gives_back_datagrams_of_every_size() {
    let server = Server::start(&["--quiet"]);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.connect(server.address("udp-echo")).unwrap();
    let mut back = vec![0; 65_536];
    for size in [0, 1, 1472, 9000, 65_507] {
        socket.send(&vec![7; size]).unwrap();
        assert_eq!(socket.recv(&mut back).unwrap(), size);
    }
}

#[test]
fn heartbeat_answers_and_asks_and_gives_up_the_silent() {
    let server = Server::start(&["--verbose", "--ping-interval", "50ms", "--ping-timeout", "0.2"]);
    let mut stream = server.connect("heartbeat");
    let peer = stream.local_addr().unwrap();
    assert_eq!(server.program.line(), format!("heartbeat {peer} opened"));
    stream.write_all(b"PING 41\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("PONG 41"));
    assert_eq!(lines.next().as_deref(), Some("PING 1"));
    assert!(lines.all(|line| line.starts_with("PING ")), "and then the end");
    let line = server.program.line();
    assert!(line.starts_with(&format!("heartbeat {peer} closed ")) && line.contains("no sign of life"), "{line}");
}

#[test]
fn websocket_echo_gives_back_text_and_bytes_from_any_origin() {
    let server = Server::start(&["--quiet"]);
    let mut client = open(&server, "/echo", Some("http://elsewhere.example")).unwrap();
    let long = "é".repeat(1 << 20);
    let large: Vec<u8> = (0..64 << 20).map(|i: u32| i.to_le_bytes()[1]).collect();
    let messages = [Message::text(""), Message::text("hello"), Message::text(long), Message::binary(vec![0, 255])];
    for message in messages.into_iter().chain([Message::binary(large)]) {
        client.send(message.clone()).unwrap();
        assert!(client.read().unwrap() == message, "{} bytes", message.len());
    }
    client.send(Message::binary(vec![0; (64 << 20) + 1])).ok(); // it may be refused before all of it is out
    assert_eq!(read_close(&mut client).0, CloseCode::Size);
}

#[test]
fn the_page_is_served_and_nothing_else() {
    let server = Server::start(&["--quiet"]);
    let page = http(&server, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for field in
        ["Content-Type: text/html; charset=utf-8", "Cache-Control: no-cache", "X-Content-Type-Options: nosniff"]
    {
        assert!(head.contains(field), "{field}: {head}");
    }
    assert!(head.contains("Content-Security-Policy: default-src 'none'; style-src 'sha256-"), "{head}");
    assert!(!head.contains("unsafe") && head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    assert!(body.starts_with("<!doctype html>") && body.trim_end().ends_with("</html>"));
    let head_only = http(&server, "HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(head_only, format!("{head}\r\n\r\n"));
    let missing = http(&server, "GET /favicon.ico HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(missing.starts_with("HTTP/1.1 404 "), "{missing}");
    let post = http(&server, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("Allow: GET, HEAD"), "{post}");
    assert_eq!(refusal(&server, "/", None), 404);
}

#[test]
fn the_feed_is_for_its_own_pages() {
    let server = Server::start(&["--quiet"]);
    let own = format!("http://{}", server.address("websocket"));
    assert!(open(&server, "/feed", Some(&own)).is_ok());
    assert!(open(&server, "/feed", None).is_ok(), "programs send no Origin");
    assert_eq!(refusal(&server, "/feed", Some("http://elsewhere.example")), 403);
    assert_eq!(refusal(&server, "/feed", Some("http://127.0.0.1:1")), 403, "another port is another origin");
    assert_eq!(refusal(&server, "/feed", Some("null")), 403);
    let mut feed = open(&server, "/feed", None).unwrap();
    feed.send(Message::text("hello?")).unwrap();
    assert_eq!(read_close(&mut feed).0, CloseCode::Unsupported);
}

#[test]
fn the_feed_follows_what_goes_on() {
    let server = Server::start(&["--quiet", "--ping-interval", "50ms", "--ping-timeout", "20s"]);
    let mut feed = open(&server, "/feed", None).unwrap();
    await_frame(&mut feed, "nothing but the feed", |frame| {
        for name in NAMES {
            assert_eq!(of(frame, name)["address"], server.address(name).to_string());
        }
        assert_eq!(frame["max_message"], 64 << 20);
        assert_eq!(of(frame, "udp-echo")["open"], Value::Null);
        (of(frame, "websocket")["open"] == 1 && of(frame, "tcp-echo")["open"] == 0).then_some(())
    });

    let mut stream = server.connect("tcp-echo");
    round_trip(&mut stream, &[1; 1000]);
    let mut echo = open(&server, "/echo", None).unwrap();
    echo.send(Message::text("hello")).unwrap();
    await_frame(&mut feed, "traffic", |frame| {
        let tcp = of(frame, "tcp-echo");
        let seen = tcp["open"] == 1 && tcp["bytes_in"] == 1000 && tcp["bytes_out"] == 1000;
        (seen && of(frame, "websocket")["events_in"] == 1).then_some(())
    });

    let beat = server.connect("heartbeat");
    let peer = beat.local_addr().unwrap().to_string();
    let mut pong = beat.try_clone().unwrap();
    let answering = std::thread::spawn(move || {
        for line in BufReader::new(beat).lines().map_while(Result::ok) {
            pong.write_all(line.replace("PING", "PONG").as_bytes()).and_then(|()| pong.write_all(b"\n")).ok();
        }
    });
    let row = await_frame(&mut feed, "a round trip", |frame| {
        frame["heartbeats"]["rows"].as_array().unwrap().iter().find(|row| row["peer"] == peer).cloned()
    });
    assert_eq!(row["protocol"], "heartbeat");
    assert!(row["last_us"].as_u64().unwrap() <= row["worst_us"].as_u64().unwrap(), "{row}");
    await_frame(&mut feed, "the feed's own round trip", |frame| {
        frame["heartbeats"]["rows"].as_array().unwrap().iter().find(|row| row["protocol"] == "websocket").cloned()
    });

    drop(stream);
    await_frame(&mut feed, "the end of a connection", |frame| (of(frame, "tcp-echo")["open"] == 0).then_some(()));
    drop(server);
    answering.join().unwrap();
}

#[test]
fn garbage_on_every_port_is_refused_and_harms_nobody() {
    let server = Server::start(&["--quiet"]);
    let garbage: Vec<u8> = (0..100_000_u32).map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    for name in ["heartbeat", "websocket"] {
        let mut stream = server.connect(name);
        stream.write_all(&garbage).ok(); // it may be cut short
        let answer = heard(stream);
        let refused = if name == "heartbeat" { "ERR " } else { "HTTP/1.1 400 Bad Request" };
        assert!(answer.starts_with(refused), "{name}: {answer:?}");
    }
    let mut web = open(&server, "/echo", None).unwrap();
    web.get_mut().write_all(&garbage).ok();
    assert_eq!(read_close(&mut web).0, CloseCode::Protocol);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket.send_to(&garbage[..60_000], server.address("udp-echo")).unwrap();
    assert_eq!(socket.recv(&mut vec![0; 65_536]).unwrap(), 60_000);
    let mut stream = server.connect("tcp-echo");
    round_trip(&mut stream, &garbage[..1000]);
    let mut client = open(&server, "/echo", None).unwrap();
    client.send(Message::text("still here")).unwrap();
    assert_eq!(client.read().unwrap(), Message::text("still here"));
}

// Its limits.

#[test]
fn messages_beyond_the_limit_are_refused() {
    let server = Server::start(&["--quiet", "--max-message", "1KiB"]);
    let mut client = open(&server, "/echo", None).unwrap();
    client.send(Message::binary(vec![1; 1024])).unwrap();
    assert_eq!(client.read().unwrap().len(), 1024);
    client.send(Message::binary(vec![1; 1025])).unwrap();
    assert_eq!(read_close(&mut client).0, CloseCode::Size);
    assert!(matches!(
        client.read(),
        Err(Error::ConnectionClosed | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))
    ));
}

#[test]
fn further_connections_wait_until_one_has_gone() {
    let server = Server::start(&["--verbose", "--connections", "2"]);
    let mut first = server.connect("tcp-echo");
    round_trip(&mut first, b"1");
    let mut second = server.connect("tcp-echo");
    round_trip(&mut second, b"2");
    let mut third = server.connect("tcp-echo");
    third.write_all(b"3").unwrap();
    let mut opened = (0..2).map(|_| server.program.line());
    assert!(opened.all(|line| line.ends_with(" opened")));
    drop(first);
    let mut byte = [0];
    third.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"3");
    assert!(server.program.line().contains("closed"), "the first went before the third came");
    assert!(server.program.line().ends_with(" opened"));
}

#[test]
fn an_idle_echo_connection_is_closed() {
    let server = Server::start(&["--verbose", "--idle-timeout", "100ms"]);
    let mut stream = server.connect("tcp-echo");
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    assert!(server.program.line().ends_with(" opened"));
    assert!(server.program.line().contains("nothing came or went"), "the reason");
}

#[test]
fn too_few_descriptors_are_warned_of_and_outlived() {
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 40 && exec \"$0\" \"$@\""]).arg(example("server"));
    let server = Server::spawn(command);
    let warning = server.program.error_line();
    assert!(warning.starts_with("warning: only 40 descriptors are allowed"), "{warning}");
    let mut streams: Vec<TcpStream> = (0..60).map(|_| server.connect("tcp-echo")).collect();
    for stream in &mut streams {
        stream.write_all(b"x").unwrap();
    }
    let mut byte = [0];
    for mut stream in streams {
        stream.read_exact(&mut byte).unwrap(); // those without a descriptor have their turn when others have gone
    }
}
