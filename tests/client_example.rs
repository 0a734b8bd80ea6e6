//! The client example against real peers: what it prints, and what it exits with.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, UdpSocket};
use std::thread;
use std::time::Duration;

mod support;

use socket2::{Domain, Socket, Type};
use support::{Finished, Program, Server, now};

fn client(arguments: &[&str]) -> Finished {
    Program::start("client", arguments).finish()
}

fn said(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn lines_come_back_over_tcp() {
    let server = Server::start(&["--quiet"]);
    let Finished { status, stdout, stderr } =
        client(&[&server.address("tcp-echo").to_string(), "hello", "", "wörld with spaces"]);
    assert_eq!((status.code(), stderr), (Some(0), vec![]));
    assert_eq!(stdout, said(&["hello", "", "wörld with spaces"]));
}

#[test]
fn lines_come_back_over_udp() {
    let server = Server::start(&["--quiet"]);
    let Finished { status, stdout, stderr } =
        client(&["--udp", &server.address("udp-echo").to_string(), "hello", "", "world"]);
    assert_eq!((status.code(), stderr), (Some(0), vec![]));
    assert_eq!(stdout, said(&["hello", "", "world"]));
}

#[test]
fn a_host_name_is_resolved() {
    let server = Server::start(&["--quiet"]);
    let port = server.address("tcp-echo").port();
    let Finished { status, stdout, .. } = client(&[&format!("localhost:{port}"), "by name"]);
    assert_eq!((status.code(), stdout), (Some(0), said(&["by name"])));
}

#[test]
fn lines_are_read_from_the_standard_input_and_there_may_be_many() {
    let server = Server::start(&["--quiet"]);
    let lines: Vec<String> = (0..200_000).map(|i| format!("line {i} of many")).collect();
    let mut program = Program::start("client", &[&server.address("tcp-echo").to_string()]);
    program.input(lines.join("\n").as_bytes());
    let Finished { status, stdout, .. } = program.finish();
    assert_eq!(status.code(), Some(0));
    assert!(stdout == lines, "{} of {} lines", stdout.len(), lines.len());
}

#[test]
fn a_refused_connection_exits_1() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // and closed again
    let Finished { status, stdout, stderr } = client(&[&free.to_string(), "hello"]);
    assert_eq!((status.code(), stdout), (Some(1), vec![]));
    assert!(stderr[0].starts_with(&format!("error: {free}: could not connect: ")) && stderr.len() == 1, "{stderr:?}");
}

#[test]
fn it_can_wait_for_a_peer_that_is_not_there_yet() {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap(); // the port is ours, but nobody listens
    let peer = socket.local_addr().unwrap().as_socket().unwrap();
    let mut program = Program::start("client", &["--retry", &peer.to_string(), "hello"]);
    for _ in 0..2 {
        let refused = program.error_line();
        assert!(refused.starts_with(&format!("{peer}: could not connect: ")), "{refused}");
        assert!(refused.ends_with("; trying again"), "{refused}");
    }
    socket.listen(1).unwrap();
    let listener = TcpListener::from(socket);
    let (mut stream, _) = listener.accept().unwrap();
    let mut heard = String::new();
    stream.read_to_string(&mut heard).unwrap();
    stream.write_all(heard.to_uppercase().as_bytes()).unwrap();
    drop(stream);
    let Finished { status, stdout, .. } = program.finish();
    assert_eq!((status.code(), stdout), (Some(0), said(&["HELLO"])));
}

#[test]
fn a_connection_that_breaks_is_not_made_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let mut program = Program::start("client", &["--retry", &peer.to_string(), "hello"]);
    let (stream, _) = listener.accept().unwrap();
    stream.peek(&mut [0]).unwrap();
    drop(stream); // a reset: its input is unread
    let Finished { status, stderr, .. } = program.finish();
    assert_eq!((status.code(), stderr.len()), (Some(1), 1), "{stderr:?}");
}

#[test]
fn a_silent_peer_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap(); // accepts nobody: the system does
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for (flags, peer) in [(&[][..], listener.local_addr()), (&["--udp"], socket.local_addr())] {
        let (peer, started) = (peer.unwrap().to_string(), now());
        let Finished { status, stderr, .. } = client(&[flags, &["--timeout", "200ms", &peer, "hello"]].concat());
        assert_eq!(status.code(), Some(1));
        assert!(stderr[0].contains("nothing came"), "{stderr:?}");
        assert!(started.elapsed() >= Duration::from_millis(200));
    }
}

#[test]
fn a_reset_exits_1() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let resetting = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.peek(&mut [0]).unwrap(); // closing with input unread resets
    });
    let Finished { status, stderr, .. } = client(&[&peer.to_string(), "hello"]);
    resetting.join().unwrap();
    assert_eq!(status.code(), Some(1), "{stderr:?}");
    assert!(stderr[0].contains("connection broke"), "{stderr:?}");
}

#[test]
fn strangers_answers_are_not_taken_for_the_peers() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let peer = socket.local_addr().unwrap().to_string();
    let answering = thread::spawn(move || {
        let mut line = [0; 100];
        let (length, client) = socket.recv_from(&mut line).unwrap();
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"stranger", client).unwrap();
        socket.send_to(&line[..length], client).unwrap();
    });
    let Finished { status, stdout, .. } = client(&["--udp", &peer, "hello"]);
    answering.join().unwrap();
    assert_eq!((status.code(), stdout), (Some(0), said(&["hello"])));
}

#[test]
fn what_comes_without_being_asked_is_printed_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap();
    let talking = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"welcome\n").unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        stream.write_all(b"bye").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        heard
    });
    let Finished { status, stdout, .. } = client(&[&peer.to_string(), "hello"]);
    assert_eq!(talking.join().unwrap(), "hello\n");
    assert_eq!((status.code(), stdout), (Some(0), said(&["welcome", "bye"])));
}

#[cfg(unix)]
#[test]
fn lines_come_back_over_a_unix_socket() {
    let path = std::env::temp_dir().join(format!("switchboard-client-{}", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let answering = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        stream.write_all(heard.to_uppercase().as_bytes()).unwrap();
    });
    let peer = format!("unix:{}", path.display());
    let Finished { status, stdout, .. } = client(&[&peer, "hello"]);
    answering.join().unwrap();
    assert_eq!((status.code(), stdout), (Some(0), said(&["HELLO"])));
    let Finished { status, stderr, .. } = client(&["--udp", &peer, "hello"]);
    assert_eq!((status.code(), stderr), (Some(1), vec![format!("error: {peer}: datagrams can't go there")]));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_name_that_nobody_has_exits_1() {
    for flags in [&[][..], &["--udp"]] {
        let Finished { status, stdout, stderr } = client(&[flags, &["host.invalid:7000", "hello"]].concat());
        assert_eq!((status.code(), stdout), (Some(1), vec![]));
        assert!(stderr[0].starts_with("error: host.invalid:7000: "), "{stderr:?}");
    }
}

#[test]
fn a_mistake_in_the_arguments_exits_2() {
    for (arguments, named) in [
        (&[][..], "HOST:PORT"),
        (&["no-port"], "no-port"),
        (&["--timeout", "soon", "127.0.0.1:7000"], "soon"),
        (&["--tls", "127.0.0.1:7000"], "--tls"),
        (&["--udp", "--retry", "127.0.0.1:7000"], "--retry"),
    ] {
        let Finished { status, stdout, stderr } = client(arguments);
        assert_eq!((status.code(), stdout), (Some(2), vec![]), "{arguments:?}");
        assert!(stderr.join("\n").contains(named), "{arguments:?}: {stderr:?}");
    }
}
