//! A message that a full read has cut: a large one is waited for where it lies, and the rest is read behind it; a small one
//! goes before the next read, which is as long as any.

use switchboard::{Context, Failure, Input, Limits, Protocol};

use crate::spy::Log;
use crate::world::World;

const BUDGET: usize = 16 * 1024;

/// Takes messages of `length` bytes. Of one that is read on behind it changes what is there at once, and only once.
struct Stayer {
    length: usize,
    changed: usize,
    log: Log,
}

impl Stayer {
    fn change(&mut self, bytes: &mut [u8]) {
        bytes[self.changed..].iter_mut().for_each(|byte| *byte ^= 0xff);
        self.changed = bytes.len();
    }
}

impl Protocol for Stayer {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while input.len() >= self.length {
            let message = input.take(self.length);
            self.change(message);
            self.changed = 0;
            assert!(message.iter().all(|byte| *byte == !7), "each byte is changed once");
            self.log.note(format!("whole {}", self.length));
        }
        if !input.is_empty() {
            let stays = cx.reads_on(input, self.length);
            self.log.note(format!("{} {}", if stays { "stays" } else { "waits" }, input.len()));
            if stays {
                self.change(input.rest_mut());
            }
            input.wait_for(self.length);
        }
        Ok(())
    }
}

fn world(length: usize, log: &Log) -> World {
    let mut world = World::with_limits(Limits { read_budget: BUDGET, ..Limits::default() });
    let log = log.clone();
    world.listen(move || Stayer { length, changed: 0, log: log.clone() });
    world
}

/// What is noted in each turn until everything is read.
fn turns(length: usize, pieces: &[usize]) -> Vec<Vec<String>> {
    let log = Log::default();
    let mut world = world(length, &log);
    let peer = world.peer();
    let mut turns = Vec::new();
    for &piece in pieces {
        peer.send(&vec![7; piece]);
        while peer.unread() > 0 {
            world.turn();
            turns.push(log.take());
        }
    }
    assert_eq!(world.event_loop.core().held_bytes() > 0, pieces.iter().sum::<usize>() % length > 0);
    turns
}

#[test]
fn the_rest_is_read_behind_it_in_the_same_visit() {
    assert_eq!(turns(BUDGET + 1, &[BUDGET + 1]), [["stays 16384", "whole 16385"]]);
    assert_eq!(
        turns(BUDGET + 1024, &[BUDGET + 1024]),
        [["stays 16384", "whole 17408"]],
        "a header more than the budget"
    );
    assert_eq!(turns(8_500, &[17_000]), [["whole 8500", "stays 7884", "whole 8500"]], "wherever it begins");
}

#[test]
fn where_that_is_not_there_it_is_kept_as_it_is() {
    let expected = [vec!["stays 16384", "waits 16384"], vec!["whole 16385"]];
    assert_eq!(turns(BUDGET + 1, &[BUDGET, 1]), expected);
    let expected = [vec!["stays 16384", "waits 16484"], vec![], vec!["whole 17000"]];
    assert_eq!(turns(17_000, &[BUDGET + 100, 100, 416]), expected);
}

#[test]
fn a_short_one_one_without_room_and_one_not_cut_are_not_read_on() {
    assert_eq!(turns(8_191, &[BUDGET + 8_189]).concat(), ["whole 8191", "whole 8191", "waits 2", "whole 8191"]);
    let expected = [vec!["waits 16384"], vec!["whole 17409"]];
    assert_eq!(turns(BUDGET + 1025, &[BUDGET + 1025]), expected, "more than there is room for");
    assert_eq!(turns(10_000, &[9_999, 1]), [["waits 9999"], ["whole 10000"]], "all that there was has been read");
}

/// Is to be called when so many bytes are there, and not before.
struct Patient {
    length: usize,
    waits: bool,
    taken: usize,
    log: Log,
}

/// The byte that comes at this place of what is sent to it.
fn nth(place: usize) -> u8 {
    u8::try_from(place % 251).unwrap()
}

impl Protocol for Patient {
    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.log.note(input.len().to_string());
        assert!(!self.waits || input.len() >= self.length, "called before what it waits for has arrived");
        while input.len() >= self.length {
            let message = input.take(self.length);
            assert!(message.iter().enumerate().all(|(place, &byte)| byte == nth(self.taken + place)), "in their order");
            self.taken += self.length;
        }
        self.waits = !input.is_empty();
        input.wait_for(self.length);
        Ok(())
    }
}

/// What it is offered of so many bytes in such pieces; how many reads that takes; what it holds in the end.
fn patient(length: usize, read_budget: usize, pieces: impl IntoIterator<Item = usize>) -> (Vec<String>, u64, usize) {
    let log = Log::default();
    let mut world = World::with_limits(Limits { read_budget, ..Limits::default() });
    let of_loop = log.clone();
    world.listen(move || Patient { length, waits: false, taken: 0, log: of_loop.clone() });
    let peer = world.peer();
    let mut sent = 0;
    for piece in pieces {
        peer.send(&(sent..sent + piece).map(nth).collect::<Vec<u8>>());
        sent += piece;
        world.settle();
    }
    assert_eq!(peer.unread(), 0);
    let held = world.event_loop.core().held_bytes();
    peer.finish();
    world.settle();
    assert_eq!(world.event_loop.core().held_bytes(), 0);
    (log.take(), peer.calls().0, held)
}

#[test]
fn who_only_waits_is_not_called_before_all_has_arrived() {
    for (length, pieces) in [(20_000, [BUDGET, 1000, 2616]), (BUDGET + 1, [BUDGET, 1, 0]), (BUDGET + 2, [BUDGET, 1, 1])]
    {
        assert_eq!(patient(length, BUDGET, pieces).0, [BUDGET.to_string(), length.to_string()], "{length}");
    }
    assert_eq!(patient(5, BUDGET, [1; 7]).0, ["1", "5", "1"]);
}

#[test]
fn of_a_flood_of_small_messages_each_read_is_a_long_one() {
    for length in [7, 20, 1024] {
        let (offered, reads, held) = patient(length, BUDGET, [100 * BUDGET + 1]);
        let most = (BUDGET..BUDGET + length).map(|offered| offered.to_string()).collect::<Vec<_>>();
        assert!(offered[..100].iter().all(|offered| most.contains(offered)), "{offered:?}");
        assert_eq!(reads, 102, "one for the last byte, one for the end");
        assert!(held <= 2 * length.max(128), "{held} bytes held with a part of {length}");
    }
}

#[test]
fn wherever_a_message_is_cut_its_bytes_come_in_order() {
    for read_budget in [100, BUDGET, 256 * 1024] {
        for length in [3, 250, 8_191, 8_192, 8_193, 20_000] {
            for piece in [97, 1460, 8_192, 65_536] {
                let (offered, ..) = patient(length, read_budget, [piece; 20]);
                assert!(!offered.is_empty());
            }
        }
    }
}
