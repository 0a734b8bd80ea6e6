//! Joining, chatting, moving, watching.

use super::*;
use crate::datagrams::{Move, Snapshot};
use crate::ground::{HEIGHT, STEP, WIDTH};

/// A player by hand.
struct Player {
    lines: BufReader<TcpStream>,
    udp: UdpSocket,
    token: u64,
    id: u16,
}

impl Player {
    fn join(server: &Server, name: &str) -> Self {
        let mut stream = server.connect(0);
        writeln!(stream, "JOIN {name}").expect("it reads");
        let mut lines = BufReader::new(stream);
        let welcome = read_line(&mut lines);
        let mut words = welcome.strip_prefix("WELCOME ").unwrap_or_else(|| panic!("{welcome}")).split(' ');
        let id = words.next().and_then(|word| word.parse().ok()).expect("an id");
        let token = words.next().and_then(|word| u64::from_str_radix(word, 16).ok()).expect("a token");
        assert_eq!(words.next(), Some(&*server.addresses[1].port().to_string()));
        Self { lines, udp: socket(server), token, id }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.lines.get_mut(), "{line}").expect("it reads");
    }

    fn line(&mut self) -> String {
        read_line(&mut self.lines)
    }

    fn send(&self, token: u64, number: u32, wanted: (u16, u16)) {
        let mut bytes = Vec::new();
        Move { token, number, wanted }.encode(&mut bytes);
        self.udp.send(&bytes).expect("it goes");
    }

    /// A place near the one where it was put, that far away on the way to the middle of the arena.
    fn near(&self, away: u16) -> (u16, u16) {
        let mut bytes = [0; 2048];
        self.send(self.token, 1, (WIDTH / 2, HEIGHT / 2));
        let count = self.udp.recv(&mut bytes).expect("a snapshot");
        let (x, y) = Snapshot::decode(&bytes[..count]).expect("it is one").0.own;
        (if x < WIDTH / 2 { x + away } else { x - away }, y)
    }

    /// Moves there, and reads snapshots until it has arrived.
    fn go(&self, mut number: u32, wanted: (u16, u16)) -> (Snapshot, usize) {
        let mut bytes = [0; 2048];
        self.udp.set_nonblocking(true).expect("it can");
        while self.udp.recv(&mut bytes).is_ok() {} // what came meanwhile is old
        self.udp.set_nonblocking(false).expect("it can");
        loop {
            number += 1;
            self.send(self.token, number, wanted);
            let count = self.udp.recv(&mut bytes).expect("a snapshot");
            let (snapshot, others) = Snapshot::decode(&bytes[..count]).expect("it is one");
            if snapshot.own == wanted {
                return (snapshot, others);
            }
        }
    }
}

fn socket(server: &Server) -> UdpSocket {
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    udp.connect(server.addresses[1]).expect("an address");
    udp.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    udp
}

fn read_line(lines: &mut impl BufRead) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    line.trim_end().to_owned()
}

#[test]
fn players_see_each_other_where_the_server_says_they_are() {
    let server = Server::start(&[]);
    let (ann, bob) = (Player::join(&server, "ann"), Player::join(&server, "bob"));
    let (here, there) = (ann.near(400), ann.near(2_400));
    let (snapshot, others) = ann.go(1, here);
    assert_eq!(others, 2, "bob is there, though he has not moved yet");
    let (next, _) = ann.go(snapshot.number, there);
    let least = u32::from(here.0.abs_diff(there.0)) / STEP;
    assert!(next.tick - snapshot.tick >= least, "nobody is faster than a step a tick");
    bob.go(1, bob.near(100));
    let counters = server.counters();
    assert_eq!((number(&counters, "players"), number(&counters, "forged")), (2, 0), "{counters}");
}

#[test]
fn who_has_no_token_moves_nobody_and_is_told_nothing() {
    let server = Server::start(&[]);
    let ann = Player::join(&server, "ann");
    let here = ann.near(400);
    let (snapshot, _) = ann.go(1, here);
    let mut eve = socket(&server);
    for bytes in [&b""[..], b"M", b"what?", &[b'M'; 17], &[0; 1_000]] {
        eve.send(bytes).unwrap();
    }
    server.await_counters("the forgeries", |counters| number(counters, "forged") == 5);
    // On ann's own address, as who forges it would.
    ann.send(ann.token ^ 1, snapshot.number + 100, (0, 0));
    server.await_counters("a forgery of ann's address", |counters| number(counters, "forged") == 6);
    let (next, others) = ann.go(snapshot.number, here);
    assert!(next.number <= snapshot.number + 2 && others == 1, "she had not gone away");
    eve.set_nonblocking(true).unwrap();
    assert!(eve.recv(&mut [0; 2048]).is_err(), "an answer to a forged address would be a weapon");
    // With the token a player may come from another address.
    let moved = Player { udp: socket(&server), ..ann };
    moved.go(snapshot.number + 1_000, (here.0, here.1.abs_diff(400)));
    drop(moved);
    server.await_counters("ann has left", |counters| number(counters, "players") == 0);
    eve = socket(&server);
    eve.send(b"still nobody").unwrap();
    server.await_counters("one more", |counters| number(counters, "forged") >= 7);
}

#[test]
fn a_move_that_comes_late_or_twice_changes_nothing() {
    let server = Server::start(&[]);
    let ann = Player::join(&server, "ann");
    let here = ann.near(400);
    let (snapshot, _) = ann.go(10, here);
    let before = number(&server.counters(), "stale");
    ann.send(ann.token, snapshot.number, (0, 0));
    ann.send(ann.token, 1, (0, 0));
    server.await_counters("both", |counters| number(counters, "stale") == before + 2);
    let (next, _) = ann.go(snapshot.number, here);
    assert!(next.number <= snapshot.number + 2, "she had not gone away");
}

#[test]
fn what_somebody_says_all_others_hear_and_spectators_too() {
    let server = Server::start(&[]);
    let mut ann = Player::join(&server, "ann");
    let mut watching = server.spectate();
    assert_eq!(watching.read().unwrap(), Message::text(format!("JOINED {} ann\n", ann.id)));
    let mut bob = Player::join(&server, "bob");
    assert_eq!(ann.line(), format!("JOINED {} bob", bob.id));
    bob.say("SAY hello, ann");
    assert_eq!((ann.line(), bob.line()), ("CHAT bob hello, ann".into(), "CHAT bob hello, ann".into()));
    drop(bob);
    assert!(ann.line().starts_with("LEFT "));
    let (mut lines, mut frames) = (String::new(), 0);
    while !lines.contains("LEFT") || frames < 3 {
        match watching.read().unwrap() {
            Message::Text(text) => lines += &text,
            Message::Binary(frame) => {
                assert!(frame.len() >= 4 + 6 && (frame.len() - 4).is_multiple_of(6), "{} bytes", frame.len());
                frames += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(lines.contains("JOINED 1 bob\nCHAT bob hello, ann\nLEFT 1\n"), "{lines}");
}

#[test]
fn who_gets_it_wrong_is_told_and_who_talks_too_much_is_not_heard() {
    let server = Server::start(&["--players", "2"]);
    let mut ann = Player::join(&server, "ann");
    ann.say("what?");
    assert_eq!(ann.line(), "ERR expected JOIN <name>, then SAY <text>");
    for (name, reason) in [("ann", "somebody is called so"), ("<b>", "a name has "), ("a b", "a name has ")] {
        let mut stream = server.connect(0);
        writeln!(stream, "JOIN {name}").unwrap();
        let line = read_line(&mut BufReader::new(stream));
        assert!(line.starts_with(&format!("ERR {reason}")), "{name}: {line}");
    }
    let _bob = Player::join(&server, "bob");
    assert!(ann.line().starts_with("JOINED "));
    let mut stream = server.connect(0);
    stream.write_all(b"SAY hello\nJOIN cat\n").unwrap();
    let mut lines = BufReader::new(stream);
    assert_eq!(read_line(&mut lines), "ERR expected JOIN <name>, then SAY <text>");
    assert_eq!(read_line(&mut lines), "ERR the arena is full");
    for _ in 0..20 {
        ann.say("SAY me, me, me");
    }
    let heard = (0..20).filter(|_| ann.line() == "CHAT ann me, me, me").count();
    assert!((5..20).contains(&heard), "{heard} of 20");
    ann.say(&"x".repeat(300));
    assert_eq!(ann.line(), "ERR a line has at most 256 bytes");
    assert_eq!(ann.line(), "", "and the end");
}
