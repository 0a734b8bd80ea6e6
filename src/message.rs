//! Messages between the protocols of a loop, and the post office that carries them.

use std::any::Any;
use std::fmt;

use bytes::Bytes;
use slab::Slab;

use crate::EndpointId;
use crate::id::index32;
use crate::timer::NONE;

/// What one protocol posts to another: see [`Core::post`](crate::Core::post).
#[non_exhaustive]
pub enum Message {
    /// Bytes, shared rather than copied.
    Bytes(Bytes),
    /// A value of the program's own; the receiver downcasts it.
    User(Box<dyn Any + Send>),
}

impl Message {
    /// A message that carries `value`.
    pub fn user<T: Any + Send>(value: T) -> Self {
        Self::User(Box::new(value))
    }

    /// The value of type `T` it carries.
    ///
    /// # Errors
    ///
    /// The message itself, if it carries something else.
    pub fn downcast<T: Any>(self) -> Result<T, Self> {
        match self {
            Self::User(value) => value.downcast().map(|value| *value).map_err(Self::User),
            other => Err(other),
        }
    }
}

impl From<Bytes> for Message {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.debug_tuple("Bytes").field(bytes).finish(),
            Self::User(_) => f.write_str("User(..)"),
        }
    }
}

/// The letters that wait for one target: a list through the post office's slab.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mailbox {
    first: u32,
    last: u32,
    count: u32,
    /// Whether its owner is to be visited already.
    pub(crate) on_round: bool,
}

impl Mailbox {
    pub(crate) const EMPTY: Self = Self { first: NONE, last: NONE, count: 0, on_round: false };
    /// Takes no letters: always full.
    pub(crate) const CLOSED: Self = Self { first: NONE, last: NONE, count: u32::MAX, on_round: false };
    /// No limit is above this.
    pub(crate) const MOST: usize = u32::MAX as usize;

    pub(crate) fn len(self) -> usize {
        self.count as usize
    }
}

struct Letter {
    message: Message,
    next: u32,
    /// The round during which, or after which, it was written.
    round: u32,
}

/// Letters of all mailboxes, and the targets to visit, in the order of their first letters.
#[derive(Default)]
pub(crate) struct PostOffice {
    letters: Slab<Letter>,
    visits: Vec<EndpointId>,
    round: u32,
}

impl PostOffice {
    /// Puts a letter into `mailbox`, `to`'s, and `to` on the next round.
    pub(crate) fn push(&mut self, mailbox: &mut Mailbox, to: EndpointId, message: Message) {
        let index = index32(self.letters.insert(Letter { message, next: NONE, round: self.round }));
        if mailbox.first == NONE {
            mailbox.first = index;
        } else {
            self.letters[mailbox.last as usize].next = index;
        }
        mailbox.last = index;
        mailbox.count += 1;
        self.visit(mailbox, to);
    }

    /// Takes the oldest letter, if it was written before this round began.
    pub(crate) fn pop(&mut self, mailbox: &mut Mailbox) -> Option<Message> {
        let first = self.letters.get(mailbox.first as usize)?;
        if first.round == self.round { None } else { self.pop_any(mailbox) }
    }

    /// Takes the oldest letter.
    pub(crate) fn pop_any(&mut self, mailbox: &mut Mailbox) -> Option<Message> {
        if mailbox.first == NONE {
            return None;
        }
        let letter = self.letters.remove(mailbox.first as usize);
        mailbox.first = letter.next;
        mailbox.count -= 1;
        Some(letter.message)
    }

    /// Has `to` visited on the next round, once.
    pub(crate) fn visit(&mut self, mailbox: &mut Mailbox, to: EndpointId) {
        if !mailbox.on_round {
            mailbox.on_round = true;
            self.visits.push(to);
        }
    }

    /// Whether somebody is to be visited.
    #[inline]
    pub(crate) fn has_visits(&self) -> bool {
        !self.visits.is_empty()
    }

    /// Begins a round: swaps the visits to make with an empty list. Letters written from now on wait for
    /// the next round.
    pub(crate) fn take_visits(&mut self, round: &mut Vec<EndpointId>) {
        debug_assert!(round.is_empty());
        std::mem::swap(&mut self.visits, round);
        self.round = self.round.wrapping_add(1);
    }

    /// Forgets the round: the loop has ended.
    pub(crate) fn drop_visits(&mut self) {
        self.visits.clear();
    }

    /// Gives back memory behind the last letter.
    pub(crate) fn shrink(&mut self) {
        self.letters.shrink_to_fit();
        self.visits.shrink_to_fit();
    }

    /// How many letters wait.
    pub(crate) fn len(&self) -> usize {
        self.letters.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(message: Option<Message>) -> Option<Bytes> {
        match message {
            Some(Message::Bytes(bytes)) => Some(bytes),
            _ => None,
        }
    }

    #[test]
    fn letters_come_in_order_and_targets_in_the_order_of_their_first_letter() {
        let mut office = PostOffice::default();
        let (a, b) = (EndpointId::new(1, 1), EndpointId::new(2, 1));
        let (mut mail_a, mut mail_b) = (Mailbox::EMPTY, Mailbox::EMPTY);
        office.push(&mut mail_b, b, Bytes::from_static(b"1").into());
        office.push(&mut mail_a, a, Bytes::from_static(b"2").into());
        office.push(&mut mail_b, b, Bytes::from_static(b"3").into());
        let mut round = Vec::new();
        office.take_visits(&mut round);
        assert_eq!(round, [b, a]);
        assert_eq!(mail_b.len(), 2);
        assert_eq!(bytes(office.pop(&mut mail_b)).as_deref(), Some(&b"1"[..]));
        assert_eq!(bytes(office.pop(&mut mail_b)).as_deref(), Some(&b"3"[..]));
        assert!(office.pop(&mut mail_b).is_none());
        office.push(&mut mail_b, b, Bytes::from_static(b"4").into());
        assert!(office.pop(&mut mail_b).is_none(), "written during this round");
        assert_eq!(bytes(office.pop_any(&mut mail_b)).as_deref(), Some(&b"4"[..]));
        assert_eq!(bytes(office.pop(&mut mail_a)).as_deref(), Some(&b"2"[..]));
        assert_eq!(office.len(), 0);
    }

    #[test]
    fn downcast_hands_back_what_is_something_else() {
        assert_eq!(Message::user(7_u32).downcast::<u32>().expect("a u32"), 7);
        let message = Message::user(7_u32).downcast::<String>().expect_err("not a string");
        assert_eq!(message.downcast::<u32>().expect("still a u32"), 7);
    }
}
