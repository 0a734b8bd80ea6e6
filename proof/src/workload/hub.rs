//! Topics in the workload: members of a hub subscribe and publish as their clients tell them, and a model of what must
//! come to whom, to the last publication, runs along.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use switchboard::{
    CloseReason, Closing, ConnectionId, Context, Core, Counters, Failure, Input, Message, Protocol, Publication, Slow,
};

use super::talker::Dialect;

const TOPICS: usize = 3;

/// The model: who is subscribed to what, what waits for whom, and what has become of everything.
#[derive(Debug, Default)]
pub(super) struct Board {
    members: Vec<Place>,
    published: u64,
    put_down: u64,
    pub(super) delivered: u64,
    dropped: u64,
}

#[derive(Debug)]
struct Place {
    id: ConnectionId,
    subscriptions: [Option<Slow>; TOPICS],
    /// In the order in which they must come.
    waiting: Vec<Waiting>,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    topic: usize,
    key: Option<u64>,
    number: u64,
}

fn name(topic: usize) -> &'static str {
    ["news", "weather", "sport"][topic]
}

impl Place {
    /// Ends a subscription, and says how much of it waited.
    fn leave(&mut self, topic: usize) -> u64 {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| waiting.topic != topic);
        self.subscriptions[topic] = None;
        (before - self.waiting.len()) as u64
    }

    /// Takes what is published, as the policy says. Says whether it was put down, and how many were dropped.
    fn take(&mut self, slow: Slow, new: Waiting) -> (bool, u64) {
        let same = |waiting: &&mut Waiting| waiting.topic == new.topic && waiting.key == new.key && new.key.is_some();
        // Under another policy before, several of a key may have come to wait: the last is the one.
        if let (Slow::KeepLatest { .. }, Some(older)) = (slow, self.waiting.iter_mut().rev().find(same)) {
            *older = new;
            return (true, 1);
        }
        let of_topic: Vec<usize> = (0..self.waiting.len()).filter(|&at| self.waiting[at].topic == new.topic).collect();
        let too_many = (of_topic.len() + 1).saturating_sub(slow.waiting());
        match slow {
            Slow::DropNewest { .. } if too_many > 0 => return (false, 1),
            Slow::Close { .. } if too_many > 0 => return (false, 1 + self.leave(new.topic)),
            _ => {}
        }
        for at in of_topic[..too_many].iter().rev() {
            self.waiting.remove(*at);
        }
        self.waiting.push(new);
        (true, too_many as u64)
    }
}

impl Board {
    fn place(&mut self, id: ConnectionId) -> &mut Place {
        let known = self.members.iter().position(|place| place.id == id);
        let at = known.unwrap_or_else(|| {
            self.members.push(Place { id, subscriptions: [None; TOPICS], waiting: Vec::new() });
            self.members.len() - 1
        });
        &mut self.members[at]
    }

    fn publish(&mut self, core: &mut Core, topic: usize, key: Option<u64>, len: usize) {
        let new = Waiting { topic, key, number: self.published };
        self.published += 1;
        let (mut subscribers, mut expected) = (0, 0);
        // One that has begun to close is a member until it is told, but subscribed no more.
        for place in self.members.iter_mut().filter(|place| core.is_open(place.id)) {
            let Some(slow) = place.subscriptions[topic] else { continue };
            let (put_down, dropped) = place.take(slow, new);
            subscribers += 1;
            expected += usize::from(put_down);
            self.put_down += 1;
            self.dropped += dropped;
        }
        let known = core.topic_counters(name(topic)).map_or(0, |counters| counters.subscribers);
        assert_eq!(known, subscribers, "subscribers of {}", name(topic));
        let key_or_none = key.map_or(-1, |key| i64::try_from(key).unwrap_or(i64::MAX));
        let payload = format!("{topic} {key_or_none} {} {}\n", new.number, "x".repeat(len));
        let put_down = match key {
            Some(key) => core.publish_keyed(name(topic), key, payload),
            None => core.publish(name(topic), payload),
        };
        assert_eq!(put_down, expected, "publication {} on {}", new.number, name(topic));
    }

    fn hear(&mut self, id: ConnectionId, publication: &Publication) -> Waiting {
        self.delivered += 1;
        let place = self.place(id);
        assert!(!place.waiting.is_empty(), "nothing was to come to {id}, but {publication:?}");
        let due = place.waiting.remove(0);
        assert_eq!(publication.topic(), name(due.topic));
        assert_eq!(publication.key(), due.key);
        let number = publication.payload().split(|&byte| byte == b' ').nth(2).expect("a number");
        assert_eq!(number, due.number.to_string().as_bytes(), "on {}, to {id}", publication.topic());
        due
    }

    fn leave_all(&mut self, id: ConnectionId) {
        let place = self.place(id);
        let dropped: u64 = (0..TOPICS).map(|topic| place.leave(topic)).sum();
        self.dropped += dropped;
    }

    fn go(&mut self, id: ConnectionId) {
        self.leave_all(id);
        self.members.retain(|place| place.id != id);
    }

    /// When all have gone.
    pub(super) fn judge(&self, counters: &Counters) {
        assert!(self.members.is_empty(), "{:?}", self.members);
        let counted = (counters.publications, counters.publications_delivered, counters.publications_dropped);
        assert_eq!(counted, (self.put_down, self.delivered, self.dropped), "put down, delivered, dropped");
        assert_eq!(self.put_down, self.delivered + self.dropped);
    }
}

/// The server's side: does what its client's lines say.
pub(super) struct Hub(pub(super) Rc<RefCell<Board>>);

impl Hub {
    /// True if another protocol is to go on.
    fn obey(&self, cx: &mut Context<'_>, line: &str) -> Result<bool, Failure> {
        let (order, words) = line.split_at(1);
        let mut words = words.split_whitespace().map_while(|word| word.parse::<usize>().ok());
        let mut number = || words.next().ok_or_else(|| Failure::peer("a number is missing"));
        let mut board = self.0.borrow_mut();
        match order {
            "s" => {
                let (topic, policy, waiting) = (number()?, number()?, number()?);
                let slow = match policy {
                    0 => Slow::DropOldest { waiting },
                    1 => Slow::DropNewest { waiting },
                    2 => Slow::KeepLatest { waiting },
                    _ => Slow::Close { waiting },
                };
                cx.subscribe(name(topic), slow)?;
                board.place(cx.id()).subscriptions[topic] = Some(slow);
            }
            "u" => {
                let topic = number()?;
                let place = board.place(cx.id());
                assert_eq!(cx.unsubscribe(name(topic)), place.subscriptions[topic].is_some());
                let dropped = place.leave(topic);
                board.dropped += dropped;
            }
            "p" => {
                let (topic, key, len) = (number()?, number()?, number()?);
                let key = key.checked_sub(1).map(|key| key as u64);
                board.publish(cx, topic, key, len);
            }
            "w" => {
                self.hand_over(cx, &mut board);
                return Ok(true);
            }
            _ => return Err(Failure::peer("not an order")),
        }
        Ok(false)
    }

    fn hand_over(&self, cx: &mut Context<'_>, board: &mut Board) {
        board.leave_all(cx.id());
        cx.switch_to(Self(Rc::clone(&self.0)));
    }
}

impl Protocol for Hub {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.0.borrow_mut().place(cx.id());
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            let line = String::from_utf8(input.take(end + 1).to_vec())?;
            if self.obey(cx, &line)? {
                break;
            }
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        rest.take_all();
        cx.close();
        Ok(())
    }

    /// Hands it on, and now and then does something itself: in the midst of letters.
    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        let Message::Published(publication) = message else { return Err(Failure::caller("nobody posts here")) };
        let mut board = self.0.borrow_mut();
        let Waiting { topic, key, number } = board.hear(cx.id(), &publication);
        cx.send_shared(publication.payload().clone());
        match number % 16 {
            // What comes of it can't go on for ever: each has a greater number.
            3 if board.published < 2 * number + 40 => board.publish(cx, (topic + 1) % TOPICS, key, 10),
            7 => {
                assert!(cx.unsubscribe(name(topic)));
                let dropped = board.place(cx.id()).leave(topic);
                board.dropped += dropped;
            }
            11 => self.hand_over(cx, &mut board),
            _ => {}
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        if !matches!(reason, CloseReason::Switched) {
            self.0.borrow_mut().go(cx.id());
        }
    }
}

/// A client of the hub: what it says follows from the words it is told.
pub(super) struct Visitor {
    said: usize,
    policies: usize,
    /// The last that came, by topic and key.
    heard: BTreeMap<(i64, i64), u64>,
}

impl Visitor {
    /// Where it may be closed for being slow, or not.
    pub(super) fn new(may_be_closed: bool) -> Self {
        Self { said: 0, policies: if may_be_closed { 4 } else { 3 }, heard: BTreeMap::new() }
    }
}

impl Dialect for Visitor {
    /// A word makes up to five orders.
    fn say(&mut self, word: &[u8], out: &mut Vec<u8>) {
        for len in (word.len()..).take(1 + word.len() % 5) {
            let said = self.said;
            self.said += 1;
            let topic = (len / 5) % TOPICS;
            let line = match (len + said) % 8 {
                _ if said == 0 => format!("s {topic} {} {}\n", len % self.policies, len % 7),
                0 | 1 => format!("s {topic} {} {}\n", (len / 3) % self.policies, said % 7),
                2 if len.is_multiple_of(3) => format!("u {topic}\n"),
                3 if len.is_multiple_of(8) => "w\n".to_owned(),
                _ => format!("p {topic} {} {len}\n", (len + said) % 4),
            };
            out.extend(line.into_bytes());
        }
    }

    /// Publications of a topic and key come in order, and once.
    fn hear(&mut self, input: &mut Input<'_>, _: &mut Vec<u8>) {
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            let line = std::str::from_utf8(input.take(end + 1)).expect("a line is of text");
            let mut words = line.split(' ');
            let mut number = || words.next().and_then(|word| word.parse::<i64>().ok()).expect("a number");
            let (topic, key, number) = (number(), number(), u64::try_from(number()).expect("a count"));
            let before = self.heard.insert((topic, key), number);
            assert!(before < Some(number), "{number} came after {before:?} on topic {topic}, key {key}");
        }
    }

    fn is_complete(&self) -> bool {
        true // who gets what depends on who is there: the hub knows
    }
}
