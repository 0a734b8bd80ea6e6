//! Any chunking of any valid stream gives the same events, and any stream at all gives events or one error, in memory
//! that its limits allow: as a server and as a client, with compression and without.

use std::rc::Rc;

use allocation_counter::measure;
use switchboard::testkit::{Harness, check_seeds, check_seeds_on};
use switchboard::{Failure, Limits};
use switchboard_proof::dice::Dice;
use switchboard_proof::differential::{End, Reader, Reading, Terms, open};
use switchboard_proof::streams::{Deflater, Frame, Spoken, Writer, encode};
use switchboard_websocket::deflate::{Compression, Inflater, Memory};
use switchboard_websocket::frame::Role;
use switchboard_websocket::{Begin, Delivery, Handler, Message, Peer};

/// What a connection is, and who writes to it.
struct Case {
    role: Role,
    memory: Option<Memory>,
    writer: Writer,
    deflater: Option<Deflater>,
}

impl Case {
    fn new(dice: &mut Dice<'_>, max_message: usize) -> Self {
        let role = [Role::Server, Role::Client][dice.index(2)];
        let memory = [None, Some(Memory::Shared), Some(Memory::Dedicated)][dice.index(3)];
        let writer = Writer { receiver: role, max_message, max_fragments: 100 };
        let deflater = memory.map(|memory| Deflater::new(memory == Memory::Dedicated));
        Self { role, memory, writer, deflater }
    }

    fn reader(&self, in_pieces: bool) -> Reader<'static> {
        let Writer { receiver: role, max_message, max_fragments } = self.writer;
        let mut reader = Reader::new(&Terms { role, max_message, max_fragments });
        // What is sent is not compressed: it is to be read here.
        let compression =
            |memory| Compression { decompressor: memory, threshold: usize::MAX, ..Compression::default() };
        reader.settings.compression = self.memory.map(compression);
        reader.extension = self.extension();
        reader.in_pieces = in_pieces;
        reader
    }

    /// What the peer asks for or agrees on.
    fn extension(&self) -> &'static str {
        match (self.role, self.memory) {
            (_, None) => "",
            (Role::Client, Some(Memory::Shared)) => {
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n"
            }
            _ => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        }
    }

    fn spoken(&mut self, dice: &mut Dice<'_>) -> Spoken {
        self.writer.valid(dice, self.deflater.as_mut())
    }

    /// Something that a peer may send: frames with damage, or octets that happen to be some.
    fn anything(&mut self, dice: &mut Dice<'_>) -> Vec<u8> {
        if dice.one_in(8) {
            let likely =
                [0x00, 0x01, 0x02, 0x41, 0x80, 0x81, 0x82, 0xc1, 0x88, 0x89, 0x8a, 0xfe, 0xff, 0x85, 0x05, 0xe8];
            return (0..dice.index(80)).map(|_| likely[dice.index(likely.len())]).collect();
        }
        let mut frames = self.spoken(dice).frames;
        for _ in 0..1 + dice.below(2) {
            self.writer.damage(dice, &mut frames);
        }
        let mut bytes = encode(&frames);
        for _ in 0..dice.below(3) {
            self.writer.damage_octets(dice, &mut bytes);
        }
        bytes
    }

    /// A message that is longer than it may be, by much if it can be compressed.
    fn bomb(&mut self, dice: &mut Dice<'_>) -> Vec<u8> {
        let plain = vec![b'0'; LONGEST + 1 + if self.memory.is_some() { 20 * LONGEST } else { 0 }];
        let key = (self.role == Role::Server).then_some([0; 4]);
        let payload = self.deflater.as_mut().map(|deflater| deflater.message(dice, &plain));
        let reserved = if payload.is_some() { 4 } else { 0 };
        let payload = payload.unwrap_or(plain);
        let (first, second) = payload.split_at(payload.len() / 2);
        let frames = [Frame::new(false, 1, key, first), Frame::new(true, 0, key, second)];
        encode(&frames.map(|frame| Frame { reserved: if frame.fin { 0 } else { reserved }, ..frame }))
    }

    /// The readings of these bytes in whole, in octets if that is not too much, in parts of one size and in parts of any;
    /// with messages put together, and in pieces.
    fn readings(&self, dice: &mut Dice<'_>, bytes: &[u8]) -> Vec<Reading> {
        let size = 1 + dice.index(bytes.len().clamp(1, 300));
        let (mut parts, mut rest) = (Vec::new(), bytes);
        while !rest.is_empty() {
            let most = if dice.one_in(2) { rest.len() } else { rest.len().min(16) };
            let (part, after) = rest.split_at(1 + dice.index(most));
            parts.push(part);
            rest = after;
        }
        let (whole, pieces) = (self.reader(false), self.reader(true));
        let mut readings = vec![whole.read([bytes]), whole.read(bytes.chunks(size)), whole.read(parts.clone())];
        readings.extend([pieces.read([bytes]), pieces.read(parts)]);
        if bytes.len() < 1000 {
            readings.extend([whole.read(bytes.chunks(1)), pieces.read(bytes.chunks(1))]);
        }
        readings
    }
}

/// In short.
fn shown(reading: &Reading) -> String {
    let events = reading.events.iter().map(|(opcode, payload)| format!("{opcode:?} of {}, ", payload.len()));
    format!("{}{:?}", events.collect::<String>(), reading.end)
}

#[test]
fn any_chunking_of_any_valid_stream_gives_the_same_events() {
    check_seeds_on(2, 0..1000, |seed| {
        let mut dice = Dice::seeded(seed);
        let max_message = if dice.one_in(12) { 70_000 } else { 1000 };
        let mut case = Case::new(&mut dice, max_message);
        let Spoken { frames, says } = case.spoken(&mut dice);
        for (index, reading) in case.readings(&mut dice, &encode(&frames)).iter().enumerate() {
            assert!(*reading == says, "chunking {index}: {}\n{}", shown(reading), shown(&says));
        }
    });
}

#[test]
fn any_chunking_of_any_stream_comes_to_the_same() {
    check_seeds_on(2, 0..1000, |seed| {
        let mut dice = Dice::seeded(seed);
        let mut case = Case::new(&mut dice, 1000);
        let bytes = case.anything(&mut dice);
        let readings = case.readings(&mut dice, &bytes);
        for (index, reading) in readings.iter().enumerate() {
            let same = reading == &readings[0] || case.memory.is_some() && is_either(reading, &readings[0]);
            assert!(same, "chunking {index}: {}\n{}", shown(reading), shown(&readings[0]));
        }
    });
}

/// A compressed message that is both no text and too long is refused for what shows first.
fn is_either(one: &Reading, other: &Reading) -> bool {
    let ends = [one.end, other.end];
    one.events == other.events && ends.iter().all(|end| [End::Refused(1007), End::Refused(1009)].contains(end))
}

/// The longest message in what follows: much longer than all that a connection holds besides.
const LONGEST: usize = 200_000;
/// Bytes read at once.
const READ: usize = 4096;
/// What a connection has beside what it declares: the state of a message, a farewell with its reason, entries of the
/// loop's lists.
const UNDECLARED: usize = 1024;

/// Looks at messages, and says nothing.
struct Listener {
    in_pieces: bool,
}

impl Handler for Listener {
    fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        Ok(())
    }

    fn on_begin(&mut self, _: &mut Peer<'_, '_>, _: &Begin) -> Result<Delivery, Failure> {
        Ok(if self.in_pieces { Delivery::Pieces } else { Delivery::Whole })
    }

    fn on_piece(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>, _: bool) -> Result<(), Failure> {
        Ok(())
    }
}

/// A connection whose memory is measured.
struct Measured {
    harness: Harness,
    /// Bytes allocated since it was opened, and not freed; with the loop's spare buffers, which are the loop's own affair.
    allocated: i64,
    /// The most that there ever was.
    peak: i64,
}

impl Measured {
    fn open(reader: &Reader<'_>) -> Self {
        let limits = Limits { read_budget: READ, ..Limits::default() };
        let listener = Listener { in_pieces: reader.in_pieces };
        let harness = open(reader.role, listener, &Rc::new(reader.settings.clone()), limits, reader.extension);
        let mut measured = Self { harness, allocated: 0, peak: 0 };
        // What the harness and its loop keep for good, they have after this.
        let key = (reader.role == Role::Server).then_some([1, 2, 3, 4]);
        measured.feed(&encode(&vec![Frame::new(true, 9, key, [0; 125]); 2 * READ / 125]));
        if reader.settings.compression.is_some_and(|compression| compression.decompressor == Memory::Shared) {
            let payload = Deflater::new(false).message(&mut Dice::seeded(0), &[b'x'; LONGEST]);
            measured.feed(&encode(&[Frame { reserved: 4, ..Frame::new(true, 2, key, payload) }]));
        }
        assert_eq!(measured.declared(), 0);
        (measured.allocated, measured.peak) = (measured.spare(), 0);
        measured
    }

    fn feed(&mut self, bytes: &[u8]) {
        let before = self.spare();
        let info = measure(|| {
            self.harness.feed(bytes);
            drop(self.harness.take_sent());
        });
        let most = self.allocated + i64::try_from(info.bytes_max).expect("so few");
        self.peak = self.peak.max(most - before.min(self.spare()));
        self.allocated += info.bytes_current;
    }

    /// Bytes allocated since it was opened, and not freed.
    fn allocated(&mut self) -> usize {
        usize::try_from(self.allocated - self.spare()).unwrap_or(0)
    }

    fn spare(&mut self) -> i64 {
        i64::try_from(self.harness.core().spare_bytes()).expect("so few")
    }

    fn declared(&mut self) -> usize {
        self.harness.core().held_bytes()
    }
}

/// What is allocated is declared, all the time; and what is declared is within the limits.
#[test]
fn memory_is_what_the_limits_allow() {
    let (mut undeclared, mut most) = (0, 0);
    check_seeds(0..400, |seed| {
        let mut dice = Dice::seeded(seed);
        let mut case = Case::new(&mut dice, LONGEST);
        let bytes = match dice.below(4) {
            0 => case.bomb(&mut dice),
            1 => encode(&case.spoken(&mut dice).frames),
            _ => case.anything(&mut dice),
        };
        let in_pieces = dice.one_in(2);
        let decompressor = if case.memory.is_some() { Inflater::MOST_MEMORY } else { 0 };
        let allowed = decompressor + 2 * READ + if in_pieces { 0 } else { LONGEST };
        let mut measured = Measured::open(&case.reader(in_pieces));
        for part in bytes.chunks(1 + dice.index(READ)) {
            measured.feed(part);
            let (allocated, declared) = (measured.allocated(), measured.declared());
            if !measured.harness.is_open() {
                break; // nobody reads what comes now: it waits on the network
            }
            assert!(allocated <= declared + UNDECLARED, "{allocated} allocated, {declared} declared");
            assert!(declared <= allowed, "{declared} declared, {allowed} allowed");
            undeclared = undeclared.max(allocated.saturating_sub(declared));
        }
        // While a buffer grows there is the one before, too: that of the message, that of a decompressor's window.
        let peak = usize::try_from(measured.peak).unwrap_or(0);
        let growing = if in_pieces { 0 } else { LONGEST } + decompressor.saturating_sub(Inflater::MEMORY);
        assert!(peak <= allowed + growing + 4 * READ, "{peak} at most, {allowed} allowed");
        most = most.max(peak);
    });
    println!("{most} bytes at most, {undeclared} not declared");
}
