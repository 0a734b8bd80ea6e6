//! The embedding examples as processes: nothing is lost, and an idle program costs no processor time.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal::SIGINT;

#[path = "../support/mod.rs"]
mod support;

use support::{DEADLINE, Finished, Program};

const CLIENTS: usize = 20;
const LINES: usize = 100;

/// One of the programs, with its address.
fn start(name: &str, arguments: &[&str]) -> (Program, SocketAddr) {
    let mut all = vec!["--listen", "127.0.0.1:0"];
    all.extend(arguments);
    let program = Program::start(name, &all);
    let line = program.line();
    let address = line.strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}"));
    (program, address.parse().unwrap())
}

/// A client that talks in lines.
struct Client {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, DEADLINE).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { lines: BufReader::new(stream.try_clone().unwrap()), stream }
    }

    fn send(&mut self, line: &str) {
        self.stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    /// The next line; empty at the end.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

/// So many clients at a time talk; those that it leaves are given back.
fn crowd(address: SocketAddr, talk: impl Fn(&mut Client, usize) + Sync) -> Vec<Client> {
    let talk = &talk;
    thread::scope(|scope| {
        let client = |index| {
            scope.spawn(move || {
                let mut client = Client::new(address);
                talk(&mut client, index);
                client
            })
        };
        let threads: Vec<_> = (0..CLIENTS).map(client).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The processor time that all threads of a process have had.
fn processor_time(program: &Program) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{}/task", program.id())).unwrap();
    let nanos = |thread: std::io::Result<std::fs::DirEntry>| {
        let schedule = std::fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap();
        schedule.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    Duration::from_nanos(threads.map(nanos).sum())
}

/// Of an idle program: the share of the processor that it takes, in percent.
fn idle_percent(program: &Program) -> f64 {
    const WHILE: Duration = Duration::from_secs(2);
    let before = processor_time(program);
    thread::sleep(WHILE); // this is what is measured, not a wait for something
    let percent = (processor_time(program) - before).as_secs_f64() / WHILE.as_secs_f64() * 100.0;
    println!("idle: {percent:.2} % of a processor");
    percent
}

/// Ctrl-C with these clients there: each hears the end, and the program ends well. Its last line.
fn stop(mut program: Program, clients: Vec<Client>) -> String {
    program.signal(SIGINT);
    for mut client in clients {
        assert_eq!(client.line(), "", "the end");
    }
    let Finished { status, stdout, stderr } = program.finish();
    assert_eq!((status.code(), stderr), (Some(0), vec![]));
    stdout.last().cloned().unwrap_or_default()
}

/// The number before this word.
fn number(line: &str, word: &str) -> usize {
    let words: Vec<&str> = line.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    let at = words.iter().position(|&it| it == word).unwrap_or_else(|| panic!("{word} in {line:?}"));
    words[at - 1].parse().unwrap()
}

fn echo(client: &mut Client, index: usize) {
    for line in 0..LINES {
        let text = format!("client {index} line {line}");
        client.send(&text);
        assert_eq!(client.line(), text);
    }
}

#[test]
fn calloop_serves_all_and_sleeps() {
    let (mut program, address) = start("embed_calloop", &["--every", "1h"]);
    let mut clients = crowd(address, echo);
    // Through a handle, from the thread that reads what is typed.
    let news: Vec<String> = (0..LINES).map(|line| format!("news {line}")).collect();
    program.input(format!("{}\n", news.join("\n")).as_bytes());
    for client in &mut clients {
        assert!(news.iter().all(|line| client.line() == *line));
    }
    let idle = idle_percent(&program);
    assert!(idle < 1.0, "{idle} %");
    let last = stop(program, clients);
    assert_eq!(number(&last, "connections"), CLIENTS);
    let turns = number(&last, "turns");
    assert!(turns < 2 * CLIENTS * LINES + 500, "{last}: more turns than there was to do");
}

#[test]
fn the_program_s_own_timer_goes_on_beside_the_network_and_shows_that_it_rests() {
    let (program, address) = start("embed_calloop", &["--every", "50ms"]);
    let clients = crowd(address, echo);
    let mut turns = Vec::new();
    while turns.len() < 2 || turns[turns.len() - 2] != turns[turns.len() - 1] {
        turns.push(number(&program.line(), "turns"));
    }
    let rest = turns[turns.len() - 1];
    for _ in 0..10 {
        let line = program.line();
        assert_eq!((number(&line, "connected"), number(&line, "turns")), (CLIENTS, rest), "no turn without a reason");
    }
    stop(program, clients);
}

#[test]
fn tokio_s_tasks_answer_every_job_and_it_sleeps() {
    let (program, address) = start("embed_tokio", &["--every", "1h"]);
    let clients = crowd(address, |client, index| {
        // Jobs that end in another order than they began.
        for line in 0..LINES {
            client.send(&format!("{} job {index} {line}", (LINES - line) % 7));
        }
        let mut answers: Vec<String> = (0..LINES).map(|_| client.line()).collect();
        let mut jobs: Vec<String> = (0..LINES).map(|line| format!("job {index} {line}")).collect();
        answers.sort();
        jobs.sort();
        assert_eq!(answers, jobs);
    });
    let idle = idle_percent(&program);
    assert!(idle < 1.0, "{idle} %");
    let last = stop(program, clients);
    let turns = number(&last, "turns");
    assert!(turns < 2 * CLIENTS * LINES + 500, "{last}: more turns than there was to do");
}

#[test]
fn tokio_s_tasks_ask_the_network_and_await_its_answer() {
    start("embed_tokio", &["--every", "0s"]).0.line(); // is no reason to fail
    let (program, address) = start("embed_tokio", &["--every", "20ms"]);
    let mut client = Client::new(address);
    client.send("0 at once");
    assert_eq!(client.line(), "at once");
    loop {
        let line = program.line();
        if number(&line, "connected") == 1 {
            break;
        }
    }
    client.send("soon too long");
    assert_eq!(client.line(), "ERR \"soon\": invalid digit found in string");
    // A job whose client goes before it is done.
    let mut gone = Client::new(address);
    gone.send("100 nobody hears this");
    gone.send("0 this is heard");
    assert_eq!(gone.line(), "this is heard");
    drop(gone);
    while number(&program.line(), "undelivered") != 1 {}
    stop(program, vec![client]);
}

#[test]
fn tokio_s_tasks_are_not_more_than_they_may_be() {
    let (program, address) = start("embed_tokio", &["--every", "1h"]);
    let mut client = Client::new(address);
    let long = "3600000 an hour\n";
    for _ in 0..16 {
        client.send(&(long.repeat(600) + "0 short"));
        assert_eq!(client.line(), "short", "so all before it are being done");
    }
    client.send(&(long.repeat(500) + "0 short"));
    let refused = "ERR too many jobs, try later";
    // Now they wait, and so does the short one behind them, until no more may wait either.
    let mut seen = (0..40).flat_map(|_| {
        client.send(&(long.repeat(600) + "sentinel"));
        let is_sentinel = |line: &String| line.starts_with("ERR \"sentinel");
        std::iter::from_fn(|| Some(client.line())).take_while(|line| !is_sentinel(line)).collect::<Vec<_>>()
    });
    assert_eq!(seen.next().as_deref(), Some(refused));
    assert!(seen.all(|line| line == refused));
    stop(program, vec![client]);
}

#[test]
fn a_game_s_frames_serve_all_players_within_their_budget() {
    let (mut program, address) = start("embed_game_loop", &[]);
    let clients = crowd(address, |player, index| {
        let places: Vec<String> = (1..=LINES).map(|x| format!("{x} 0")).collect();
        for _ in 0..LINES {
            player.send(if index % 2 == 0 { "right" } else { "down" });
        }
        for place in places {
            let place = if index % 2 == 0 { place } else { place.split(' ').rev().collect::<Vec<_>>().join(" ") };
            assert_eq!(player.line(), place);
        }
        player.send("jump");
        assert_eq!(player.line(), "ERR up, down, left or right");
    });
    program.input(b"the game begins\nnow\n");
    let mut clients = clients;
    for player in &mut clients {
        assert_eq!((player.line(), player.line()), ("the game begins".to_owned(), "now".to_owned()));
    }
    let idle = idle_percent(&program);
    assert!(idle < 5.0, "{idle} %");
    let last = stop(program, clients);
    assert_eq!(number(&last, "moves"), CLIENTS * LINES);
}

#[test]
fn a_game_s_frames_come_at_their_pace_and_end_with_no_time_for_the_network_at_all() {
    let (program, address) = start("embed_game_loop", &["--rate", "500", "--budget", "0ms"]);
    // One visit a frame, to one after the other: slow, but nobody is forgotten.
    let clients = crowd(address, |player, _| {
        for step in 1..=5 {
            player.send("up");
            assert_eq!(player.line(), format!("0 -{step}"));
        }
    });
    let frames = number(&program.line(), "frames");
    assert!((100..=510).contains(&frames), "{frames} frames in a second");
    stop(program, clients);
}

#[test]
fn what_is_wrong_is_said() {
    let programs = ["embed_calloop", "embed_tokio", "embed_game_loop"];
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for name in programs {
        let Finished { status, stderr, .. } = Program::start(name, &["--listen", &address]).finish();
        assert_eq!(status.code(), Some(1));
        let said = stderr.join("\n");
        assert!(said.contains(&format!("cannot listen on {address}: Address already in use")), "{said}");
        let Finished { status, stderr, .. } = Program::start(name, &["--lisen", &address]).finish();
        assert_eq!(status.code(), Some(2));
        assert!(stderr.join("\n").contains("--listen"), "{stderr:?}");
        let Finished { status, stdout, .. } = Program::start(name, &["--help"]).finish();
        assert!(status.success() && stdout.iter().any(|line| line.contains("--listen")));
    }
}
