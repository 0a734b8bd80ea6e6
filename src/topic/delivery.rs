//! Publications, from whoever publishes to the mailboxes of the subscribers, and out of them.

use bytes::Bytes;

use super::{Publication, Slow, Topics};
use crate::core::Command;
use crate::link::Link;
use crate::message::{Body, PostOffice, Slip};
use crate::timer::NONE;
use crate::{Core, LimitExceeded, Message};

/// What a letter takes that brings a publication.
const LETTER: usize = PostOffice::LETTER + Topics::LATEST;

impl Core {
    /// Publishes on a topic: every [subscriber](crate::Context::subscribe) gets it as a [`Message::Published`], later in
    /// this turn, or in the next if this is called while messages are handed over. The payload is shared, not copied.
    /// Says for how many subscribers it was put down: 0 if there are none, or the loop has no memory for it
    /// ([`Limits::loop_memory`](crate::Limits::loop_memory)); those that [drop it](Slow) at once are not among them.
    ///
    /// ```
    /// let mut event_loop = switchboard::EventLoop::new()?;
    /// assert_eq!(event_loop.core().publish("weather", "rain"), 0); // nobody is subscribed
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn publish(&mut self, topic: &str, payload: impl Into<Bytes>) -> usize {
        self.put_down(topic, None, payload.into())
    }

    /// As [`publish`](Self::publish), with a key: for subscribers that [keep the latest](Slow::KeepLatest) this takes the
    /// place of what waits with the same key. It says which thing of many a publication tells of.
    pub fn publish_keyed(&mut self, topic: &str, key: u64, payload: impl Into<Bytes>) -> usize {
        self.put_down(topic, Some(key), payload.into())
    }

    pub(crate) fn put_down(&mut self, topic: &str, key: Option<u64>, payload: Bytes) -> usize {
        let Some(index) = self.topics.find(topic) else { return 0 };
        let topic = &mut self.topics.topics[index as usize];
        topic.counters.published += 1;
        let (size, letters) = (Topics::parcel_size(payload.len()), topic.counters.subscribers * LETTER);
        let mut next = topic.first;
        let publication = Publication::on(topic.name.clone(), key, payload);
        let fits = self.has_memory(size + letters) || self.make_room(next, size + letters);
        let parcel = self.topics.keep(publication);
        self.held += size;
        let mut count = 0;
        while let Some(subscription) = self.topics.subscriptions.get(next as usize) {
            let index = std::mem::replace(&mut next, subscription.next);
            self.counters[subscription.counters as usize].publications += 1;
            let put_down = if fits { self.put_down_for(index, parcel, key) } else { self.refuse_for(index) };
            count += usize::from(put_down);
        }
        self.held -= self.topics.release(parcel);
        count
    }

    fn has_memory(&self, bytes: usize) -> bool {
        self.held.saturating_add(bytes) <= self.limits.loop_memory
    }

    /// Drops what waits of a topic, of those who allow it, until there is memory for so many bytes, if that helps.
    #[cold]
    fn make_room(&mut self, mut next: u32, bytes: usize) -> bool {
        if bytes > self.limits.loop_memory {
            return false;
        }
        while let Some(subscription) = self.topics.subscriptions.get(next as usize) {
            let index = std::mem::replace(&mut next, subscription.next);
            if let Slow::DropOldest { .. } | Slow::KeepLatest { .. } = subscription.slow {
                while !self.has_memory(bytes) && self.drop_oldest(index) {}
            }
        }
        self.has_memory(bytes)
    }

    /// Puts a publication down for one subscriber, as the policy says.
    fn put_down_for(&mut self, index: u32, parcel: u32, key: Option<u64>) -> bool {
        let subscription = &self.topics.subscriptions[index as usize];
        let (slow, mut waiting) = (subscription.slow, subscription.waiting);
        let key = key.filter(|_| matches!(slow, Slow::KeepLatest { .. }));
        if waiting > 0 && key.is_some_and(|key| self.replace(index, key, parcel)) {
            return true;
        }
        while waiting >= slow.waiting() {
            if let Slow::DropNewest { .. } | Slow::Close { .. } = slow {
                return self.refuse_for(index);
            }
            self.drop_oldest(index);
            waiting -= 1;
        }
        let subscription = &mut self.topics.subscriptions[index as usize];
        let Some(desk) = self.registry.desk(subscription.owner) else { return false };
        let slip = Slip { publication: parcel, subscription: index, later: NONE };
        let letter = self.post_office.push(&mut desk.mailbox, subscription.owner, Body::Slip(slip));
        match self.post_office.slip_mut(subscription.last_letter) {
            Some(last) => last.later = letter,
            None => subscription.first_letter = letter,
        }
        subscription.last_letter = letter;
        subscription.waiting += 1;
        self.topics.share(parcel);
        if let Some(key) = key {
            self.topics.set_latest(index, key, letter);
        }
        self.held += LETTER;
        true
    }

    /// Puts a publication in the place of the one that waits with its key, if there is one.
    fn replace(&mut self, index: u32, key: u64, parcel: u32) -> bool {
        let Some(letter) = self.topics.latest(index, key) else { return false };
        let Some(slip) = self.post_office.slip_mut(letter) else { return false };
        let older = std::mem::replace(&mut slip.publication, parcel);
        self.topics.share(parcel);
        self.held -= self.topics.release(older);
        self.count_dropped(index);
        true
    }

    /// A publication is not put down for one subscriber: false. Who must not miss it is closed.
    #[cold]
    fn refuse_for(&mut self, index: u32) -> bool {
        self.count_dropped(index);
        let subscription = &self.topics.subscriptions[index as usize];
        if let (Slow::Close { .. }, id) = (subscription.slow, subscription.owner) {
            let limit = LimitExceeded::SlowSubscriber { waiting: subscription.waiting };
            self.end_subscription(id, index);
            self.commands.push(Command::Enforce { id, limit });
        }
        false
    }

    /// Drops the oldest publication that waits of a subscription, if one does.
    pub(super) fn drop_oldest(&mut self, index: u32) -> bool {
        let subscription = &self.topics.subscriptions[index as usize];
        let letter = subscription.first_letter;
        if letter == NONE {
            return false;
        }
        let Some(desk) = self.registry.desk(subscription.owner) else { return false };
        if let Body::Slip(slip) = self.post_office.remove(&mut desk.mailbox, letter) {
            self.take_letter(letter, slip);
            self.held -= self.topics.release(slip.publication);
            self.count_dropped(index);
        }
        true
    }

    fn count_dropped(&mut self, index: u32) {
        let subscription = &self.topics.subscriptions[index as usize];
        self.topics.topics[subscription.topic as usize].counters.dropped += 1;
        self.counters[subscription.counters as usize].publications_dropped += 1;
    }

    /// The oldest letter of a mailbox that was written before this round began, opened.
    pub(crate) fn next_message(&mut self, link: &Link) -> Option<Message> {
        let desk = self.registry.desk(link.id)?;
        let Some(letter) = self.post_office.pop(&mut desk.mailbox) else {
            self.registry.clear_desk(link.id);
            return None;
        };
        match letter {
            (_, Body::Message(message)) => Some(message),
            (letter, Body::Slip(slip)) => Some(Message::Published(self.hand_over(letter, slip))),
        }
    }

    fn hand_over(&mut self, letter: u32, slip: Slip) -> Publication {
        self.take_letter(letter, slip);
        let subscription = &self.topics.subscriptions[slip.subscription as usize];
        self.topics.topics[subscription.topic as usize].counters.delivered += 1;
        self.counters[subscription.counters as usize].publications_delivered += 1;
        let (publication, size) = self.topics.take(slip.publication);
        self.held -= size;
        publication
    }

    /// The oldest letter of a subscription was taken out of its mailbox.
    fn take_letter(&mut self, letter: u32, slip: Slip) {
        self.held -= LETTER;
        let subscription = &mut self.topics.subscriptions[slip.subscription as usize];
        debug_assert_eq!(subscription.first_letter, letter);
        subscription.first_letter = slip.later;
        if slip.later == NONE {
            subscription.last_letter = NONE;
        }
        subscription.waiting -= 1;
        if let (Slow::KeepLatest { .. }, Some(key)) = (subscription.slow, self.topics.key(slip.publication)) {
            self.topics.forget_latest(slip.subscription, key, letter);
        }
    }
}
