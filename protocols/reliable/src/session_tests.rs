//! Two sessions on a lossy channel in virtual time.

use std::collections::VecDeque;

use super::*;
use crate::error::ProtocolError;
use crate::header::{Chunks, Progress};
use crate::link::Message;

/// Random numbers for tests: SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, most: u64) -> u64 {
        self.roll() % most
    }
}

struct Surroundings {
    now: Time,
    dice: Dice,
    sent: Vec<Vec<u8>>,
    room: bool,
    /// The next random number, in place of a real one.
    rigged: Option<u64>,
}

impl Wire for Surroundings {
    fn now(&self) -> Time {
        self.now
    }

    fn random(&mut self) -> u64 {
        self.rigged.take().unwrap_or_else(|| self.dice.roll())
    }

    fn send(&mut self, datagram: &[u8]) {
        self.sent.push(datagram.to_vec());
    }

    fn has_room(&mut self) -> bool {
        self.room
    }
}

/// One end, with what its handler would have seen.
struct End {
    session: Session,
    wire: Surroundings,
    opened: bool,
    got: Vec<Vec<u8>>,
    failed: Option<String>,
}

impl End {
    fn new(session: Session, seed: u64) -> Self {
        let wire = Surroundings { now: Time::ZERO, dice: Dice(seed), sent: Vec::new(), room: true, rigged: None };
        Self { session, wire, opened: false, got: Vec::new(), failed: None }
    }

    fn begin(&mut self) {
        self.session.begin(&mut self.wire);
        self.settle();
    }

    fn receive(&mut self, datagram: &[u8]) {
        if let Err(error) = self.take(datagram) {
            self.fail(error);
        }
        self.settle();
    }

    fn take(&mut self, datagram: &[u8]) -> Result<(), Failure> {
        let received = self.session.receive(&mut self.wire, datagram)?;
        self.opened |= received.opened;
        if let Verdict::Deliver(segment) = received.verdict {
            self.deliver(segment)?;
        }
        Ok(())
    }

    fn deliver(&mut self, segment: &[u8]) -> Result<(), ProtocolError> {
        for chunk in Chunks(segment) {
            match self.session.link_mut().unwrap().assemble(chunk)? {
                None => {}
                Some(Message::Whole(message)) => self.got.push(message.to_vec()),
                Some(Message::Assembled(message)) => {
                    self.got.push(message.clone());
                    self.session.link_mut().unwrap().reuse(message);
                }
            }
        }
        Ok(())
    }

    fn fail(&mut self, error: Failure) {
        self.session.abort(&mut self.wire);
        self.failed = Some(error.error().to_string());
    }

    fn settle(&mut self) {
        while let Some(link) = self.session.link_mut() {
            match link.take_ready() {
                Ok(Some(segment)) => self.deliver(&segment).unwrap(),
                Ok(None) => break,
                Err(error) => return self.fail(error.into()),
            }
        }
        self.session.flush(&mut self.wire);
    }

    fn on_time(&mut self, now: Time) {
        self.wire.now = now;
        while self.session.deadline().is_some_and(|due| due <= now) {
            let late = now.saturating_since(self.session.deadline().unwrap());
            if let Err(error) = self.session.on_timer(&mut self.wire, late) {
                self.fail(error.into());
            }
            self.settle();
        }
    }

    fn send(&mut self, message: &[u8]) {
        self.session.send(message).unwrap();
        self.settle();
    }

    fn close(&mut self) {
        self.session.link_mut().unwrap().close();
        self.settle();
    }

    fn link(&mut self) -> &mut Link {
        self.session.link_mut().unwrap()
    }
}

/// What a channel does to a datagram, in per cent.
#[derive(Clone, Copy)]
struct Weather {
    lost: u64,
    doubled: u64,
    delayed: u64,
}

const CALM: Weather = Weather { lost: 0, doubled: 0, delayed: 0 };
const BAD: Weather = Weather { lost: 20, doubled: 20, delayed: 20 };
const GONE: Weather = Weather { lost: 100, doubled: 0, delayed: 0 };

struct Pair {
    ends: [End; 2],
    now: Time,
    /// Under way to each: when it arrives, and what.
    under_way: [VecDeque<(Time, Vec<u8>)>; 2],
    weather: Weather,
    dice: Dice,
    /// Everything that was sent, by each.
    sent: [Vec<Vec<u8>>; 2],
}

const LATENCY: Duration = Duration::from_millis(10);

impl Pair {
    fn new(client: Session, server: Session, seed: u64) -> Self {
        Self {
            ends: [End::new(client, seed ^ 1), End::new(server, seed ^ 2)],
            now: Time::ZERO,
            under_way: Default::default(),
            weather: CALM,
            dice: Dice(seed),
            sent: Default::default(),
        }
    }

    fn with(settings: Settings, seed: u64) -> Self {
        let settings = Rc::new(settings);
        Self::new(Session::client(&settings), Session::server(&settings), seed)
    }

    fn calm() -> Self {
        let mut pair = Self::with(Settings::default(), 1);
        pair.open();
        pair
    }

    fn open(&mut self) {
        self.ends[0].begin();
        self.ends[1].begin();
        self.run(Duration::from_secs(1));
        assert!(self.ends.iter().all(|end| end.opened));
    }

    fn collect(&mut self) {
        for side in 0..2 {
            for datagram in self.ends[side].wire.sent.drain(..) {
                self.sent[side].push(datagram.clone());
                if self.dice.below(100) < self.weather.lost {
                    continue;
                }
                for _ in 0..1 + u64::from(self.dice.below(100) < self.weather.doubled) {
                    let delayed = self.dice.below(100) < self.weather.delayed;
                    let latency = if delayed { LATENCY * 4 } else { LATENCY };
                    let queue = &mut self.under_way[1 - side];
                    let at = self.now + latency;
                    let place = queue.partition_point(|(other, _)| *other <= at);
                    queue.insert(place, (at, datagram.clone()));
                }
            }
        }
    }

    /// Lets the next thing happen; false if nothing will before `until`.
    fn step(&mut self, until: Time) -> bool {
        self.collect();
        let arrivals = self.under_way.iter().filter_map(|queue| queue.front().map(|(at, _)| *at));
        let deadlines = self.ends.iter().filter_map(|end| end.session.deadline());
        let Some(next) = arrivals.chain(deadlines).min().filter(|next| *next <= until) else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(next);
        for side in 0..2 {
            self.ends[side].wire.now = self.now;
            while self.under_way[side].front().is_some_and(|(at, _)| *at <= self.now) {
                let (_, datagram) = self.under_way[side].pop_front().unwrap();
                self.ends[side].receive(&datagram);
            }
            self.ends[side].on_time(self.now);
        }
        true
    }

    fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while self.step(until) {}
        for end in &mut self.ends {
            end.wire.now = until;
        }
    }

    fn datagrams(&self) -> usize {
        self.sent.iter().map(Vec::len).sum()
    }
}

/// Timeouts that 20 % of loss can't reach.
fn patient() -> Settings {
    Settings {
        max_rto: Duration::from_secs(1),
        open_timeout: Duration::from_secs(600),
        timeout: Duration::from_secs(600),
        close_timeout: Duration::from_secs(600),
        ..Settings::default()
    }
}

fn message(number: u64, length: u64) -> Vec<u8> {
    (0..length).map(|at| (number.wrapping_mul(31) ^ at).to_le_bytes()[0]).collect()
}

#[test]
fn two_messages_each_way_take_few_datagrams() {
    let mut pair = Pair::calm();
    // OPEN, ACCEPT, PING, ACK.
    assert_eq!(pair.datagrams(), 4);
    pair.ends[0].session.send(b"one").unwrap();
    pair.ends[0].session.send(b"two").unwrap();
    pair.ends[0].settle();
    pair.ends[1].send(b"three");
    pair.ends[1].send(b"");
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.ends[0].got, [&b"three"[..], b""]);
    assert_eq!(pair.ends[1].got, [&b"one"[..], b"two"]);
    assert_eq!(pair.datagrams(), 4 + 1 + 2 + 2, "both messages of the client in one");
    // A round trip, and an acknowledgement's delay now and then.
    let rtt = pair.ends[0].link().rtt().unwrap();
    assert!(rtt >= 2 * LATENCY && rtt < 3 * LATENCY, "{rtt:?}");
}

#[test]
fn closing_takes_four_datagrams_and_is_clean_on_both_sides() {
    let mut pair = Pair::calm();
    let before = pair.datagrams();
    pair.ends[0].close();
    assert_eq!(pair.ends[0].session.send(b"late"), Err(SendError::Closing));
    pair.run(Duration::from_millis(50));
    assert_eq!(pair.datagrams() - before, 4, "FIN, FIN, DONE, DONE");
    assert_eq!(pair.ends[0].session.end(), (0, true, false));
    assert_eq!(pair.ends[1].session.end(), (0, true, true));
    assert!(pair.ends.iter().all(|end| end.failed.is_none() && end.session.is_over()));
}

#[test]
fn what_both_sent_before_the_close_arrives() {
    let mut pair = Pair::calm();
    let long = message(1, 60_000);
    pair.ends[0].send(&long);
    pair.ends[1].send(&long);
    pair.ends[0].close();
    pair.run(Duration::from_secs(5));
    for end in &pair.ends {
        assert!(end.got == [long.clone()] && end.session.end().1 && end.failed.is_none());
    }
}

#[test]
fn both_close_at_once() {
    let mut pair = Pair::calm();
    pair.ends[0].close();
    pair.ends[1].close();
    pair.run(Duration::from_secs(1));
    assert!(pair.ends.iter().all(|end| end.session.end() == (0, true, false) && end.failed.is_none()));
}

#[test]
fn two_clients_that_ask_at_once_meet() {
    for seed in 0..50 {
        let settings = Rc::new(patient());
        let mut pair = Pair::new(Session::client(&settings), Session::client(&settings), seed);
        pair.weather = BAD;
        pair.ends[0].begin();
        pair.ends[1].begin();
        pair.run(Duration::from_secs(300));
        pair.ends[0].send(b"a");
        pair.ends[1].send(b"b");
        pair.run(Duration::from_secs(300));
        assert_eq!((&pair.ends[0].got[..], &pair.ends[1].got[..]), (&[b"b".to_vec()][..], &[b"a".to_vec()][..]));
    }
}

/// The main thing, with each end's own view of the other as small as it may be, and large.
#[test]
fn every_message_arrives_once_and_in_order_whatever_the_channel_does() {
    for seed in 0..150 {
        let mut dice = Dice(seed);
        let client = Settings {
            datagram: 128 + usize::try_from(dice.below(1_500)).unwrap(),
            receive_window: 4_000 + usize::try_from(dice.below(100_000)).unwrap(),
            ..patient()
        };
        let server = Settings { datagram: 1_200, ..patient() };
        let mut pair = Pair::new(Session::client(&Rc::new(client)), Session::server(&Rc::new(server)), seed);
        pair.weather = BAD;
        // The numbers wrap soon.
        pair.ends[0].wire.rigged = Some((u64::from(u32::MAX) - dice.below(40)) << 32);
        pair.ends[0].begin();
        pair.ends[1].begin();
        let mut sent: [Vec<Vec<u8>>; 2] = Default::default();
        let mut next: [Option<Vec<u8>>; 2] = Default::default();
        while sent.iter().map(Vec::len).sum::<usize>() < 60 {
            let side = usize::from(dice.below(2) == 1);
            let length = match dice.below(10) {
                0 => dice.below(65_537),
                1 => [0, 1, 105, 1_177, 1_178, 65_536][usize::try_from(dice.below(6)).unwrap()],
                _ => dice.below(300),
            };
            let message = next[side].take().unwrap_or_else(|| message(dice.roll(), length));
            match pair.ends[side].session.send(&message) {
                Ok(()) => sent[side].push(message),
                Err(SendError::Full { .. } | SendError::Closing) => next[side] = Some(message), // not open, or slow
                Err(error) => panic!("{error}"),
            }
            pair.ends[side].settle();
            pair.run(Duration::from_millis(dice.below(200)));
        }
        pair.ends[usize::from(seed % 2 == 1)].close();
        pair.run(Duration::from_secs(2_000));
        for (side, sent) in sent.iter().enumerate() {
            let end = &pair.ends[1 - side];
            assert!(end.got == *sent, "seed {seed}: {} of {} messages", end.got.len(), sent.len());
            assert_eq!((end.session.end().0, &end.failed), (0, &None), "seed {seed}");
            assert!(end.session.is_over() && end.session.end().1, "seed {seed}");
        }
    }
}

#[test]
fn a_lost_last_acknowledgement_is_made_up_for() {
    let mut pair = Pair::calm();
    pair.ends[0].close();
    pair.run(Duration::from_millis(15));
    pair.weather = GONE; // the client's acknowledgement of the server's end
    pair.run(Duration::from_millis(800));
    assert!(pair.ends.iter().all(|end| !end.session.is_over()));
    pair.weather = CALM;
    pair.run(Duration::from_millis(800));
    assert!(pair.ends.iter().all(|end| end.session.end().1 && end.failed.is_none()));
}

#[test]
fn a_server_learns_soon_that_it_is_heard_though_the_first_sign_is_lost() {
    let mut pair = Pair::with(Settings::default(), 1);
    pair.ends[0].begin();
    pair.ends[1].begin();
    pair.run(Duration::from_millis(15));
    pair.weather = GONE;
    pair.run(Duration::from_millis(10));
    assert!(pair.ends[0].opened && !pair.ends[1].opened);
    pair.weather = CALM;
    pair.run(Duration::from_millis(300));
    assert!(pair.ends[1].opened);
}

#[test]
fn nobody_answers() {
    let mut pair = Pair::with(Settings::default(), 1);
    pair.weather = GONE;
    pair.ends[0].begin();
    pair.run(Duration::from_millis(9_999));
    assert_eq!(pair.datagrams(), 4, "after 0, 1, 3 and 7 seconds");
    pair.run(Duration::from_millis(2));
    assert_eq!(pair.ends[0].failed.as_deref(), Some("open_timeout: nobody answered within 10s"));
}

#[test]
fn a_peer_that_vanishes_is_given_up_whether_something_is_sent_or_not() {
    for sends in [true, false] {
        let mut pair = Pair::calm();
        pair.run(Duration::from_secs(20));
        pair.weather = GONE;
        if sends {
            pair.ends[0].send(b"anybody there?");
        }
        let least = if sends { 29 } else { 39 };
        pair.run(Duration::from_secs(least));
        assert_eq!(pair.ends[0].failed, None);
        pair.run(Duration::from_secs(7));
        let error = pair.ends[0].failed.as_deref();
        assert_eq!(error, Some("timeout: the peer has acknowledged nothing for 30s"));
        assert_eq!(pair.ends[0].session.end().0, usize::from(sends), "unsent");
        pair.run(Duration::from_secs(60));
        assert!(pair.ends[1].failed.is_some(), "the other side asks as well");
    }
}

#[test]
fn a_partition_that_heals_in_time_costs_nothing_but_time() {
    let mut pair = Pair::calm();
    pair.weather = GONE;
    for number in 0..100 {
        pair.ends[0].send(&message(number, 1_000));
        pair.ends[1].send(&message(number, 10));
    }
    pair.run(Duration::from_secs(25));
    pair.weather = CALM;
    pair.run(Duration::from_secs(30));
    assert_eq!((pair.ends[0].got.len(), pair.ends[1].got.len()), (100, 100));
    assert!(pair.ends.iter().all(|end| end.failed.is_none()));
}

#[test]
fn who_was_not_running_does_not_blame_the_peer() {
    let mut pair = Pair::calm();
    pair.ends[0].send(b"before");
    pair.collect();
    pair.under_way[1].clear(); // lost
    pair.now = pair.now + Duration::from_secs(3_600);
    pair.run(Duration::from_secs(5));
    assert_eq!((pair.ends[1].got.len(), &pair.ends[0].failed), (1, &None));
}

#[test]
fn after_the_close_a_dead_network_ends_it_within_the_bound() {
    let mut pair = Pair::calm();
    pair.weather = GONE;
    pair.ends[0].send(b"never arrives");
    pair.ends[0].close();
    pair.run(Duration::from_millis(9_999));
    assert!(!pair.ends[0].session.is_over());
    pair.run(Duration::from_millis(2));
    assert_eq!(pair.ends[0].failed.as_deref(), Some("close_timeout: the peer did not close within 10s"));
    assert_eq!(pair.ends[0].session.end(), (1, false, false));
}

#[test]
fn a_peer_that_was_started_again_ends_the_session_and_opens_the_next() {
    let mut pair = Pair::calm();
    pair.ends[1].send(b"to the first");
    pair.ends[0] = End::new(Session::client(&Rc::new(Settings::default())), 77);
    pair.ends[0].wire.now = pair.now;
    pair.ends[0].begin();
    pair.run(Duration::from_millis(500));
    assert_eq!(pair.ends[1].failed.as_deref(), Some("the peer has reset the session"));
    // The socket makes a new one of the next datagram.
    pair.ends[1] = End::new(Session::server(&Rc::new(Settings::default())), 78);
    pair.ends[1].wire.now = pair.now;
    pair.ends[1].begin();
    pair.run(Duration::from_secs(1));
    pair.ends[1].send(b"to the second");
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.ends[0].got, [b"to the second"]);
}

#[test]
fn an_abort_is_told() {
    let mut pair = Pair::calm();
    let End { session, wire, .. } = &mut pair.ends[0];
    session.abort(wire);
    pair.run(Duration::from_millis(50));
    assert_eq!(pair.ends[1].failed.as_deref(), Some("the peer has reset the session"));
}

#[test]
fn who_does_not_take_what_comes_stops_the_peer_and_starts_it_again() {
    for keepalive in [Settings::default().keepalive, None] {
        let mut pair = Pair::with(Settings { receive_window: 12_000, keepalive, ..Settings::default() }, 5);
        pair.open();
        pair.ends[1].link().pause();
        for number in 0..100 {
            pair.ends[0].send(&message(number, 1_000));
        }
        pair.run(Duration::from_secs(120));
        assert!(pair.ends[1].got.is_empty());
        assert_eq!(pair.ends[0].link().unsent(), 90, "a window of ten, which was acknowledged");
        let before = pair.datagrams();
        pair.run(Duration::from_secs(600));
        assert_eq!(pair.ends[0].failed, None);
        // Each asks by the keepalive's time, or the sender alone by the longest timeout; and is answered.
        assert_eq!(pair.datagrams() - before, if keepalive.is_some() { 4 * 600 / 15 } else { 2 * 600 / 60 });
        assert!(pair.ends[1].session.held() < 20_000);
        pair.weather = GONE; // the news of room is lost
        pair.ends[1].link().resume();
        pair.ends[1].settle();
        pair.collect();
        pair.weather = CALM;
        pair.run(Duration::from_secs(61));
        assert_eq!(pair.ends[1].got.len(), 100);
    }
}

/// RFC 6298 §5.1: the timer starts when something is sent, whatever was awaited before.
#[test]
fn what_is_sent_after_a_wait_has_the_whole_timeout_to_arrive() {
    let mut pair = Pair::with(Settings { receive_window: 12_000, ..Settings::default() }, 5);
    pair.open();
    pair.ends[1].link().pause();
    for number in 0..100 {
        pair.ends[0].send(&message(number, 1_000));
    }
    pair.run(Duration::from_secs(40)); // it asks for room by the keepalive's time now, and has just begun to wait again
    pair.ends[1].link().resume();
    pair.ends[1].settle();
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.ends[1].got.len(), 100);
    assert_eq!((pair.ends[0].session.stats, pair.ends[1].session.stats), Default::default());

    let mut pair = Pair::calm();
    pair.run(Duration::from_secs(13));
    let asked = pair.datagrams();
    while pair.datagrams() == asked {
        pair.step(Time::MAX); // until one asks whether the other is there
    }
    let rto = Duration::from_millis(200);
    pair.weather = GONE;
    pair.run(rto - Duration::from_millis(5));
    pair.weather = CALM;
    pair.ends.iter_mut().for_each(|end| end.send(b"just before the question is asked again"));
    pair.run(Duration::from_secs(1));
    assert!(pair.ends.iter().all(|end| end.session.stats == Stats::default() && end.got.len() == 1));
}

#[test]
fn an_acknowledgement_that_there_is_no_room_for_waits_for_room_not_for_time() {
    let mut pair = Pair::calm();
    pair.ends[0].send(&message(1, 1_000));
    pair.ends[0].send(&message(2, 1_000));
    pair.collect();
    pair.ends[1].wire.room = false;
    pair.ends[1].wire.now = pair.now;
    for (_, datagram) in std::mem::take(&mut pair.under_way[1]) {
        pair.ends[1].receive(&datagram);
    }
    assert!(pair.ends[1].session.deadline().is_some_and(|due| due > pair.now), "a timer that is due would spin");
    assert!(pair.ends[1].wire.sent.is_empty());
    pair.ends[1].wire.room = true;
    pair.ends[1].settle();
    assert_eq!(pair.ends[1].wire.sent.len(), 1);
}

#[test]
fn an_unverified_peer_gets_no_more_than_three_times_what_it_sent() {
    let settings = Rc::new(Settings::default());
    for first in
        [&b"\x16\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0"[..], b"\x15\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0", b"", b"garbage"]
    {
        let mut server = End::new(Session::server(&settings), 3);
        server.begin();
        server.receive(first);
        assert!(server.session.is_over(), "it has nothing to wait for");
        let answered: usize = server.wire.sent.iter().map(Vec::len).sum();
        assert!(answered <= 3 * first.len(), "{answered} for {}", first.len());
    }
    let mut server = End::new(Session::server(&settings), 3);
    server.begin();
    let mut asked = 0;
    for id in 1..100 {
        let mut open = Vec::new();
        Datagram::Open(Terms { id: id % 10 + 1, first: 0, window: 9, datagram: 1_200, message: 9 }).write(&mut open);
        asked += open.len();
        server.receive(&open);
    }
    server.on_time(Time::ZERO + Duration::from_secs(9));
    let answered: usize = server.wire.sent.iter().map(Vec::len).sum();
    assert!(answered > 0 && answered <= 3 * asked);
    assert!(server.session.held() < 1_000);
    server.on_time(Time::ZERO + Duration::from_secs(10));
    assert!(server.session.is_over() && !server.opened && server.failed.is_none());
}

#[test]
fn a_forged_opening_does_not_keep_the_true_one_out() {
    let settings = Rc::new(Settings::default());
    let mut pair = Pair::new(Session::client(&settings), Session::server(&settings), 9);
    pair.ends[1].begin();
    let mut forged = Vec::new();
    Datagram::Open(Terms { id: 5, first: 0, window: 9, datagram: 1_200, message: 9 }).write(&mut forged);
    pair.ends[1].receive(&forged);
    pair.ends[0].begin();
    pair.run(Duration::from_millis(25));
    pair.ends[1].receive(&forged);
    pair.run(Duration::from_millis(100));
    assert!(pair.ends.iter().all(|end| end.opened));
    let before = pair.datagrams();
    pair.ends[1].receive(&forged);
    pair.run(Duration::from_secs(1));
    assert!(pair.ends.iter().all(|end| end.failed.is_none()));
    assert_eq!(pair.datagrams() - before, 2, "asked for a sign of life, the peer gives one");
}

/// Whatever is repeated, reflected or cut, without a change: no storm, no message twice, no end.
#[test]
fn repeated_and_reflected_datagrams_do_no_harm() {
    let mut pair = Pair::calm();
    pair.ends[0].send(&message(1, 5_000));
    pair.ends[1].send(&message(2, 5_000));
    pair.run(Duration::from_secs(1));
    let all: Vec<Vec<u8>> = pair.sent.concat();
    let before = pair.datagrams();
    for datagram in &all {
        for end in &mut pair.ends {
            end.receive(datagram);
            end.receive(&datagram[..datagram.len() - 1]);
        }
    }
    pair.run(Duration::from_secs(1));
    assert!(pair.ends.iter().all(|end| end.failed.is_none() && end.got.len() == 1));
    // At most an answer to each whole one, and no answers to answers.
    assert!(pair.datagrams() - before <= 2 * all.len(), "{} for {}", pair.datagrams() - before, all.len());
    pair.run(Duration::from_secs(10));
    let after = pair.datagrams();
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.datagrams(), after, "silence again");
}

fn peers_datagram(pair: &mut Pair, make: impl FnOnce(u64, Progress) -> Vec<u8>) -> Option<String> {
    // From the server to the client, as the server itself might.
    let (to, link) = (pair.ends[0].link().mine().id, pair.ends[0].link());
    let progress = link.next_progress();
    pair.ends[0].receive(&make(to, progress));
    pair.ends[0].failed.clone()
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_ends_the_session() {
    let mut pair = Pair::calm();
    pair.ends[0].send(b"one");
    let failed = peers_datagram(&mut pair, |to, Progress { ack, limit }| {
        let mut out = Vec::new();
        Datagram::Ack { to, progress: Progress { ack: ack.wrapping_add(2), limit }, bitmap: b"" }.write(&mut out);
        out
    });
    assert_eq!(failed.as_deref(), Some("the peer acknowledged what was never sent"));
    let mut pair = Pair::calm();
    pair.ends[0].send(b"one");
    let failed = peers_datagram(&mut pair, |to, progress| {
        let mut out = Vec::new();
        Datagram::Ack { to, progress, bitmap: b"\x01" }.write(&mut out);
        out
    });
    assert_eq!(failed.as_deref(), Some("the peer acknowledged what was never sent"));
}

#[test]
fn segments_beyond_the_window_are_dropped() {
    let mut pair = Pair::calm();
    let first = pair.ends[1].link().mine().first;
    for ahead in [218, 1_000, 1 << 30] {
        let sequence = first.wrapping_add(ahead);
        let failed = peers_datagram(&mut pair, |to, progress| {
            let mut out = Vec::new();
            Datagram::Data { to, progress, sequence, chunks: b"\0\x01x" }.write(&mut out);
            out
        });
        assert_eq!(failed, None);
    }
    assert_eq!(pair.ends[0].session.stats.dropped, 3);
    assert!(pair.ends[0].session.held() < 5_000);
}

#[test]
fn fragments_without_an_end_are_cut_off_at_the_limit() {
    let mut pair = Pair::calm();
    let mut sequence = pair.ends[1].link().mine().first;
    let mut fragment = b"\x84\0".to_vec();
    fragment.resize(1_026, 7);
    for _ in 0..64 {
        let failed = peers_datagram(&mut pair, |to, progress| {
            let mut out = Vec::new();
            Datagram::Data { to, progress, sequence, chunks: &fragment }.write(&mut out);
            out
        });
        assert_eq!(failed, None);
        sequence = sequence.wrapping_add(1);
    }
    let failed = peers_datagram(&mut pair, |to, progress| {
        let mut out = Vec::new();
        Datagram::Data { to, progress, sequence, chunks: &fragment }.write(&mut out);
        out
    });
    assert_eq!(failed.as_deref(), Some("a message of 66560 bytes or more, 65536 allowed"));
}

#[test]
fn too_much_and_too_long_is_refused_and_the_rest_goes_on() {
    let mut pair = Pair::with(Settings { max_message: 1_000, send_buffer: 6_000, ..Settings::default() }, 1);
    pair.open();
    pair.weather = GONE;
    assert_eq!(pair.ends[0].session.send(&[0; 1_001]), Err(SendError::TooLong { size: 1_001, limit: 1_000 }));
    let mut fitted = 0;
    while pair.ends[0].session.send(&[0; 1_000]).is_ok() {
        fitted += 1;
        pair.ends[0].settle();
    }
    assert_eq!(fitted, 5);
    assert!(matches!(pair.ends[0].session.send(&[0; 1_000]), Err(SendError::Full { limit: 6_000, .. })));
    pair.weather = CALM;
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.ends[1].got.len(), 5);
}

/// RFC 5681 §4.1: no burst of a window that was earned long ago.
#[test]
fn after_a_pause_the_window_begins_anew() {
    let mut pair = Pair::calm();
    for number in 0..200 {
        pair.ends[0].send(&message(number, 1_000));
    }
    pair.run(Duration::from_secs(5));
    for _ in 0..50 {
        pair.ends[0].session.send(&message(0, 1_000)).unwrap();
    }
    pair.ends[0].settle();
    assert_eq!(pair.ends[0].wire.sent.len(), 11, "12,000 bytes, though 100,000 were under way before");
}

/// A wire with buffers of its own.
struct Quiet {
    now: Time,
    dice: Dice,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Wire for Quiet {
    fn now(&self) -> Time {
        self.now
    }

    fn random(&mut self) -> u64 {
        self.dice.roll()
    }

    fn send(&mut self, datagram: &[u8]) {
        self.bytes.extend_from_slice(datagram);
        self.ends.push(self.bytes.len());
    }

    fn has_room(&mut self) -> bool {
        true
    }
}

/// Carries what `from` has sent to the other end; gives the bytes of messages that have arrived.
fn carry(from: &mut Quiet, to: &mut Session, wire: &mut Quiet) -> usize {
    let (mut start, mut arrived) = (0, 0);
    for end in from.ends.drain(..) {
        let received = to.receive(wire, &from.bytes[start..end]).unwrap();
        start = end;
        if let Verdict::Deliver(segment) = received.verdict {
            for chunk in Chunks(segment) {
                match to.link_mut().unwrap().assemble(chunk).unwrap() {
                    None => {}
                    Some(Message::Whole(message)) => arrived += message.len(),
                    Some(Message::Assembled(message)) => {
                        arrived += message.len();
                        to.link_mut().unwrap().reuse(message);
                    }
                }
            }
        }
        to.flush(wire);
    }
    from.bytes.clear();
    arrived
}

#[test]
fn a_steady_flow_allocates_nothing() {
    let settings = Rc::new(Settings::default());
    let mut ends = [Session::client(&settings), Session::server(&settings)];
    let quiet = |seed| Quiet {
        now: Time::ZERO,
        dice: Dice(seed),
        bytes: Vec::with_capacity(1 << 20),
        ends: Vec::with_capacity(1_000),
    };
    let mut wires = [quiet(1), quiet(2)];
    let ([near, far], [here, there]) = (&mut ends, &mut wires);
    near.begin(here);
    far.begin(there);
    let mut turn = |length: usize| {
        let mut arrived = 0;
        if near.link().is_some() {
            for _ in 0..3 {
                near.send(&[7; 6_000][..length]).unwrap();
            }
            far.send(b"noted").unwrap();
            near.flush(here);
            far.flush(there);
        }
        for _ in 0..3 {
            arrived += carry(here, far, there);
            arrived += carry(there, near, here);
        }
        here.now = here.now + Duration::from_millis(1);
        there.now = here.now;
        arrived
    };
    for _ in 0..100 {
        turn(1_000);
        turn(6_000);
    }
    let mut arrived = 0;
    let info = allocation_counter::measure(|| {
        for _ in 0..500 {
            arrived += turn(1_000) + turn(6_000) + turn(0);
        }
    });
    assert_eq!(arrived, 500 * (3 * 7_000 + 3 * 5));
    assert_eq!(info.count_total, 0);
}

/// What is declared is what is held, or more.
#[test]
fn memory_is_declared() {
    let mut pair = Pair::calm();
    pair.weather = GONE;
    let mut held = [0; 2];
    let info = allocation_counter::measure(|| {
        let before = pair.ends.each_ref().map(|end| end.session.held());
        for number in 0..60 {
            pair.ends[0].session.send(&[1; 5_000][..number * 80]).unwrap();
            pair.ends[0].session.flush(&mut pair.ends[0].wire);
        }
        let mut sent = std::mem::take(&mut pair.ends[0].wire.sent);
        let End { session, wire, .. } = &mut pair.ends[1];
        for (place, datagram) in sent.drain(..).enumerate() {
            if place % 5 != 0 {
                session.receive(wire, &datagram).unwrap();
            }
        }
        held = [0, 1].map(|side| pair.ends[side].session.held() - before[side]);
    });
    assert!(held[0] > 100_000 && held[1] > 5_000, "{held:?}");
    let held = i64::try_from(held[0] + held[1]).unwrap();
    assert!(info.bytes_current <= held && held < info.bytes_current * 11 / 10, "{held} declared, {info:?}");
}
