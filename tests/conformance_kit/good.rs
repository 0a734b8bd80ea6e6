//! Protocols without a fault pass, and what they say is compared.

use std::time::Duration;

use switchboard::testkit::{Operation, Schedule, Script, check_conformance, fuzz, note};
use switchboard::{Bytes, CloseReason, Closing, Context, Failure, Input, Limits, Message, Protocol, TimerId};
use switchboard_echo::TcpEcho;

use crate::{answer_lines, assert_says, complaint, most_allocated};

/// Lines, answered; a line `bye` says goodbye and closes, one `later` is answered after a second,
/// one `more` turns it into another of its kind.
struct Lines {
    generation: u32,
}

impl Protocol for Lines {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.send(format!("welcome {}\n", self.generation).as_bytes());
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        let mut over = false;
        while let Some(end) = input.iter().position(|&byte| byte == b'\n').filter(|_| !over) {
            if !cx.has_room() {
                cx.pause_reading();
                return Ok(());
            }
            let line = input.take(end + 1);
            note(format_args!("line {}", line.escape_ascii()));
            match &*line {
                b"bye\n" => {
                    cx.send(b"goodbye\n");
                    cx.close();
                    over = true;
                }
                b"later\n" => drop(cx.set_timer(Duration::from_secs(1))),
                b"more\n" => {
                    cx.switch_to(Self { generation: self.generation + 1 });
                    over = true;
                }
                line => cx.send(line),
            }
        }
        if input.len() > 1024 { Err(Failure::peer("a line without an end")) } else { Ok(()) }
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.resume_reading();
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        cx.send(b"now\n");
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        if let Message::Bytes(bytes) = message {
            cx.send_shared(bytes);
        }
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        note(format_args!("close: {reason}"));
    }
}

#[test]
fn lines_with_all_that_can_happen_pass() {
    let script = Script::new()
        .expect_sent("welcome 0\n")
        .send("one\ntwo\nlater\nthree\n")
        .expect_sent("one\ntwo\nthree\n")
        .advance(Duration::from_secs(1))
        .expect_sent("now\n")
        .post(|| Bytes::from_static(b"posted\n").into())
        .send("four\nmore\nfive\nmore\nmore\nsix\n")
        .expect_sent("posted\nfour\nwelcome 1\nfive\nwelcome 2\nwelcome 3\nsix\n")
        .send("bye\nunread\n")
        .expect_sent("goodbye\n")
        .measure_memory(most_allocated);
    let done = check_conformance(|| Lines { generation: 0 }, &script);
    println!("{done}");
    assert_eq!((done.input, done.output, done.notes), (60, 87, 15));
    assert!(done.runs > 1_900, "{done}"); // pairs of split points alone are 59 * 58 / 2
}

#[test]
fn an_echo_passes() {
    let script = Script::new().send([7; 40]).advance(Duration::from_secs(1)).send("the end").eof();
    let done = check_conformance(|| TcpEcho, &script.measure_memory(most_allocated));
    println!("{done}");
    assert_eq!((done.input, done.output), (47, 47));
}

#[test]
fn an_echo_that_is_often_out_of_room_passes() {
    let limits =
        Limits { high_water: 16, low_water: 4, read_budget: 8, loop_memory: 65_536, ..Script::narrow_limits() };
    let script = Script::new().send([1; 30]).send([2; 30]).limits(limits).shutdown(Duration::from_secs(1));
    println!("{}", check_conformance(|| TcpEcho, &script));
}

#[test]
fn a_protocol_that_only_consumes_passes_if_it_says_so() {
    struct Sink(usize);
    impl Protocol for Sink {
        fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
            self.0 += input.take_all().len();
            Ok(())
        }
        fn on_close(&mut self, _: &mut Closing<'_>, _: &CloseReason) {
            if self.0 > 0 {
                note(self.0);
            }
        }
    }
    assert_eq!(check_conformance(|| Sink(0), &Script::new().send("into the void")).notes, 1);
    let said = complaint(|| Sink(0), &Script::new());
    assert_says(&said, &["Sink does not conform: it sends nothing and notes nothing"]);
}

#[test]
fn a_long_input_is_sampled_and_still_quick() {
    struct Sum(u64);
    impl Protocol for Sum {
        fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
            self.0 += input.take_all().iter().map(|&byte| u64::from(byte)).sum::<u64>();
            cx.has_room();
            Ok(())
        }
        fn on_eof(&mut self, cx: &mut Context<'_>, _: &mut Input<'_>) -> Result<(), Failure> {
            cx.send(&self.0.to_be_bytes());
            cx.finish();
            Ok(())
        }
    }
    let done = check_conformance(|| Sum(0), &Script::new().send([9; 5_000]));
    println!("{done}");
    assert!(done.runs > 10_000, "{done}");
}

#[test]
fn a_message_per_line_however_many_lines() {
    struct Answer;
    impl Protocol for Answer {
        fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
            answer_lines(cx, input, |cx, line| cx.send(line))
        }
        fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
            cx.resume_reading();
            Ok(())
        }
    }
    let input = "0123456789abcdef\n".repeat(12);
    let script = Script::new().send(&input).expect_sent(&input).measure_memory(most_allocated);
    println!("{}", check_conformance(|| Answer, &script));
}

/// Takes a netstring when all of it is there, and does not say what it waits for.
struct Netstrings;

impl Protocol for Netstrings {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while let Some(colon) = input.iter().take(6).position(|&byte| byte == b':') {
            let length = std::str::from_utf8(&input[..colon]).ok().and_then(|text| text.parse::<usize>().ok());
            let Some(length) = length else { return Err(Failure::peer("no length")) };
            if input.len() < colon + length + 2 {
                return Ok(());
            }
            input.take(colon + length + 2);
            cx.send(format!("{length}\n").as_bytes());
        }
        if input.len() > 5 { Err(Failure::peer("no colon")) } else { Ok(()) }
    }
}

#[test]
fn waiting_for_many_bytes_is_no_spin() {
    let script = Script::new().send(format!("1500:{},", "x".repeat(1500))).expect_sent("1500\n");
    let done = check_conformance(|| Netstrings, &script);
    assert_eq!(done.input, 1506);
    assert!(done.to_string().ends_with("5 bytes out, 0 notes; memory not measured"), "{done}");
    let measured = check_conformance(|| TcpEcho, &Script::new().send("1").measure_memory(most_allocated));
    assert!(measured.to_string().ends_with("0 notes"), "{measured}");
    let reads = Operation::CutReads(vec![1; 200]);
    let bytes = Operation::Feed(format!("15000:{},", "x".repeat(15_000)).into_bytes());
    let schedule: Schedule = std::iter::repeat_n(reads, 80).chain([bytes]).collect();
    assert_eq!(fuzz(|| Netstrings, &schedule.encode()).all_sent(), b"15000\n");
}

/// Records of a length in two bytes, echoed; of one that is not whole the part that is there is kept, and what follows is
/// read straight behind it. A record that begins with `!` has the reading pause for a second.
#[derive(Default)]
pub(crate) struct Records {
    record: Vec<u8>,
    filled: usize,
    miscounts: usize,
}

impl Records {
    /// With a fault: what is read straight into a record is taken for a byte more.
    pub(crate) fn miscounting() -> Self {
        Self { miscounts: 1, ..Self::default() }
    }

    fn fill(&mut self, cx: &mut Context<'_>, count: usize) -> Result<(), Failure> {
        self.filled += count;
        if self.filled < self.record.len() {
            cx.lend_read_buffer();
            return Ok(());
        }
        cx.send(&self.record);
        if self.record.starts_with(b"!") {
            cx.pause_reading();
            cx.set_timer(Duration::from_secs(1));
        }
        (self.record, self.filled) = (Vec::new(), 0);
        Ok(cx.hold(0)?)
    }
}

impl Protocol for Records {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while !cx.is_reading_paused() {
            if self.record.is_empty() {
                let Some(&[high, low]) = input.first_chunk() else { break };
                let length = usize::from(u16::from_be_bytes([high, low]));
                if !(1..=1024).contains(&length) {
                    return Err(Failure::peer("no such record"));
                }
                cx.hold(length)?;
                self.record = vec![0; length];
                input.take(2);
            }
            let count = input.len().min(self.record.len() - self.filled);
            if count == 0 {
                cx.lend_read_buffer();
                break;
            }
            self.record[self.filled..self.filled + count].copy_from_slice(input.take(count));
            self.fill(cx, count)?;
        }
        Ok(())
    }

    fn read_buffer(&mut self) -> &mut [u8] {
        &mut self.record[self.filled..]
    }

    fn on_filled(&mut self, cx: &mut Context<'_>, count: usize) -> Result<(), Failure> {
        let most = self.record.len() - self.filled;
        self.fill(cx, (count + self.miscounts).min(most))
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        cx.resume_reading();
        Ok(())
    }
}

pub(crate) fn records() -> Script {
    Script::new()
        .send(b"\x00\x05first\x00\x01")
        .expect_sent("first")
        .send(b".\x00\x0a!no more..")
        .expect_sent(".!no more..")
        .send(b"\x00\x04last\x00\x03")
        .advance(Duration::from_secs(1))
        .expect_sent("last")
        .send("end")
        .expect_sent("end")
}

#[test]
fn what_is_read_straight_into_a_buffer_of_its_own() {
    let checked = check_conformance(Records::default, &records());
    assert_eq!(checked.output, b"first.!no more..lastend".len());
}
