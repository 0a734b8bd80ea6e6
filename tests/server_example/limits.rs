//! Its limits.

use super::*;

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
