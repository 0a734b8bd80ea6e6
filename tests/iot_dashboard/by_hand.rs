//! One device's connection, line by line.

use std::rc::Rc;

use switchboard::testkit::{Harness, Script, SessionHarness, check_conformance};
use switchboard_heartbeat::Config;

use super::*;
use crate::device::Device;
use crate::fleet::Fleet;
use crate::lines::{LONGEST_LINE, Line};

const SILENT_AFTER: Duration = Duration::from_secs(5);

fn fleet(most: usize) -> Rc<Fleet> {
    Rc::new(Fleet::new(most, SILENT_AFTER))
}

fn timing() -> Config {
    Config::new(SILENT_AFTER / 4, SILENT_AFTER * 3).expect("a timing")
}

fn device(fleet: &Rc<Fleet>) -> Harness {
    Harness::new(Device::new(fleet, timing()))
}

fn said(harness: &mut Harness, line: impl AsRef<[u8]>) -> String {
    harness.feed(line.as_ref());
    String::from_utf8(harness.take_sent()).expect("text")
}

fn report(fleet: &Fleet, harness: &mut Harness) -> Value {
    serde_json::from_str(&fleet.report(harness.core())).expect("JSON")
}

#[test]
fn a_device_says_who_it_is_and_what_it_reads() {
    let fleet = fleet(10);
    let mut harness = device(&fleet);
    assert_eq!(said(&mut harness, "HELLO kitchen °C 7\r\nREADING 1 2"), "WELCOME kitchen\n");
    assert_eq!(said(&mut harness, "1.5\nREADING 2 22\nPING 3\n"), "PONG 3\n");
    let snapshot: Value = serde_json::from_str(&fleet.snapshot(harness.core())).unwrap();
    let kitchen = &snapshot["devices"][0];
    assert_eq!(
        (&kitchen["name"], &kitchen["unit"], &kitchen["transport"]),
        (&"kitchen".into(), &"°C".into(), &"tcp".into())
    );
    assert_eq!((number(kitchen, "number"), kitchen["value"].as_f64()), (2, Some(22.0)));
    assert_eq!(said(&mut harness, "BYE\n"), "");
    assert!(!harness.is_open());
    assert_eq!(number(&report(&fleet, &mut harness), "gone"), 1);
}

#[test]
fn what_is_wrong_is_answered_and_counted_and_is_not_the_end() {
    let fleet = fleet(10);
    let mut harness = device(&fleet);
    let wrong: [&[u8]; 8] = [
        b"what?\n",
        b"READING 1 21.5\n",
        b"HELLO\n",
        b"HELLO <b> C 1\n",
        b"HELLO a \x07 1\n",
        b"HELLO a C x\n",
        b"PING 1 2\n",
        b"\xff\xfe\n",
    ];
    for line in wrong {
        assert!(said(&mut harness, line).starts_with("ERR "), "{}", line.escape_ascii());
        assert!(harness.is_open());
    }
    assert_eq!(said(&mut harness, "HELLO kitchen C 1\nREADING 1 20\n"), "WELCOME kitchen\n");
    assert!(said(&mut harness, "READING 2 NaN\n").starts_with("ERR expected a number\n"));
    assert!(!harness.is_open(), "nine mistakes are too many");
    let report = report(&fleet, &mut harness);
    assert_eq!((number(&report, "malformed"), number(&report, "readings_tcp")), (9, 1), "{report}");
}

#[test]
fn an_endless_line_ends_with_an_error_not_with_the_memory() {
    let fleet = fleet(10);
    let mut harness = device(&fleet);
    assert_eq!(said(&mut harness, [b'x'; LONGEST_LINE - 1]), "");
    assert_eq!(said(&mut harness, "x"), format!("ERR a line has at most {LONGEST_LINE} bytes\n"));
    assert!(!harness.is_open());
}

#[test]
fn who_never_says_hello_is_not_kept() {
    let fleet = fleet(10);
    let mut harness = device(&fleet);
    harness.advance(SILENT_AFTER);
    assert!(String::from_utf8(harness.take_sent()).unwrap().ends_with("ERR say HELLO first\n"));
    assert!(!harness.is_open());
}

#[test]
fn a_fleet_that_is_full_takes_nobody_but_in_the_place_of_who_has_gone() {
    let fleet = fleet(1);
    let mut first = device(&fleet);
    assert_eq!(said(&mut first, "HELLO first C 1\n"), "WELCOME first\n");
    let mut second = device(&fleet);
    assert_eq!(said(&mut second, "HELLO second C 1\n"), "ERR there is no room for more than 1 devices\n");
    assert!(!second.is_open());
    first.eof();
    let mut second = device(&fleet);
    assert_eq!(said(&mut second, "HELLO second C 1\n"), "WELCOME second\n");
    let report = report(&fleet, &mut second);
    assert_eq!((number(&report, "devices"), number(&report, "refused")), (1, 1), "{report}");
}

#[test]
fn gaps_are_loss_what_comes_late_is_dropped_and_a_restart_begins_anew() {
    let fleet = fleet(10);
    let mut harness = device(&fleet);
    said(&mut harness, "HELLO a C 1\nREADING 5 1\nREADING 8 2\nREADING 7 9\nREADING 8 9\n");
    let counted = report(&fleet, &mut harness);
    assert_eq!((number(&counted, "lost"), number(&counted, "late")), (2, 2), "what came before the first is no loss");
    drop(harness);
    let mut harness = device(&fleet);
    said(&mut harness, "HELLO a C 1\nREADING 10 1\n");
    assert_eq!(number(&report(&fleet, &mut harness), "lost"), 3, "the same run on another connection: 9 is missing");
    drop(harness);
    let mut harness = device(&fleet);
    said(&mut harness, "HELLO a C 2\nREADING 1 1\n");
    let snapshot: Value = serde_json::from_str(&fleet.snapshot(harness.core())).unwrap();
    let a = &snapshot["devices"][0];
    assert_eq!((number(a, "starts"), number(a, "number"), number(a, "received")), (2, 1, 4));
}

#[test]
fn every_line_is_read_as_it_was_written_in_pieces_too() {
    let lines = [
        Line::Hello { name: "a-b.c_9", unit: "°C", run: u32::MAX },
        Line::Welcome { name: "x" },
        Line::Reading { number: u64::MAX, value: -0.25 },
        Line::Bye,
        Line::Ping(0),
        Line::Pong(u64::MAX),
        Line::Err("any reason at all"),
    ];
    for line in lines {
        let text = line.to_string();
        let mut bytes = text.clone().into_bytes();
        for cut in 0..bytes.len() {
            let mut part = bytes[..cut].to_vec();
            assert!(lines::next(&mut switchboard::Input::new(&mut part), false).is_none(), "{text:?} at {cut}");
        }
        assert_eq!(lines::next(&mut switchboard::Input::new(&mut bytes), false), Some(Ok(line)));
        bytes.pop();
        assert_eq!(lines::next(&mut switchboard::Input::new(&mut bytes), true), Some(Ok(line)), "in a datagram");
    }
}

#[test]
fn however_the_bytes_of_a_conversation_come_it_is_the_same() {
    let script = Script::new()
        .send("HELLO kitchen °C 7\r\n")
        .expect_sent("WELCOME kitchen\n")
        .send("READING 1 21.5\nPING 1\nnonsense\nREADING 2 -3\n")
        .expect_sent("PONG 1\nERR expected HELLO, READING, BYE, PING or PONG\n")
        .send("PING 2\nBYE\n")
        .expect_sent("PONG 2\n");
    println!("{}", check_conformance(|| Device::new(&fleet(10), timing()), &script));
}

#[test]
fn a_device_that_starts_anew_on_the_same_udp_port_begins_anew() {
    let fleet = fleet(10);
    let mut session = SessionHarness::new(Device::new(&fleet, timing()));
    session.feed("HELLO a C 1\nREADING 7 1".as_bytes());
    session.feed("HELLO a C 2\nREADING 1 1".as_bytes());
    assert_eq!(session.take_sent(), [b"WELCOME a\n", b"WELCOME a\n"]);
    let snapshot: Value = serde_json::from_str(&fleet.snapshot(session.core())).unwrap();
    let a = &snapshot["devices"][0];
    assert_eq!((&a["transport"], number(a, "starts"), number(a, "received")), (&"udp".into(), 2, 2), "{a}");
    session.feed("HELLO b C 1\nREADING 1 1".as_bytes());
    let report: Value = serde_json::from_str(&fleet.report(session.core())).unwrap();
    assert_eq!((number(&report, "online"), number(&report, "gone")), (1, 1), "it is b now, and a no more: {report}");
}
