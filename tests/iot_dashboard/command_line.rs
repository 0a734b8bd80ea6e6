//! Its command line, its ports and its end.

use super::*;
use crate::support::{assert_help_tells, assert_refused};

#[test]
fn help_tells_the_defaults() {
    let told = ["[default: 127.0.0.1:7300]", "[default: 127.0.0.1:8083]", "[default: 5s]", "simulate"];
    assert_help_tells("iot_dashboard", &[], &told);
    assert_help_tells("iot_dashboard", &["simulate"], &["--silent-from"]);
}

#[test]
fn a_mistake_on_the_command_line_exits_2_and_names_it() {
    for (arguments, named) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["--tcp", "nowhere"], "nowhere"),
        (&["--silent-after", "soon"], "soon"),
        (&["--silent-after", "300000000000y"], "timeout"),
        (&["--silent-after", "5s", "--gone-after", "1s"], "timeout"),
        (&["simulate", "--lossy", "2"], "0 to 1"),
    ] {
        let told = assert_refused("iot_dashboard", arguments, 2, named);
        assert!(told[0].contains(named), "{told:?}");
    }
}

#[test]
fn a_port_in_use_is_told_in_one_line_and_exits_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = ["--tcp", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--web", &address];
    let Finished { status, stdout, stderr } = Program::start("iot_dashboard", &arguments).finish();
    assert_eq!((status.code(), stdout), (Some(1), vec![]));
    assert!(
        stderr.len() == 1 && stderr[0].starts_with(&format!("error: web cannot listen on {address}: ")),
        "{stderr:?}"
    );
}

#[test]
fn the_page_is_served_where_the_browsers_connect_and_is_its_own_alone() {
    let dashboard = Dashboard::start(&[]);
    let page = dashboard.http("GET", "/");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("<!doctype html>"), "{page}");
    assert!(page.contains("Content-Security-Policy: default-src 'none'; script-src 'self'"), "{page}");
    for (path, kind) in [("/page.js", "text/javascript"), ("/page.css", "text/css"), ("/counters", "application/json")]
    {
        let answer = dashboard.http("GET", path);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(&format!("Content-Type: {kind}")), "{answer}");
    }
    assert!(dashboard.http("GET", "/else").starts_with("HTTP/1.1 404 "));
    assert!(dashboard.http("POST", "/").starts_with("HTTP/1.1 405 "));
    let own = format!("http://{}", dashboard.addresses[2]);
    assert!(dashboard.open("/live", Some(&own)).is_ok());
    for (path, origin, status) in [("/live", Some("http://elsewhere.example"), 403), ("/other", None, 404)] {
        match dashboard.open(path, origin) {
            Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), status),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_signal_drains_it_and_it_tells_what_was_counted() {
    let mut dashboard = Dashboard::start(&[]);
    let mut client = dashboard.open("/live", None).unwrap();
    let mut device = dashboard.connect(0);
    device.write_all("HELLO kitchen °C 1\nREADING 1 21.5\n".as_bytes()).unwrap();
    let mut lines = BufReader::new(device).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("WELCOME kitchen"));
    dashboard.await_counters("the reading", |counters| number(counters, "readings_tcp") == 1);
    dashboard.program.signal(SIGTERM);
    let code = loop {
        match client.read().unwrap() {
            Message::Close(frame) => break frame.unwrap().code,
            _ => continue,
        }
    };
    assert_eq!(code, CloseCode::Away);
    while client.read().is_ok() {} // answers the close frame, and waits for the end
    assert_eq!(lines.next(), None, "the device's connection is closed");
    drop((lines, client));
    let Finished { status, stdout, .. } = dashboard.program.finish();
    assert_eq!(status.code(), Some(0));
    assert_eq!(number(&serde_json::from_str(&stdout[0]).unwrap(), "readings_tcp"), 1);
    assert!(stdout[1].contains(" connections drained, 0 cut off, in "), "{stdout:?}");
}
