//! Its command line and its output.

use super::*;

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
        assert!(why.starts_with(reason), "{line}");
    }
}
