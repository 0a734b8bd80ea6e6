//! Messages between the protocols of a loop, and the post office that carries them.

use std::any::Any;
use std::fmt;

use bytes::Bytes;
use slab::Slab;

use crate::id::index32;
use crate::timer::NONE;
use crate::{EndpointId, Publication};

/// What one protocol posts to another (see [`Core::post`](crate::Core::post)), or publishes (see
/// [`Core::publish`](crate::Core::publish)).
#[non_exhaustive]
pub enum Message {
    /// Bytes, shared rather than copied.
    Bytes(Bytes),
    /// A value of the program's own; the receiver downcasts it.
    User(Box<dyn Any + Send>),
    /// What was published on a topic that the receiver has [subscribed](crate::Context::subscribe) to.
    Published(Publication),
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

impl From<Publication> for Message {
    fn from(publication: Publication) -> Self {
        Self::Published(publication)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.debug_tuple("Bytes").field(bytes).finish(),
            Self::User(_) => f.write_str("User(..)"),
            Self::Published(publication) => f.debug_tuple("Published").field(publication).finish(),
        }
    }
}

/// The letters that wait for one target: a list through the post office's slab.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mailbox {
    first: u32,
    last: u32,
    /// How many of them were posted: those have a limit of their own, publications their subscriptions'.
    posts: u32,
    /// Whether its owner is to be visited already.
    pub(crate) on_round: bool,
}

impl Mailbox {
    pub(crate) const EMPTY: Self = Self { first: NONE, last: NONE, posts: 0, on_round: false };
    /// No limit is above this.
    pub(crate) const MOST: usize = u32::MAX as usize;

    /// How many that were posted wait.
    pub(crate) fn posts(self) -> usize {
        self.posts as usize
    }

    pub(crate) fn is_empty(self) -> bool {
        self.first == NONE
    }

    /// It is empty, and nobody is on the way to it.
    pub(crate) fn is_idle(self) -> bool {
        self.is_empty() && !self.on_round
    }

    /// Stands in a place that is vacant, with the next one that is.
    pub(crate) fn vacant(next: u32) -> Self {
        Self { first: next, ..Self::EMPTY }
    }

    /// Of one that stands in a vacant place, the next.
    pub(crate) fn next_vacant(self) -> u32 {
        self.first
    }
}

/// What a letter brings.
#[derive(Debug)]
pub(crate) enum Body {
    Message(Message),
    Slip(Slip),
}

/// A subscriber's claim to a publication, which the topics keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slip {
    pub(crate) publication: u32,
    pub(crate) subscription: u32,
    /// The next letter of the same subscription.
    pub(crate) later: u32,
}

struct Letter {
    body: Body,
    next: u32,
    previous: u32,
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
    /// What a letter takes.
    pub(crate) const LETTER: usize = size_of::<Letter>();

    /// Puts a letter into `mailbox`, `to`'s, and `to` on the next round. Says where the letter lies.
    pub(crate) fn push(&mut self, mailbox: &mut Mailbox, to: EndpointId, body: Body) -> u32 {
        mailbox.posts += u32::from(matches!(body, Body::Message(_)));
        let letter = Letter { body, next: NONE, previous: mailbox.last, round: self.round };
        let index = index32(self.letters.insert(letter));
        match self.letters.get_mut(mailbox.last as usize) {
            Some(last) => last.next = index,
            None => mailbox.first = index,
        }
        mailbox.last = index;
        self.visit(mailbox, to);
        index
    }

    /// Takes the oldest letter, if it was written before this round began, and says where it lay.
    pub(crate) fn pop(&mut self, mailbox: &mut Mailbox) -> Option<(u32, Body)> {
        let first = self.letters.get(mailbox.first as usize)?;
        if first.round == self.round { None } else { self.pop_any(mailbox) }
    }

    /// Takes the oldest letter, and says where it lay.
    pub(crate) fn pop_any(&mut self, mailbox: &mut Mailbox) -> Option<(u32, Body)> {
        let first = mailbox.first;
        (first != NONE).then(|| (first, self.remove(mailbox, first)))
    }

    /// Takes a letter out of the mailbox, wherever in it it lies.
    pub(crate) fn remove(&mut self, mailbox: &mut Mailbox, index: u32) -> Body {
        let letter = self.letters.remove(index as usize);
        match self.letters.get_mut(letter.previous as usize) {
            Some(previous) => previous.next = letter.next,
            None => mailbox.first = letter.next,
        }
        match self.letters.get_mut(letter.next as usize) {
            Some(next) => next.previous = letter.previous,
            None => mailbox.last = letter.previous,
        }
        mailbox.posts -= u32::from(matches!(letter.body, Body::Message(_)));
        letter.body
    }

    /// The claim to a publication that a letter brings, if it brings one.
    pub(crate) fn slip_mut(&mut self, index: u32) -> Option<&mut Slip> {
        match &mut self.letters.get_mut(index as usize)?.body {
            Body::Slip(slip) => Some(slip),
            Body::Message(_) => None,
        }
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

    fn bytes(letter: Option<(u32, Body)>) -> Option<Bytes> {
        match letter {
            Some((_, Body::Message(Message::Bytes(bytes)))) => Some(bytes),
            _ => None,
        }
    }

    fn letter(text: &'static str) -> Body {
        Body::Message(Bytes::from(text).into())
    }

    #[test]
    fn letters_come_in_order_and_targets_in_the_order_of_their_first_letter() {
        let mut office = PostOffice::default();
        let (a, b) = (EndpointId::new(1, 1), EndpointId::new(2, 1));
        let (mut mail_a, mut mail_b) = (Mailbox::EMPTY, Mailbox::EMPTY);
        office.push(&mut mail_b, b, letter("1"));
        office.push(&mut mail_a, a, letter("2"));
        office.push(&mut mail_b, b, letter("3"));
        let mut round = Vec::new();
        office.take_visits(&mut round);
        assert_eq!(round, [b, a]);
        assert_eq!(mail_b.posts(), 2);
        assert_eq!(bytes(office.pop(&mut mail_b)).as_deref(), Some(&b"1"[..]));
        assert_eq!(bytes(office.pop(&mut mail_b)).as_deref(), Some(&b"3"[..]));
        assert!(office.pop(&mut mail_b).is_none());
        office.push(&mut mail_b, b, letter("4"));
        assert!(office.pop(&mut mail_b).is_none(), "written during this round");
        assert_eq!(bytes(office.pop_any(&mut mail_b)).as_deref(), Some(&b"4"[..]));
        assert_eq!(bytes(office.pop(&mut mail_a)).as_deref(), Some(&b"2"[..]));
        assert_eq!(office.len(), 0);
    }

    #[test]
    fn a_letter_can_be_taken_out_wherever_it_lies() {
        let to = EndpointId::new(1, 1);
        for (taken, left) in [([0_usize, 1], "2"), ([2, 0], "1"), ([1, 2], "0")] {
            let (mut office, mut mailbox) = (PostOffice::default(), Mailbox::EMPTY);
            let letters = ["0", "1", "2"].map(|text| office.push(&mut mailbox, to, letter(text)));
            for at in taken {
                office.remove(&mut mailbox, letters[at]);
            }
            office.push(&mut mailbox, to, letter("3"));
            assert_eq!(mailbox.posts(), 2);
            assert_eq!(bytes(office.pop_any(&mut mailbox)).as_deref(), Some(left.as_bytes()));
            assert_eq!(bytes(office.pop_any(&mut mailbox)).as_deref(), Some(&b"3"[..]));
            assert!(mailbox.is_empty() && mailbox.posts() == 0 && office.len() == 0);
        }
    }

    #[test]
    fn downcast_hands_back_what_is_something_else() {
        assert_eq!(Message::user(7_u32).downcast::<u32>().expect("a u32"), 7);
        let message = Message::user(7_u32).downcast::<String>().expect_err("not a string");
        assert_eq!(message.downcast::<u32>().expect("still a u32"), 7);
    }
}
