//! Its command line, its ports and its end.

use super::*;
use crate::support::{assert_help_tells, assert_refused};

#[test]
fn the_defaults_are_told_by_help() {
    let told = ["[default: 127.0.0.1:8081]", "[default: 127.0.0.1:7020]", "[default: 1000]", "[default: close]"];
    assert_help_tells("chat", &[], &told);
}

#[test]
fn a_mistake_on_the_command_line_exits_2_and_names_it() {
    for (arguments, named) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["--listen", "nowhere"], "nowhere"),
        (&["--rate", "0"], "--rate"),
        (&["--text", "65536"], "--text"),
        (&["--slow", "wait"], "drop-oldest"),
        (&["stray"], "stray"),
    ] {
        assert_refused("chat", arguments, 2, named);
    }
}

#[test]
fn a_port_in_use_is_told_in_one_line_and_exits_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (name, flag, other) in [("web", "--listen", "--tcp"), ("line", "--tcp", "--listen")] {
        let arguments = [flag, &address, other, "127.0.0.1:0"];
        let told = assert_refused("chat", &arguments, 1, &format!("error: {name} cannot listen on {address}: "));
        assert_eq!(told.len(), 1, "{told:?}");
    }
}

#[test]
fn a_signal_says_goodbye_to_everybody() {
    for signal in [SIGINT, SIGTERM] {
        let mut chat = Chat::start(&[]);
        let (mut ann, mut bob) = (chat.browser("ann", "lobby"), chat.nc("bob", "lobby"));
        assert_eq!(ann.told()["is"], "joined");
        chat.program.signal(signal);
        assert_eq!(ann.closed(), CloseCode::Away);
        while ann.0.read().is_ok() {} // answers the close frame, and waits for the end
        let rest = bob.rest();
        assert!(rest.starts_with("* The server stops. Goodbye\n"), "{rest}");
        drop((ann, bob));
        let Finished { status, stdout, .. } = chat.program.finish();
        assert_eq!(status.code(), Some(0));
        assert_eq!(stdout, ["stopped: 2 connections drained, 0 cut off"]);
    }
}

#[test]
fn a_second_signal_does_not_wait_for_who_says_no_goodbye() {
    let mut chat = Chat::start(&[]);
    let (silent, mut carl) = (chat.browser("silent", "lobby"), chat.nc("carl", "lobby"));
    chat.program.signal(SIGINT);
    assert!(carl.rest().starts_with("* The server stops."), "the drain has begun");
    drop(carl);
    let asked = now();
    chat.program.signal(SIGINT);
    let Finished { status, stdout, .. } = chat.program.finish();
    assert!(asked.elapsed() < std::time::Duration::from_secs(3));
    assert_eq!(status.code(), Some(0));
    assert!(stdout[0].ends_with(" 1 cut off"), "{stdout:?}");
    drop(silent);
}

#[test]
fn the_page_is_served_with_a_policy_that_keeps_everything_else_out() {
    let chat = Chat::start(&[]);
    for (path, kind, holds) in [
        ("/", "text/html", "page.js"),
        ("/page.css", "text/css", "prefers-color-scheme: dark"),
        ("/page.js", "text/javascript", "textContent"),
    ] {
        let answer = chat.http(&format!("GET {path}"));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains(&format!("Content-Type: {kind}")), "{head}");
        assert!(head.contains("Content-Security-Policy: default-src 'none'; ") && !head.contains("unsafe"), "{head}");
        assert!(body.contains(holds) && !body.contains("innerHTML"));
        assert!(chat.http(&format!("HEAD {path}")).ends_with("\r\n\r\n"));
    }
    assert!(chat.http("GET /nothing").starts_with("HTTP/1.1 404 "));
    assert!(chat.http("DELETE /").starts_with("HTTP/1.1 405 "));
    assert!(chat.http("GET /chat").starts_with("HTTP/1.1 404 "));
}

#[test]
fn pages_of_other_sites_are_kept_out() {
    let chat = Chat::start(&[]);
    assert!(chat.open("/chat", Some(&format!("http://{}", chat.web))).is_ok());
    for (path, origin, status) in [("/chat", Some("http://evil.example"), 403), ("/elsewhere", None, 404)] {
        match chat.open(path, origin) {
            Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), status),
            other => panic!("{other:?}"),
        }
    }
}
