//! Its command line, its page and its end.

use super::*;
use crate::support::{assert_help_tells, assert_refused};

#[test]
fn help_tells_the_defaults() {
    let told = ["[default: 127.0.0.1:7400]", "[default: 127.0.0.1:8084]", "[default: 512]", "bots"];
    assert_help_tells("game", &[], &told);
    assert_help_tells("game", &["bots"], &["[default: 200]"]);
}

#[test]
fn a_mistake_on_the_command_line_exits_2_and_names_it() {
    for (arguments, named) in [
        (&["--no-such-flag"][..], "--no-such-flag"),
        (&["--lobby", "nowhere"], "nowhere"),
        (&["--players", "0"], "1..=65535"),
        (&["--players", "18446744073709551615"], "--players"),
        (&["bots", "--players", "many"], "many"),
        (&["bots", "--report", "0s"], "zero"),
    ] {
        let told = assert_refused("game", arguments, 2, named);
        assert!(told[0].contains(named), "{told:?}");
    }
}

#[test]
fn a_port_in_use_is_told_in_one_line_and_exits_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let arguments = ["--lobby", &address, "--udp", "127.0.0.1:0", "--web", "127.0.0.1:0"];
    let Finished { status, stdout, stderr } = Program::start("game", &arguments).finish();
    assert_eq!((status.code(), stdout), (Some(1), vec![]));
    let told = format!("error: lobby cannot listen on {address}: ");
    assert!(stderr.len() == 1 && stderr[0].starts_with(&told), "{stderr:?}");
}

#[test]
fn bots_without_a_lobby_say_so_and_exit_1() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let Finished { status, stderr, .. } =
        Program::start("game", &["bots", "--players", "2", "--lobby", &free]).finish();
    assert_eq!(status.code(), Some(1));
    assert!(stderr[0].contains("could not connect"), "{stderr:?}");
    assert_eq!(stderr.last(), Some(&format!("error: no bot is left at {free}")));
}

/// Nobody whose machine is gone without a word keeps its place and its name: the system asks for signs of life.
#[cfg(target_os = "linux")]
#[test]
fn a_player_s_connection_has_the_system_s_keepalive() {
    let server = Server::start(&[]);
    let mut player = server.connect(0);
    player.write_all(b"JOIN ann\n").unwrap();
    assert!(BufReader::new(&player).lines().next().unwrap().unwrap().starts_with("WELCOME"));
    let ports = [server.addresses[0], player.local_addr().unwrap()].map(|address| format!(":{:04X}", address.port()));
    let end = now() + DEADLINE;
    loop {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let rows = table.lines().map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
        let row = rows.into_iter().find(|row| row[1].ends_with(&ports[0]) && row[2].ends_with(&ports[1]));
        let timer = row.expect("the server's end of it")[5].to_owned(); // proc_pid_net(5): 02 is the keepalive's
        if timer.starts_with("02:") {
            break;
        }
        assert!(now() < end, "timer {timer}");
    }
}

#[test]
fn the_page_is_served_and_a_signal_drains_all() {
    let mut server = Server::start(&[]);
    assert!(server.http("/").contains("<!doctype html>"));
    assert!(server.http("/page.js").starts_with("HTTP/1.1 200 "));
    let mut watching = server.spectate();
    let mut bots = server.bots(5);
    server.await_counters("five players", |counters| number(counters, "moves") > 50);
    server.program.signal(SIGTERM);
    while !matches!(watching.read().unwrap(), Message::Close(_)) {}
    while watching.read().is_ok() {} // answers the close frame, and waits for the end
    let Finished { status, stdout, .. } = server.program.finish();
    assert_eq!(status.code(), Some(0));
    let last = stdout.last().unwrap();
    assert!(last.starts_with("stopped: ") && last.contains(", 0 cut off, "), "{stdout:?}");
    for _ in 0..5 {
        assert!(bots.error_line().contains("closed by the peer"), "the bots are told that it is over");
    }
    let Finished { status, stderr, .. } = bots.finish();
    assert_eq!(status.code(), Some(1));
    assert!(stderr.last().unwrap().starts_with("error: no bot is left at "), "{stderr:?}");
}
