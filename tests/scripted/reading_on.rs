//! A large message that a full read has cut is waited for where it lies: the rest is read behind it.

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
    log: Log,
}

impl Protocol for Patient {
    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.log.note(input.len().to_string());
        assert!(!self.waits || input.len() >= self.length, "called before what it waits for has arrived");
        while input.len() >= self.length {
            input.take(self.length);
        }
        self.waits = !input.is_empty();
        input.wait_for(self.length);
        Ok(())
    }
}

#[test]
fn who_only_waits_is_not_called_before_all_has_arrived() {
    for (length, pieces) in [(20_000, [BUDGET, 1000, 2616]), (BUDGET + 1, [BUDGET, 1, 0]), (BUDGET + 2, [BUDGET, 1, 1])]
    {
        let log = Log::default();
        let mut world = World::with_limits(Limits { read_budget: BUDGET, ..Limits::default() });
        let of_loop = log.clone();
        world.listen(move || Patient { length, waits: false, log: of_loop.clone() });
        let peer = world.peer();
        for piece in pieces {
            peer.send(&vec![7; piece]);
            world.settle();
        }
        assert_eq!(log.take(), [BUDGET.to_string(), length.to_string()], "{length}");
    }
}
