//! Its end: signals, the drain, the tally.

use std::process::Stdio;

use nix::sys::signal::kill;
use nix::unistd::Pid;

use super::*;

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

#[test]
fn nobody_reading_its_output_is_no_reason_to_stop_and_a_signal_still_drains() {
    let mut command = Command::new(example("server"));
    for name in NAMES {
        command.args([&format!("--{name}"), "127.0.0.1:0"]);
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take()); // nobody reads its standard error from the start
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while line != "ready\n" {
        line.clear();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it ends before it is ready");
    }
    drop(stdout);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), SIGTERM).unwrap();
    let end = now() + DEADLINE;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None if now() < end => std::thread::yield_now(),
            None => {
                let _ = child.kill();
                panic!("the signal is not heeded");
            }
        }
    };
    assert_eq!(status.code(), Some(0));
}
