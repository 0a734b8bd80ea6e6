//! RFC 6455 for who receives, as plainly and slowly as can be: each frame is asked for everything that is wrong with it,
//! and for how many of its octets show that. With the liberties of an oracle it says what that one makes of the bytes.

use switchboard_websocket::frame::{OpCode, Role};

use super::difference::{Difference, Oracle};
use super::{End, Event, Reading, Terms};

/// The reading by the letter, or the one of an oracle, with those of its liberties that are `taken`.
pub(super) fn read(terms: &Terms, bytes: &[u8], oracle: Option<Oracle>, taken: &dyn Fn(Difference) -> bool) -> Reading {
    let taken = |difference: Difference| oracle.is_some_and(|oracle| difference.is_of(oracle)) && taken(difference);
    let mut model = Model { terms, oracle, taken: &taken, message: None, events: Vec::new() };
    let mut rest = bytes;
    let end = loop {
        let frame = Frame::new(rest, model.unmasks());
        if let Some(code) = model.refusal(&frame, rest.len()) {
            break End::Refused(code);
        }
        if !frame.is_whole {
            break End::Open;
        }
        if let Some(code) = model.take(&frame) {
            break End::Closed(code);
        }
        rest = &rest[frame.total..];
    };
    Reading { events: model.events, end }
}

struct Model<'a> {
    terms: &'a Terms,
    oracle: Option<Oracle>,
    taken: &'a dyn Fn(Difference) -> bool,
    /// The message that has begun.
    message: Option<Message>,
    events: Vec<Event>,
}

struct Message {
    opcode: OpCode,
    bytes: Vec<u8>,
    fragments: u32,
}

/// What there is of a frame.
struct Frame {
    fin: bool,
    reserved: u8,
    opcode: Option<OpCode>,
    /// The seven bits.
    short: u8,
    masked: bool,
    /// The octets of the length behind those that have come.
    octets: Vec<u8>,
    /// The length and how many octets the header has, once it is whole.
    length: Option<u64>,
    head: usize,
    payload: Vec<u8>,
    is_whole: bool,
    /// All octets, if it is whole.
    total: usize,
}

impl Frame {
    fn new(bytes: &[u8], unmasks: bool) -> Self {
        let (first, second) = (bytes.first().copied().unwrap_or(0), bytes.get(1).copied().unwrap_or(0));
        let (masked, short) = (second >= 128, second % 128);
        let count = [(126, 2), (127, 8)].iter().find(|(of, _)| *of == short).map_or(0, |(_, count)| *count);
        let head = 2 + count + if masked { 4 } else { 0 };
        let octets: Vec<u8> = bytes.iter().skip(2).take(count).copied().collect();
        let length = (bytes.len() >= head).then(|| match count {
            0 => u64::from(short),
            _ => octets.iter().fold(0, |length, octet| length * 256 + u64::from(*octet)),
        });
        let declared = usize::try_from(length.unwrap_or(0)).unwrap_or(usize::MAX);
        let total = head.saturating_add(declared);
        let mut payload: Vec<u8> = bytes.iter().skip(head).take(declared).copied().collect();
        if masked && unmasks && length.is_some() {
            for (index, byte) in payload.iter_mut().enumerate() {
                *byte ^= bytes[head - 4 + index % 4];
            }
        }
        Self {
            fin: first >= 128,
            reserved: first / 16 % 8,
            opcode: OpCode::from_bits(first % 16),
            short,
            masked,
            octets,
            length,
            head,
            payload,
            is_whole: length.is_some() && bytes.len() >= total,
            total,
        }
    }

    fn is_control(&self) -> bool {
        matches!(self.opcode, Some(OpCode::Close | OpCode::Ping | OpCode::Pong))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Reserved,
    OpCode,
    Sequence,
    FragmentedControl,
    Mask,
    LongControl,
    MostSignificantBit,
    NotMinimal,
    /// A frame that is too long alone.
    LongFrame,
    /// Fragments that are too long together.
    LongMessage,
    Fragments,
    Text,
    /// A message that ends within a character.
    Cut,
    HalfCode,
    Code,
    Reason,
}

/// Something wrong with a frame.
#[derive(Debug, Clone, Copy)]
struct Fault {
    kind: Kind,
    /// So many octets of the frame show it.
    at: usize,
    /// The close code that it asks for.
    code: u16,
    /// Of two that show at once, the one with the lower rank is told.
    rank: u8,
}

impl Model<'_> {
    fn unmasks(&self) -> bool {
        self.terms.role == Role::Server
    }

    fn takes(&self, difference: Difference) -> bool {
        (self.taken)(difference)
    }

    /// The close code that the frame is refused with, by what has come of it.
    fn refusal(&self, frame: &Frame, available: usize) -> Option<u16> {
        if available == 0 {
            return None;
        }
        let faults = self.faults(frame, available).into_iter().filter_map(|fault| self.judged(fault, frame));
        let seen = faults.filter(|fault| fault.at <= available);
        seen.min_by_key(|fault| (fault.at, fault.rank)).map(|fault| fault.code)
    }

    /// Everything that is wrong with it (RFC 6455 §5, §7.4, §8.1, §10.4).
    fn faults(&self, frame: &Frame, available: usize) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |is: bool, kind: Kind, at: usize, code: u16| {
            if is {
                let rank = u8::try_from(faults.len()).unwrap_or(u8::MAX);
                faults.push(Fault { kind, at, code, rank });
            }
        };
        let control = frame.is_control();
        let starts = matches!(frame.opcode, Some(OpCode::Text | OpCode::Binary));
        let continues = frame.opcode == Some(OpCode::Continuation);
        let begun = self.message.is_some();
        fault(frame.reserved != 0, Kind::Reserved, 1, 1002);
        fault(frame.opcode.is_none(), Kind::OpCode, 1, 1002);
        fault((continues && !begun) || (starts && begun), Kind::Sequence, 1, 1002);
        fault(control && !frame.fin, Kind::FragmentedControl, 1, 1002);
        if available == 1 {
            return faults;
        }
        fault(frame.masked != (self.terms.role == Role::Server), Kind::Mask, 2, 1002);
        fault(control && frame.short > 125, Kind::LongControl, 2, 1002);
        // What can the length still become, at least and at most?
        let count = if frame.short == 127 { 8 } else { 2 };
        for come in 1..=frame.octets.len() {
            let octets = frame.octets[..come].iter();
            let mut longest = octets.fold(0, |length, octet| length * 256 + u128::from(*octet));
            for _ in come..count {
                longest = longest * 256 + 255;
            }
            let least = if count == 8 { 65_536 } else { 126 };
            fault(count == 8 && frame.octets[0] >= 128 && come == 1, Kind::MostSignificantBit, 3, 1002);
            fault(longest < least, Kind::NotMinimal, 2 + come, 1002);
        }
        let Some(length) = frame.length else { return faults };
        let (limit, before) = (self.terms.max_message as u64, if continues { self.message.as_ref() } else { None });
        let so_far = before.map_or(0, |message| message.bytes.len() as u64);
        fault(length > limit, Kind::LongFrame, frame.head, 1009);
        fault(length <= limit && length + so_far > limit, Kind::LongMessage, frame.head, 1009);
        let fragments = before.map_or(0, |message| message.fragments);
        fault(!control && fragments == self.terms.max_fragments, Kind::Fragments, frame.head, 1009);
        faults.extend(self.faults_of_text(frame, before));
        if frame.opcode == Some(OpCode::Close) && frame.is_whole {
            faults.extend(faults_of_close(frame));
        }
        faults
    }

    /// The first byte that can't be right, and the character that does not end.
    fn faults_of_text(&self, frame: &Frame, before: Option<&Message>) -> Vec<Fault> {
        let opcode = before.map(|message| message.opcode).or(frame.opcode);
        if opcode != Some(OpCode::Text) || (before.is_none() && frame.opcode != Some(OpCode::Text)) {
            return Vec::new();
        }
        let start = before.map_or(&[][..], |message| &message.bytes);
        let text = [start, &frame.payload].concat();
        let Err(error) = std::str::from_utf8(&text) else { return Vec::new() };
        if error.error_len().is_none() {
            let cut = Fault { kind: Kind::Cut, at: frame.total, code: 1007, rank: 50 };
            return if frame.fin && frame.is_whole { vec![cut] } else { Vec::new() };
        }
        let is_wrong = |end: &usize| std::str::from_utf8(&text[..*end]).is_err_and(|error| error.error_len().is_some());
        let shows = (error.valid_up_to()..=text.len()).find(is_wrong).unwrap_or(text.len());
        vec![Fault { kind: Kind::Text, at: frame.head + shows - start.len(), code: 1007, rank: 50 }]
    }

    /// How the oracle sees it, if it does.
    fn judged(&self, mut fault: Fault, frame: &Frame) -> Option<Fault> {
        let length = frame.length.unwrap_or(u64::MAX);
        let starts = frame.opcode != Some(OpCode::Continuation);
        let liberty = match fault.kind {
            Kind::NotMinimal => self.takes(Difference::LengthNotMinimal),
            Kind::LongControl if length <= 125 => self.takes(Difference::LengthNotMinimal),
            Kind::LongControl if frame.opcode != Some(OpCode::Ping) => self.takes(Difference::LongControl),
            Kind::Mask if frame.masked => self.takes(Difference::Masked),
            Kind::Mask => self.takes(Difference::NotMasked),
            Kind::Sequence if starts && !frame.fin => self.takes(Difference::MessageInMessage),
            Kind::Fragments => self.takes(Difference::FragmentCount),
            Kind::LongMessage => self.takes(Difference::MessageOfFragments),
            Kind::Cut if !starts => self.takes(Difference::CharacterCut),
            Kind::Code if is_bad_gateway(frame) => !self.takes(Difference::BadGateway) || self.closes_in_order(),
            Kind::Code => self.closes_in_order(),
            _ => false,
        };
        if liberty {
            return None;
        }
        if fault.kind == Kind::MostSignificantBit && self.takes(Difference::MostSignificantBit) {
            (fault.kind, fault.code) = (Kind::LongFrame, 1009);
        }
        if fault.kind == Kind::Reason && self.takes(Difference::ReasonFirst) {
            fault.rank = 0;
        }
        if self.takes(Difference::Later) {
            (fault.at, fault.rank) = self.later(fault, frame);
        }
        Some(fault)
    }

    /// Forbidden codes are answered and are the end, but an end in order.
    fn closes_in_order(&self) -> bool {
        self.takes(Difference::ForbiddenCode)
    }

    /// When the oracle looks at it, and in which order with others.
    fn later(&self, fault: Fault, frame: &Frame) -> (usize, u8) {
        let whole_text = frame.opcode == Some(OpCode::Text) && frame.fin;
        match (self.oracle, fault.kind) {
            (Some(Oracle::Tungstenite), Kind::OpCode) => (frame.head, 0),
            (Some(Oracle::Fastwebsockets), Kind::Reserved | Kind::OpCode) => (2, 0),
            (Some(Oracle::Fastwebsockets), Kind::FragmentedControl) => (frame.head, 0),
            (Some(Oracle::Fastwebsockets), Kind::LongControl) => (frame.head, 1),
            (_, Kind::MostSignificantBit) => (frame.head, 2),
            (_, Kind::LongFrame) => (frame.head, 3),
            (Some(Oracle::Fastwebsockets), Kind::Text | Kind::Cut) if whole_text => (frame.total, 4),
            (_, Kind::LongMessage) => (frame.total, 6),
            (_, Kind::Text | Kind::Cut) => (frame.total, 7),
            (_, Kind::Reason | Kind::Code) => (frame.total, 8 + fault.rank.min(100)),
            _ => (frame.total, 5),
        }
    }

    /// The frame is as it should be, or goes for that: what it leads to. A close code, if it is the last.
    fn take(&mut self, frame: &Frame) -> Option<u16> {
        let payload = frame.payload.clone();
        match frame.opcode? {
            OpCode::Close => {
                let Some(code) = payload.first_chunk().map(|octets| u16::from_be_bytes(*octets)) else {
                    return Some(1005);
                };
                let is_known = is_allowed(code) && !(code == 1014 && self.takes(Difference::BadGateway));
                return Some(if is_known { code } else { 1002 }); // the liberty of an end in order
            }
            control @ (OpCode::Ping | OpCode::Pong) => self.events.push((control, payload)),
            OpCode::Continuation => {
                let message = self.message.as_mut()?;
                message.bytes.extend(payload);
                message.fragments += 1;
            }
            opcode => self.message = Some(Message { opcode, bytes: payload, fragments: 1 }),
        }
        if frame.fin && !frame.is_control() {
            let Message { opcode, mut bytes, .. } = self.message.take()?;
            if let (OpCode::Text, Err(error)) = (opcode, std::str::from_utf8(&bytes)) {
                bytes.truncate(error.valid_up_to()); // the liberty of a character that is cut
            }
            self.events.push((opcode, bytes));
        }
        None
    }
}

fn faults_of_close(frame: &Frame) -> Vec<Fault> {
    let fault = |kind, code, rank| Fault { kind, at: frame.total, code, rank };
    let mut faults = Vec::new();
    match frame.payload.as_slice() {
        [] => {}
        [_] => faults.push(fault(Kind::HalfCode, 1002, 20)),
        [high, low, reason @ ..] => {
            let code = u16::from(*high) * 256 + u16::from(*low);
            // For who does not know 1014, it is one of these, too.
            if !is_allowed(code) || code == 1014 {
                faults.push(fault(Kind::Code, 1002, 21));
            }
            if std::str::from_utf8(reason).is_err() {
                faults.push(fault(Kind::Reason, 1007, 22));
            }
        }
    }
    faults
}

fn is_bad_gateway(frame: &Frame) -> bool {
    frame.payload.starts_with(&1014_u16.to_be_bytes())
}

/// RFC 6455 §7.4, and the registry that §11.7 opened.
fn is_allowed(code: u16) -> bool {
    let registered = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014];
    registered.contains(&code) || (3000..5000).contains(&code)
}
