//! The rooms, and what a member may do in them: the same for browsers and for line clients.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use switchboard::{Core, LimitExceeded, Slow, Time};

use crate::words::{Ask, Told, checked, harmless};

/// Names that a room's list has at most.
const LISTED: usize = 100;
/// What a member may ask at once, before its rate is all it gets.
const BURST: u32 = 10;

/// What the members of a server may do.
#[derive(Clone, Copy)]
pub(crate) struct Rules {
    /// Characters of a message.
    pub(crate) text: usize,
    /// Rooms that one is in at a time.
    pub(crate) rooms: usize,
    /// What one asks in a second; who asks more is read more slowly.
    pub(crate) rate: u32,
    /// Members of a room that are told who comes and goes; in a larger one that is noise.
    pub(crate) notices: usize,
    /// What becomes of who does not read.
    pub(crate) slow: Slow,
}

/// A member's connection, of either kind.
pub(crate) trait Seat {
    /// What it is told in: which of a room's topics it subscribes to.
    const FORM: Form;
    fn core(&mut self) -> &mut Core;
    fn subscribe(&mut self, topic: &str, slow: Slow) -> Result<(), LimitExceeded>;
    fn unsubscribe(&mut self, topic: &str) -> bool;
    fn tell(&mut self, told: &Told<'_>);
}

#[derive(Clone, Copy)]
pub(crate) enum Form {
    Json,
    Line,
}

/// What all members share. Callbacks never nest, so plain cells do.
pub(crate) struct Chat {
    rules: Rules,
    rooms: RefCell<BTreeMap<Rc<str>, Room>>,
    names: RefCell<BTreeSet<Rc<str>>>,
    members: Cell<u64>,
}

struct Room {
    names: BTreeSet<Rc<str>>,
    messages: u64,
    /// By [`Form`]: each message is put into either form once, however many are told.
    topics: [String; 2],
}

impl Room {
    fn new(name: &str) -> Self {
        let topics = ["json", "line"].map(|form| format!("room/{name}/{form}"));
        Self { names: BTreeSet::new(), messages: 0, topics }
    }

    /// Tells all who are in it; `from` is who does.
    fn publish(&self, core: &mut Core, from: u64, told: &Told<'_>) {
        let [json, line] = &self.topics;
        if core.topic_counters(json).is_some() {
            let payload = serde_json::to_vec(told).unwrap_or_default(); // it has no map with keys that JSON can't have
            core.publish_keyed(json, from, payload.into_boxed_slice()); // where it waits, it takes no more than it needs
        }
        if core.topic_counters(line).is_some() {
            core.publish_keyed(line, from, format!("{told}\n"));
        }
    }
}

impl Chat {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, rooms: RefCell::default(), names: RefCell::default(), members: Cell::new(0) }
    }

    pub(crate) fn rules(&self) -> &Rules {
        &self.rules
    }
}

/// One member: its name, and its rooms.
pub(crate) struct Member {
    chat: Rc<Chat>,
    number: u64,
    name: Option<Rc<str>>,
    /// The one joined last is last.
    rooms: Vec<Rc<str>>,
    /// When all it has asked so far would be due, at its rate.
    due: Time,
}

impl Member {
    pub(crate) fn new(chat: &Rc<Chat>) -> Self {
        chat.members.set(chat.members.get() + 1);
        Self { chat: Rc::clone(chat), number: chat.members.get(), name: None, rooms: Vec::new(), due: Time::ZERO }
    }

    /// Which member it is: the key of what it publishes.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The room it talks in where it names none.
    pub(crate) fn room(&self) -> Option<&str> {
        self.rooms.last().map(|room| &**room)
    }

    /// Does as it asks, or says why not. Gives how long it is not to be read then, if it asks faster than it may.
    pub(crate) fn ask(&mut self, seat: &mut impl Seat, ask: Result<Ask, Cow<'static, str>>) -> Option<Duration> {
        if let Err(text) = ask.and_then(|ask| self.answer(seat, ask)) {
            seat.tell(&Told::Error { text: &text });
        }
        let (now, each) = (seat.core().now(), Duration::from_secs(1) / self.chat.rules.rate.max(1));
        self.due = self.due.max(now) + each;
        let ahead = self.due.saturating_since(now).saturating_sub(each * BURST);
        (!ahead.is_zero()).then_some(ahead)
    }

    fn answer<S: Seat>(&mut self, seat: &mut S, ask: Ask) -> Result<(), Cow<'static, str>> {
        match ask {
            Ask::Name { name } => return self.take_name(seat, &name),
            Ask::Join { room } => return self.join(seat, &room),
            Ask::Leave { room } => {
                let at = self.rooms.iter().position(|joined| **joined == *room).ok_or("you are not in that room")?;
                let room = self.rooms.remove(at);
                if let Some(it) = self.chat.rooms.borrow().get(&room) {
                    seat.unsubscribe(&it.topics[S::FORM as usize]);
                }
                self.leave(seat.core(), &room);
                seat.tell(&Told::Parted { room: &room });
            }
            Ask::Who { room } => {
                let rooms = self.chat.rooms.borrow();
                let Some((room, it)) = rooms.get_key_value(&*room) else { return Err("nobody is there".into()) };
                let names = it.names.iter().take(LISTED).map(|name| &**name).collect();
                seat.tell(&Told::Room { room, count: it.names.len(), names });
            }
            Ask::Say { room, text } => {
                let (Some(name), true) = (&self.name, self.rooms.iter().any(|joined| **joined == *room)) else {
                    return Err("join the room first".into());
                };
                if text.chars().nth(self.chat.rules.text).is_some() {
                    return Err(format!("a message has at most {} characters", self.chat.rules.text).into());
                }
                let text = harmless(&text);
                if let (Some(it), false) = (self.chat.rooms.borrow_mut().get_mut(&*room), text.trim().is_empty()) {
                    it.messages += 1;
                    let told = Told::Message { room: &room, number: it.messages, name, text: &text };
                    it.publish(seat.core(), self.number, &told); // to itself too, which shows that it went out
                }
            }
        }
        Ok(())
    }

    fn take_name(&mut self, seat: &mut impl Seat, name: &str) -> Result<(), Cow<'static, str>> {
        if let Some(name) = &self.name {
            return Err(format!("you are {name} already").into());
        }
        let name = Rc::<str>::from(checked(name)?);
        if !self.chat.names.borrow_mut().insert(Rc::clone(&name)) {
            return Err("that name is taken".into());
        }
        seat.tell(&Told::Welcome { name: &name });
        self.name = Some(name);
        Ok(())
    }

    /// Joins a room, or talks there again. Then it is told who is there.
    fn join<S: Seat>(&mut self, seat: &mut S, room: &str) -> Result<(), Cow<'static, str>> {
        let (Some(name), room) = (&self.name, Rc::<str>::from(checked(room)?)) else {
            return Err("say your name first".into());
        };
        let joined = self.rooms.iter().position(|joined| *joined == room).map(|at| self.rooms.remove(at)).is_some();
        if !joined {
            if self.rooms.len() >= self.chat.rules.rooms {
                return Err(format!("you can be in {} rooms at a time", self.chat.rules.rooms).into());
            }
            let mut rooms = self.chat.rooms.borrow_mut();
            let it = rooms.entry(Rc::clone(&room)).or_insert_with(|| Room::new(&room));
            let count = it.names.len() + 1;
            if count <= self.chat.rules.notices {
                it.publish(seat.core(), self.number, &Told::Joined { room: &room, name, count });
            }
            let subscribed = seat.subscribe(&it.topics[S::FORM as usize], self.chat.rules.slow);
            it.names.insert(Rc::clone(name));
            drop(rooms);
            if let Err(limit) = subscribed {
                self.leave(seat.core(), &room);
                return Err(limit.to_string().into());
            }
        }
        self.rooms.push(Rc::clone(&room));
        self.answer(seat, Ask::Who { room: (*room).to_owned() })
    }

    /// It is gone: it leaves its rooms, and its name is free.
    pub(crate) fn end(&mut self, core: &mut Core) {
        for room in std::mem::take(&mut self.rooms) {
            self.leave(core, &room);
        }
        if let Some(name) = self.name.take() {
            self.chat.names.borrow_mut().remove(&name);
        }
    }

    fn leave(&self, core: &mut Core, room: &Rc<str>) {
        let mut rooms = self.chat.rooms.borrow_mut();
        let (Some(it), Some(name)) = (rooms.get_mut(room), &self.name) else { return };
        it.names.remove(name);
        let count = it.names.len();
        if count < self.chat.rules.notices {
            it.publish(core, self.number, &Told::Left { room, name, count });
        }
        if count == 0 {
            rooms.remove(room);
        }
    }
}
