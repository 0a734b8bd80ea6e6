//! The conformance check of the test kit: a conversation in every way in which its datagrams could reach a server.

#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Operation, SessionHarness, check_session_conformance, note};
use switchboard::{Failure, Protocol};
use switchboard_reliable::{Closed, Handler, Peer, Reliable, Settings};

const OPEN: u8 = 0x11;
const DATA: u8 = 0x13;
const FIN: u8 = 0x14;
const ACK: u8 = 0x15;
const PING: u8 = 0x16;

/// The client's id and its first segment.
const ID: u64 = 7;
const FIRST: u32 = 0xffff_ffff; // the next wraps

/// Answers each message, and notes it.
struct Echo;

impl Handler for Echo {
    fn on_message(&mut self, peer: &mut Peer<'_, '_>, message: &[u8]) -> Result<(), Failure> {
        note(message.escape_ascii());
        peer.send(message).map_err(Failure::limit)
    }

    fn on_close(&mut self, _: &mut switchboard::Closing<'_>, closed: &Closed<'_>) {
        note(format_args!("closed, clean: {}", closed.clean));
    }
}

fn echo() -> impl Protocol {
    // Little enough for the check's limits.
    let settings =
        Settings { receive_window: 64 << 10, send_buffer: 64 << 10, max_message: 8 << 10, ..Settings::default() };
    Reliable::server(Echo).with_settings(&Rc::new(settings))
}

fn open() -> Vec<u8> {
    let (window, datagram, longest) = (64_u16, 1200_u16, 65_536_u32);
    let mut bytes = vec![OPEN];
    bytes.extend(ID.to_be_bytes());
    bytes.extend(FIRST.to_be_bytes());
    bytes.extend(window.to_be_bytes());
    bytes.extend(datagram.to_be_bytes());
    bytes.extend(longest.to_be_bytes());
    bytes
}

/// The server's id and its first segment, as its answer says; they are the same in every run.
fn server() -> (u64, u32) {
    let mut harness = SessionHarness::new(echo());
    harness.feed(&open());
    let accept = harness.take_sent().remove(0);
    (u64::from_be_bytes(accept[9..17].try_into().unwrap()), u32::from_be_bytes(accept[17..21].try_into().unwrap()))
}

/// A datagram to the server, by which `ack` of its segments have arrived.
fn datagram(kind: u8, acknowledged: u32, behind: &[&[u8]]) -> Operation {
    let (id, first) = server();
    let ack = first.wrapping_add(acknowledged);
    let mut bytes = vec![kind];
    bytes.extend(id.to_be_bytes());
    bytes.extend(ack.to_be_bytes());
    bytes.extend(ack.wrapping_add(64).to_be_bytes());
    behind.iter().for_each(|piece| bytes.extend(*piece));
    Operation::Feed(bytes)
}

/// The `number`th segment, with one message.
fn data(number: u32, acknowledged: u32, message: &[u8]) -> Operation {
    let length = u16::try_from(message.len()).unwrap().to_be_bytes();
    datagram(DATA, acknowledged, &[&FIRST.wrapping_add(number).to_be_bytes(), &length, message])
}

#[test]
fn a_server_answers_the_same_however_a_conversation_reaches_it() {
    let operations = [
        Operation::Feed(open()),
        datagram(PING, 0, &[]),
        data(0, 0, b"first"),
        data(2, 0, b"third, before the second"),
        data(1, 1, b"second"),
        data(1, 1, b"second"),
        Operation::Advance(Duration::from_millis(100)),
        data(3, 2, b""), // the second and third message have come back in one segment
        datagram(ACK, 3, &[]),
        Operation::Feed(b"garbage".to_vec()),
        datagram(FIN, 3, &[&FIRST.wrapping_add(4).to_be_bytes()]),
        Operation::Advance(Duration::from_secs(1)),
        datagram(ACK, 4, &[]),
    ];
    let done = check_session_conformance(echo, operations);
    assert_eq!(done.notes, 5, "four messages and the end: {done}");
    assert!(done.runs > 60, "{done}");
}

#[test]
fn who_never_proves_its_address_is_told_little_and_leaves_nothing() {
    let done = check_session_conformance(echo, [Operation::Feed(open()), Operation::Feed(open())]);
    assert!(done.output <= 2 * 29, "two answers at the most: {done}");
}
