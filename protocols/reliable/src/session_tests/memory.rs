//! What it takes: nothing in a steady flow, and no more than it declares.

use super::*;

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
