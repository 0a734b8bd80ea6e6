//! Its command line, its port and its end.

use super::*;
use crate::support::{assert_help_tells, assert_refused};

#[test]
fn the_defaults_are_told_by_help() {
    let told = ["[default: 127.0.0.1:8082]", "[default: 20]", "[default: 60]", "[default: 30]"];
    assert_help_tells("live", &[], &told);
}

#[test]
fn a_mistake_on_the_command_line_exits_2_and_names_it() {
    for (arguments, named) in [
        (&[][..], "--token"),
        (&["--demo", "--no-such-flag"], "--no-such-flag"),
        (&["--token", ""], "--token"),
        (&["--demo", "--token", "secret"], "--token"),
        (&["--demo", "--listen", "nowhere"], "nowhere"),
        (&["--demo", "--rate", "0"], "--rate"),
        (&["--demo", "--key-every", "1001"], "--key-every"),
        (&["--demo", "--behind", "none"], "--behind"),
        (&["--demo", "stray"], "stray"),
    ] {
        assert_refused("live", arguments, 2, named);
    }
}

#[test]
fn a_port_in_use_is_told_in_one_line_and_exits_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let named = format!("error: web cannot listen on {address}: ");
    let told = assert_refused("live", &["--demo", "--listen", &address], 1, &named);
    assert_eq!(told.len(), 1, "{told:?}");
}

#[test]
fn a_signal_says_goodbye_to_viewers_and_publisher() {
    for signal in [SIGINT, SIGTERM] {
        let mut live = Live::start(&["--demo", "--rate", "100"]);
        let mut viewer = live.viewer();
        assert!(viewer.next().is_key);
        live.program.signal(signal);
        assert_eq!(read_close(&mut viewer.socket).0, CloseCode::Away);
        while viewer.socket.read().is_ok() {} // answers the close frame, and waits for the end
        drop(viewer);
        let Finished { status, stdout, .. } = live.program.finish();
        assert_eq!(status.code(), Some(0));
        // Both ends of the demonstration's connection, and the viewer's.
        assert!(stdout[0].ends_with(" frames shown, 3 connections drained, 0 cut off"), "{stdout:?}");
    }
}

#[test]
fn the_page_is_served_with_a_policy_that_keeps_everything_else_out() {
    let live = Live::start(&["--demo"]);
    for (path, kind, holds) in [
        ("/", "text/html", "page.js"),
        ("/page.css", "text/css", "prefers-color-scheme: dark"),
        ("/page.js", "text/javascript", "textContent"),
    ] {
        let answer = live.http(&format!("GET {path}"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains(&format!("Content-Type: {kind}")), "{head}");
        assert!(head.contains("Content-Security-Policy: default-src 'none'; ") && !head.contains("unsafe"), "{head}");
        assert!(body.contains(holds) && !body.contains("innerHTML"));
    }
    assert!(live.http("GET /nothing").starts_with("HTTP/1.1 404 "));
}
