//! Messages of all sizes are echoed byte for byte: put together where they were read into, cut by frames and by reads,
//! sent back where they lie, in used buffers, with a heartbeat's pings in between, by who reads now and then.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Conditions, Simulation, check_seeds};
use switchboard::{CloseReason, Closing, Failure, Limits, TimerId};
use switchboard_heartbeat::Config;
use switchboard_websocket::{CloseCode, Closed, Connect, Handler, Message, Peer, Settings, WebSocket};

use crate::talker::Stream;

const MILLISECOND: Duration = Duration::from_millis(1);
/// Messages on their way at a time.
const AT_A_TIME: usize = 4;
const HEARTBEAT: Duration = Duration::from_millis(3);

/// What became of an [`Asker`].
#[derive(Debug, Default)]
struct Outcome {
    checked: usize,
    pongs: u64,
    closed: Option<(CloseCode, bool)>,
    cause: String,
}

/// Sends messages, and checks that each comes back as it went.
struct Asker {
    dice: Stream,
    /// The longest message.
    most: usize,
    left: usize,
    sent: VecDeque<(bool, Vec<u8>)>,
    /// Ends a pause.
    resume: Option<TimerId>,
    outcome: Rc<RefCell<Outcome>>,
}

impl Asker {
    fn ask(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        while self.left > 0 && self.sent.len() < AT_A_TIME && peer.has_room() {
            self.left -= 1;
            let (is_text, bytes) = (self.dice.below(2) == 0, self.message());
            let bytes = if is_text { text(&bytes) } else { bytes };
            let whole = as_message(is_text, &bytes);
            match self.dice.below(4) {
                0 => self.in_pieces(peer, whole)?,
                1 if is_text => peer.text_shared(String::from_utf8(bytes.clone())?),
                1 => peer.binary_shared(bytes.clone()),
                _ => peer.send(whole),
            }
            self.sent.push_back((is_text, bytes));
            peer.ping(b"between two")?;
        }
        if self.left == 0 && self.sent.is_empty() { peer.close(CloseCode::NORMAL, "") } else { Ok(()) }
    }

    /// Of any size: as many of each order of magnitude.
    fn message(&mut self) -> Vec<u8> {
        let order = self.dice.below(usize::try_from(self.most.ilog2()).unwrap_or_default() + 1);
        let size = (1 << order) + self.dice.below(1 << order);
        (0..size.min(self.most)).map(|_| self.dice.next()).collect()
    }

    fn in_pieces(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        let mut rest = message.as_bytes();
        while !rest.is_empty() {
            let mut end = (1 + self.dice.below(rest.len())).max(rest.len() / 8);
            while matches!(message, Message::Text(text) if !text.is_char_boundary(text.len() - rest.len() + end)) {
                end += 1;
            }
            let (piece, behind) = rest.split_at(end);
            let is_text = matches!(message, Message::Text(_));
            peer.send_piece(as_message(is_text, piece), behind.is_empty())?;
            peer.ping(b"in the midst of one")?;
            rest = behind;
        }
        Ok(())
    }
}

fn as_message(is_text: bool, bytes: &[u8]) -> Message<'_> {
    if is_text { Message::Text(str::from_utf8(bytes).expect("text")) } else { Message::Binary(bytes) }
}

/// As many bytes of characters, or a few more, of one byte to four.
fn text(bytes: &[u8]) -> Vec<u8> {
    let character = |byte: &u8| match byte % 4 {
        0 => char::from(b' ' + byte / 4),
        1 => 'é',
        2 => char::from_u32(0x4e00 + u32::from(*byte)).unwrap_or('字'),
        _ => '🦀',
    };
    let mut text: String = bytes.iter().map(character).collect();
    text.truncate(text.floor_char_boundary(bytes.len()));
    if text.is_empty() { b"-".to_vec() } else { text.into_bytes() }
}

impl Handler for Asker {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.ask(peer)
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        let (is_text, sent) = self.sent.pop_front().expect("no message but what was asked for");
        let came = message.as_bytes();
        let number = self.outcome.borrow().checked;
        assert_eq!(matches!(message, Message::Text(_)), is_text, "message {number}");
        if let Some(at) = came.iter().zip(&sent).position(|(came, sent)| came != sent) {
            panic!("message {number}: byte {at} of {} is {:#x}, not {:#x}", sent.len(), came[at], sent[at]);
        }
        assert_eq!(came.len(), sent.len(), "message {number}");
        self.outcome.borrow_mut().checked += 1;
        if self.dice.below(4) == 0 {
            peer.pause_reading();
            let pause = MILLISECOND * u32::try_from(self.dice.below(200)).unwrap_or_default();
            self.resume = Some(peer.set_timer(pause));
        }
        // Not here: who answers with more than the other side takes is not read until it has, and both would wait for each
        // other.
        let lull = if self.dice.below(3) == 0 { 20 * HEARTBEAT } else { Duration::ZERO };
        peer.set_timer(lull);
        Ok(())
    }

    fn on_timer(&mut self, peer: &mut Peer<'_, '_>, timer: TimerId) -> Result<(), Failure> {
        if self.resume.take_if(|resume| *resume == timer).is_some() {
            peer.resume_reading();
        }
        self.ask(peer)
    }

    fn on_drain(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        self.ask(peer)
    }

    fn on_pong(&mut self, _: &mut Peer<'_, '_>, _: &[u8]) -> Result<(), Failure> {
        self.outcome.borrow_mut().pongs += 1;
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        let mut outcome = self.outcome.borrow_mut();
        outcome.closed = Some((closed.code, closed.clean));
        outcome.cause = closed.cause.to_string();
    }
}

struct Echo(Rc<Cell<bool>>);

impl Handler for Echo {
    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        self.0.set(self.0.get() || peer.rtt().is_some());
        peer.send(message);
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, closed: &Closed<'_>) {
        // What else broke the connection shows on the other side.
        assert!(closed.clean || matches!(closed.cause, CloseReason::Io { .. }), "the server's side: {}", closed.cause);
    }
}

/// Some connections of one client to a server of echoes, with so many messages of at most so many bytes on each, made
/// from a seed. Says whether the server's heartbeat pinged in between.
fn converse<const DRAINED: bool>(
    sim: &mut Simulation<DRAINED>,
    (limits, conditions): (&Limits, Conditions),
    (seed, connections, messages, most): (u64, u64, usize, usize),
) -> bool {
    let (server, client) = (sim.add_host_with("server", limits.clone()), sim.add_host_with("client", limits.clone()));
    sim.set_conditions(conditions);
    let address = sim.address(server, 80);
    let heartbeat = Config::new(HEARTBEAT, Duration::from_secs(3600)).ok();
    let settings = Rc::new(Settings {
        max_message: 2 << 20,
        message_timeout: Some(Duration::from_secs(3600)),
        heartbeat,
        ..Settings::default()
    });
    let of_server = Rc::clone(&settings);
    let beat = Rc::new(Cell::new(false));
    let of_echo = Rc::clone(&beat);
    let echo = move |_: &_| Some(WebSocket::with_settings(Echo(Rc::clone(&of_echo)), &of_server));
    sim.event_loop(server).listen(address, echo).unwrap();
    let outcomes: Vec<Rc<RefCell<Outcome>>> = (0..connections)
        .map(|number| {
            let outcome = Rc::default();
            let dice = Stream::new(seed << 8 | number);
            let asker =
                Asker { dice, most, left: messages, sent: VecDeque::new(), resume: None, outcome: Rc::clone(&outcome) };
            let connect = Connect::to(&format!("ws://{address}/")).unwrap();
            sim.event_loop(client).connect(address, WebSocket::client_with_settings(connect, asker, &settings));
            outcome
        })
        .collect();
    assert!(sim.run_to_rest(Duration::from_secs(24 * 3600)), "it never comes to rest: {outcomes:?}");
    for outcome in outcomes {
        let outcome = outcome.borrow();
        assert_eq!((outcome.checked, outcome.closed), (messages, Some((CloseCode::NORMAL, true))), "{outcome:?}");
        // After the last message's ping comes the close frame.
        assert!(outcome.pongs + 1 >= messages as u64, "{outcome:?}");
    }
    for host in [server, client] {
        let core = sim.event_loop(host).core();
        assert_eq!((core.open_connections(), core.held_bytes()), (0, 0));
    }
    beat.get()
}

/// Writes and reads that are cut anywhere, buffers of 64 KiB and more.
fn choppy(buffer: usize) -> Conditions {
    Conditions {
        send_buffer: buffer,
        receive_buffer: buffer,
        segment: buffer / 3,
        short_reads: 0.3,
        short_writes: 0.3,
        would_block: 0.1,
        latency: Duration::from_micros(50)..=MILLISECOND,
        ..Conditions::default()
    }
}

#[test]
fn megabytes_are_echoed_byte_for_byte() {
    check_seeds(0..2, |seed| {
        let limits = Limits::default();
        converse(&mut Simulation::new(seed), (&limits, choppy(300_000)), (seed, 2, 8, 1 << 20));
    });
}

#[test]
fn messages_of_a_hundred_kilobytes_are_echoed_byte_for_byte() {
    let mut beats = 0;
    let cramped = Limits {
        read_budget: 4096,
        receive_buffer: 32 << 10,
        high_water: 16 << 10,
        low_water: 2048,
        ..Limits::default()
    };
    check_seeds(0..6, |seed| {
        let wide = (&Limits::default(), choppy(64 << 10));
        let beat = converse(&mut Simulation::new(seed), wide, (seed, 3, 20, 100_000));
        let narrow = (&cramped, Conditions::rough());
        let beat = converse(&mut Simulation::until_would_block(seed), narrow, (seed, 3, 20, 100_000)) || beat;
        beats += u32::from(beat);
    });
    assert!(beats > 0);
}

/// Says all that it has to say at once, when it is connected.
struct Greeter(Rc<Cell<usize>>);

impl Handler for Greeter {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        for _ in 0..2 {
            peer.send(Message::Binary(&[7; 1 << 20]));
        }
        Ok(())
    }

    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        self.0.set(self.0.get() + message.as_bytes().len());
        if self.0.get() == 2 << 20 { peer.close(CloseCode::NORMAL, "") } else { Ok(()) }
    }
}

#[test]
fn a_long_greeting_is_heard_and_answered() {
    let mut sim: Simulation = Simulation::new(1);
    let (server, client) = (sim.add_host("server"), sim.add_host("client"));
    sim.set_conditions(choppy(300_000));
    let address = sim.address(server, 80);
    let echo = |_: &_| Some(WebSocket::server(Echo(Rc::default())));
    sim.event_loop(server).listen(address, echo).unwrap();
    let heard = Rc::new(Cell::new(0));
    let connect = Connect::to(&format!("ws://{address}/")).unwrap();
    sim.event_loop(client).connect(address, WebSocket::client(connect, Greeter(Rc::clone(&heard))));
    assert!(sim.run_to_rest(Duration::from_secs(3600)));
    assert_eq!(heard.get(), 2 << 20, "else each waits for the other to read");
}
