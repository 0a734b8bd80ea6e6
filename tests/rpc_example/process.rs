//! The program: its server, its calls, its command line.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use nix::sys::signal::Signal::SIGTERM;
use serde_json::Value;

use crate::support::{DEADLINE, Finished, Program};

/// A server, on a free port unless the arguments after `--` name an address.
pub(crate) fn served(arguments: &[&str]) -> (Program, SocketAddr) {
    let mut all = vec!["serve"];
    match arguments {
        ["--", address] => all.push(address),
        others => all.extend([&["127.0.0.1:0"], others].concat()),
    }
    let program = Program::start("rpc", &all);
    let address = program.address("rpc");
    (program, address)
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    BufReader::new(stream)
}

fn reply(stream: &mut BufReader<TcpStream>) -> Value {
    let mut line = String::new();
    stream.read_line(&mut line).expect("a reply");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

fn call(arguments: &[&str]) -> Finished {
    Program::start("rpc", &[&["call"], arguments].concat()).finish()
}

#[test]
fn a_call_prints_its_result() {
    let (_server, address) = served(&[]);
    let target = format!("localhost:{}", address.port());
    for (method, params, result) in [
        ("add", "[2, 3]", "5"),
        ("echo", "{\"a\": [1, null]}", "{\"a\":[1,null]}"),
        ("sleep", "[10, \"awake\"]", "\"awake\""),
    ] {
        let Finished { status, stdout, stderr } = call(&[&target, method, params]);
        assert_eq!((status.code(), stdout, stderr), (Some(0), vec![result.to_owned()], vec![]));
    }
}

#[test]
fn a_call_without_a_result_exits_1_and_says_why() {
    let (_server, address) = served(&["--in-flight", "1"]);
    let address = address.to_string();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string(); // and closed again
    for (arguments, why) in [
        (&[&address, "fail", "\"as asked\""][..], "error: the call failed: as asked"),
        (&[&address, "fail", "\"\\u001b[2Jas asked\""], "error: the call failed:  [2Jas asked"),
        (&[&address, "fly"], "error: the call failed: there is no method \"fly\""),
        (&[&address, "sleep", "[3600000, 0]", "--timeout", "100ms"], "error: no reply came in time"),
        (&[&nobody, "echo"], "error: it was not sent: there is no connection, or too many calls are under way"),
    ] {
        let Finished { status, stdout, stderr } = call(arguments);
        assert_eq!((status.code(), stdout, stderr), (Some(1), vec![], vec![why.to_owned()]), "{arguments:?}");
    }
}

#[test]
fn ten_thousand_calls_get_their_replies() {
    let (_server, address) = served(&[]);
    let mut load = Program::start("rpc", &["load", &address.to_string(), "--calls", "10000"]);
    let Finished { status, stdout, stderr } = load.finish();
    assert_eq!((status.code(), stderr), (Some(0), vec![]));
    assert_eq!(stdout, ["10000 of 10000 calls got their replies"]);
}

#[test]
fn a_line_that_is_no_request_is_answered_and_ends_the_connection() {
    let (_server, address) = served(&[]);
    for line in ["nonsense\n".to_owned(), "x".repeat(65 * 1024)] {
        let mut stream = connect(address);
        stream.get_mut().write_all(b"{\"id\":1,\"method\":\"echo\",\"params\":7}\n").unwrap();
        stream.get_mut().write_all(line.as_bytes()).unwrap();
        assert_eq!(reply(&mut stream)["result"], 7);
        let refused = reply(&mut stream);
        assert!(refused["id"].is_null() && refused["error"].is_string(), "{refused}");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("an end in order");
        assert!(rest.is_empty());
    }
}

#[test]
fn what_is_under_way_is_answered_after_a_signal_and_after_a_half_close() {
    let (mut server, address) = served(&[]);
    let mut stream = connect(address);
    stream.get_mut().write_all(b"{\"id\":1,\"method\":\"sleep\",\"params\":[200,1]}\n").unwrap();
    stream.get_mut().shutdown(Shutdown::Write).unwrap();
    let mut other = connect(address);
    other
        .get_mut()
        .write_all(b"{\"id\":2,\"method\":\"sleep\",\"params\":[200,2]}\n{\"id\":3,\"method\":\"echo\"}\n")
        .unwrap();
    assert_eq!(reply(&mut other)["id"], 3);
    server.signal(SIGTERM);
    assert_eq!(reply(&mut stream)["result"], 1);
    assert_eq!(reply(&mut other)["result"], 2);
    drop((stream, other));
    let Finished { status, stdout, stderr } = server.finish();
    assert_eq!((status.code(), stderr), (Some(0), vec![]));
    assert!(stdout[0].starts_with("stopped: ") && stdout[0].ends_with(" 0 cut off"), "{stdout:?}");
}

#[test]
fn a_mistake_on_the_command_line_exits_2_and_names_it() {
    for (arguments, named) in [
        (&["serve", "127.0.0.1:0", "--no-such-flag"][..], "--no-such-flag"),
        (&["call", "localhost:80"], "<METHOD>"),
        (&["call", "localhost", "add"], "localhost"),
        (&["call", "localhost:80", "add", "[1,"], "[1,"),
        (&["fly"], "fly"),
    ] {
        let Finished { status, stdout, stderr } = Program::start("rpc", arguments).finish();
        assert_eq!((status.code(), stdout), (Some(2), vec![]), "{arguments:?}");
        let said = stderr.join("\n");
        assert!(said.starts_with("error: ") && said.contains(named), "{arguments:?}: {said}");
    }
}

#[test]
fn an_address_that_cannot_be_listened_on_is_told_in_one_line_and_exits_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [&*taken.local_addr().unwrap().to_string(), "nowhere"] {
        let Finished { status, stdout, stderr } = Program::start("rpc", &["serve", address]).finish();
        assert_eq!((status.code(), stdout, stderr.len()), (Some(1), vec![], 1));
        assert!(stderr[0].starts_with(&format!("error: cannot listen on {address}: ")), "{stderr:?}");
    }
}

#[test]
fn help_names_the_commands_and_their_defaults() {
    for (arguments, told) in [(&["--help"][..], "load"), (&["serve", "--help"], "[default: 16384]")] {
        let Finished { status, stdout, .. } = Program::start("rpc", arguments).finish();
        assert_eq!(status.code(), Some(0));
        assert!(stdout.join("\n").contains(told), "{stdout:?}");
    }
}
