//! The bench_server example as a measurement meets it: a process that is ready, answers, and ends when it is told.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal::{SIGINT, SIGTERM};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::protocol::{WebSocket, frame::coding::CloseCode};
use tungstenite::{Error, Message};

mod support;

use support::{DEADLINE, Finished, Program, assert_help_tells, assert_refused, now};

const PROTOCOLS: [&str; 4] = ["tcp-echo", "udp-echo", "ws-echo", "wsz-echo"];

fn start(arguments: &[&str]) -> (Program, SocketAddr) {
    let program = Program::start("bench_server", arguments);
    let address = program.address(arguments[0]);
    assert!(address.ip().is_loopback() && address.port() != 0, "{address}");
    assert_eq!(program.line(), "ready");
    (program, address)
}

fn assert_ends(mut program: Program) {
    let Finished { status, stdout, stderr } = program.finish();
    assert_eq!((status.code(), stdout, stderr), (Some(0), vec![], vec![]));
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, DEADLINE).expect("the server to accept");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    stream
}

/// Opens a WebSocket whose client can compress, and gives what was agreed on.
fn open(address: SocketAddr) -> (WebSocket<TcpStream>, Option<String>) {
    let mut request = format!("ws://{address}/any").into_client_request().expect("a request");
    request.headers_mut().insert("Sec-WebSocket-Extensions", HeaderValue::from_static("permessage-deflate"));
    let (client, answer) = tungstenite::client(request, connect(address)).expect("an opening handshake");
    let agreed =
        answer.headers().get("sec-websocket-extensions").map(|agreed| agreed.to_str().expect("text").to_owned());
    (client, agreed)
}

/// The loop says goodbye to a WebSocket that stands.
fn assert_goodbye(mut client: WebSocket<TcpStream>) {
    let Message::Close(Some(frame)) = client.read().expect("a close frame") else { panic!("a close frame") };
    assert_eq!(frame.code, CloseCode::Away);
    assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
}

#[test]
fn tcp_echo_gives_back_every_byte_and_ends_by_sigterm() {
    let (program, address) = start(&["tcp-echo", "0"]);
    let mut client = connect(address);
    let sent = vec![7; 100_000];
    client.write_all(&sent).unwrap();
    let mut back = vec![0; sent.len()];
    client.read_exact(&mut back).unwrap();
    assert!(back == sent);
    program.signal(SIGTERM);
    assert_eq!(client.read(&mut back).unwrap(), 0);
    assert_ends(program);
}

#[test]
fn udp_echo_gives_back_every_datagram_and_ends_by_ctrl_c() {
    let (program, address) = start(&["udp-echo", "0"]);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client.connect(address).unwrap();
    let mut back = [0; 2000];
    for size in [0, 20, 1400] {
        client.send(&vec![7; size]).unwrap();
        assert_eq!(client.recv(&mut back).unwrap(), size);
    }
    program.signal(SIGINT);
    assert_ends(program);
}

#[test]
fn ws_echo_gives_back_every_message_uncompressed_and_ends_by_sigterm() {
    let (program, address) = start(&["ws-echo", "0"]);
    let (mut client, agreed) = open(address);
    assert_eq!(agreed, None);
    for message in [Message::text("é"), Message::binary(vec![7; 1 << 20])] {
        client.send(message.clone()).unwrap();
        assert!(client.read().unwrap() == message);
    }
    program.signal(SIGTERM);
    assert_goodbye(client);
    assert_ends(program);
}

#[test]
fn wsz_echo_gives_back_every_message_compressed_and_ends_by_sigterm() {
    let mut lengths = Vec::new();
    for level in [&[][..], &["--level", "1"]] {
        let (program, address) = start(&[&["wsz-echo", "0"], level].concat());
        let (mut client, agreed) = open(address);
        assert!(agreed.is_some_and(|agreed| agreed.starts_with("permessage-deflate")));
        lengths.push(compressed_echo(client.get_mut()));
        program.signal(SIGTERM);
        assert_goodbye(client);
        assert_ends(program);
    }
    assert!(lengths[0] < lengths[1] && lengths[1] < 4000, "{lengths:?}: level 1 is the faster, 6 the smaller");
}

/// Sends some numbers (4,890 bytes) as they are, and gives the length of the compressed frame that comes back.
fn compressed_echo(stream: &mut TcpStream) -> u16 {
    let text: String = (0..1000).map(|n| format!("{n} ")).collect::<String>() + &"ab".repeat(500);
    let length = u16::try_from(text.len()).expect("a short text").to_be_bytes();
    stream.write_all(&[0x81, 0x80 | 126, length[0], length[1], 0, 0, 0, 0]).expect("the server to read"); // masked by zeros
    stream.write_all(text.as_bytes()).expect("the server to read");
    let mut header = [0; 4];
    stream.read_exact(&mut header).expect("the server to answer");
    assert_eq!(header[..2], [0xc1, 126], "RSV1, and a length of two bytes");
    let length = u16::from_be_bytes([header[2], header[3]]);
    stream.read_exact(&mut vec![0; length.into()]).expect("the server to answer");
    length
}

/// Has a message echoed again and again until that ends; says when it has begun.
fn load(protocol: &str, address: SocketAddr, begun: &Sender<()>) {
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    udp.connect(address).expect("a route");
    // What the server has not read when it ends is lost.
    udp.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let mut tcp = (protocol == "tcp-echo").then(|| connect(address));
    let mut web_socket = (protocol == "ws-echo").then(|| open(address).0);
    let refused = Err(ErrorKind::ConnectionRefused);
    let mut round = || match (&mut tcp, &mut web_socket) {
        (Some(tcp), _) => tcp.write_all(&[7; 20]).is_ok() && tcp.read_exact(&mut [0; 20]).is_ok(),
        (_, Some(it)) => it.send(Message::binary(vec![7; 20])).is_ok() && it.read().is_ok_and(|it| it.is_binary()),
        _ => udp.send(&[7; 20]).is_ok() && udp.recv(&mut [0; 20]).map_err(|it| it.kind()) != refused,
    };
    assert!(round());
    begun.send(()).expect("somebody to wait for it");
    while round() {}
}

#[test]
fn sigterm_ends_it_in_the_midst_of_load() {
    for protocol in &PROTOCOLS[..3] {
        let (program, address) = start(&[protocol, "0"]);
        let (begun, begins) = channel();
        let load = || {
            let begun = begun.clone();
            thread::spawn(move || load(protocol, address, &begun))
        };
        let clients: Vec<_> = (0..4).map(|_| load()).collect();
        clients.iter().for_each(|_| begins.recv_timeout(DEADLINE).unwrap());
        program.signal(SIGTERM);
        assert_ends(program);
        clients.into_iter().for_each(|client| client.join().unwrap());
    }
}

#[test]
#[cfg(target_os = "linux")]
fn it_is_measured_without_a_second_thread() {
    for protocol in PROTOCOLS {
        let (program, _) = start(&[protocol, "0"]);
        let tasks = std::fs::read_dir(format!("/proc/{}/task", program.id())).unwrap();
        assert_eq!(tasks.count(), 1, "{protocol}");
        program.signal(SIGTERM);
        assert_ends(program);
    }
}

#[test]
fn a_second_signal_does_not_wait_for_who_says_no_goodbye() {
    let (program, address) = start(&["ws-echo", "0"]);
    let (mut client, _) = open(address);
    program.signal(SIGTERM);
    let mut goodbye = [0; 4];
    client.get_mut().read_exact(&mut goodbye).unwrap();
    assert_eq!(goodbye[0], 0x88, "a close frame, which is not answered");
    let begin = now();
    program.signal(SIGINT);
    assert_ends(program);
    assert!(now() - begin < Duration::from_secs(3), "the first signal's four seconds are waited for");
}

#[test]
fn more_connections_than_were_asked_for_wait() {
    let (_program, address) = start(&["tcp-echo", "0", "--connections", "1"]);
    let (mut first, mut second) = (connect(address), connect(address));
    second.write_all(b"2").unwrap();
    for _ in 0..10 {
        first.write_all(b"1").unwrap();
        first.read_exact(&mut [0]).unwrap(); // a turn, in which the second could have been accepted
    }
    second.set_nonblocking(true).unwrap();
    assert_eq!(second.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    second.set_nonblocking(false).unwrap();
    drop(first);
    second.read_exact(&mut [0]).unwrap();
}

#[test]
fn a_port_in_use_is_told_and_exits_1() {
    let (tcp, udp) = (TcpListener::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    for protocol in PROTOCOLS {
        let taken = if protocol == "udp-echo" { udp.local_addr() } else { tcp.local_addr() }.unwrap();
        let port = taken.port().to_string();
        let said = assert_refused("bench_server", &[protocol, &port], 1, &taken.to_string());
        assert!(said.len() == 1 && said[0].contains(protocol), "{said:?}");
    }
}

#[test]
fn a_mistake_on_the_command_line_exits_2_and_names_it() {
    for (arguments, named) in [
        (&["tcp-echo"][..], "PORT"),
        (&["sctp-echo", "0"], "sctp-echo"),
        (&["tcp-echo", "65536"], "65536"),
        (&["wsz-echo", "0", "--level", "10"], "10"),
        (&["ws-echo", "0", "--level", "6"], "--level"),
        (&["tcp-echo", "0", "stray"], "stray"),
    ] {
        assert_refused("bench_server", arguments, 2, named);
    }
    assert_refused("bench_server", &["tcp-echo", "0", "--connections", "0"], 1, "connections");
}

#[test]
fn help_tells_the_protocols_and_the_defaults() {
    assert_help_tells("bench_server", &[], &["[default: 16384]", "[default: 6]"]);
    assert_help_tells("bench_server", &[], &PROTOCOLS);
}
