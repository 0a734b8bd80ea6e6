//! What its ports answer, and whom they refuse.

use super::*;

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
fn websocket_echo_is_compressed_for_who_offers_it() {
    let server = Server::start(&["--quiet"]);
    let shake_hands = |extensions: &str| {
        let mut stream = server.connect("websocket");
        let request = format!(
            "GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{extensions}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let head = String::from_utf8(head).unwrap();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        (stream, head)
    };
    let (_, head) = shake_hands("");
    assert!(!head.contains("Extensions"), "{head}");

    let (mut stream, head) = shake_hands("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n");
    let agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert!(head.contains(&format!("\r\nSec-WebSocket-Extensions: {agreed}\r\n")), "{head}");
    // "Hello" as RFC 7692 §7.2.3.1 compresses it comes back as it is, being short; 2000 times the same does not.
    stream.write_all(&[0xc1, 0x87, 0, 0, 0, 0, 0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00]).unwrap();
    let mut frame = [0; 7];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(frame, *b"\x81\x05Hello");
    let long = [&[0x81, 0xfe, 0x07, 0xd0, 0, 0, 0, 0][..], &[b'a'; 2000]].concat();
    stream.write_all(&long).unwrap();
    let mut header = [0; 2];
    stream.read_exact(&mut header).unwrap();
    assert!(header[0] == 0xc1 && header[1] < 126, "compressed, to less than 126 bytes: {header:x?}");
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
