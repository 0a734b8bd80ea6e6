//! Which topics there are, who is subscribed to them, and what was published and not yet handed to all.

use std::collections::HashMap;
use std::sync::Arc;

use slab::Slab;

use super::{Publication, Slow, TopicCounters};
use crate::EndpointId;
use crate::hash::Secret;
use crate::id::index32;
use crate::link::Link;
use crate::timer::NONE;

/// A topic, while it has subscribers.
pub(super) struct Topic {
    pub(super) name: Arc<str>,
    /// Its subscriptions, in the order in which they were made.
    pub(super) first: u32,
    last: u32,
    pub(super) counters: TopicCounters,
}

/// A link between a topic and a subscriber: it is in a list of either.
pub(super) struct Subscription {
    pub(super) topic: u32,
    pub(super) owner: EndpointId,
    /// The index of the counters that its owner adds to.
    pub(super) counters: u32,
    /// How deep in the layers of its connection the protocol stands that subscribed.
    pub(super) depth: u8,
    pub(super) slow: Slow,
    /// The topic's next and previous.
    pub(super) next: u32,
    previous: u32,
    /// The owner's next.
    pub(super) sibling: u32,
    /// The letters that wait of it, through [`Slip::later`](crate::message::Slip): they lie in the owner's mailbox, in
    /// the same order.
    pub(super) first_letter: u32,
    pub(super) last_letter: u32,
    pub(super) waiting: usize,
}

impl Subscription {
    pub(super) fn new(topic: u32, link: &Link, depth: u8, slow: Slow, sibling: u32) -> Self {
        Self {
            topic,
            owner: link.id,
            counters: link.counters,
            depth,
            slow,
            next: NONE,
            previous: NONE,
            sibling,
            first_letter: NONE,
            last_letter: NONE,
            waiting: 0,
        }
    }
}

/// A publication, while letters refer to it.
struct Parcel {
    publication: Publication,
    letters: usize,
}

/// The topics of a loop.
#[derive(Default)]
pub(crate) struct Topics {
    names: HashMap<Arc<str>, u32>,
    pub(super) topics: Slab<Topic>,
    pub(super) subscriptions: Slab<Subscription>,
    parcels: Slab<Parcel>,
    /// Of subscriptions that keep the latest, the letter that waits of each key.
    latest: HashMap<(u32, u64), u32, Secret>,
}

impl Topics {
    /// What a subscription takes.
    pub(super) const SUBSCRIPTION: usize = size_of::<Subscription>();
    /// What a place among the latest takes.
    pub(super) const LATEST: usize = size_of::<((u32, u64), u32)>();

    /// How many topics there are.
    pub(crate) fn len(&self) -> usize {
        self.topics.len()
    }

    pub(super) fn find(&self, topic: &str) -> Option<u32> {
        self.names.get(topic).copied()
    }

    /// What a topic of this name takes.
    pub(super) fn topic_size(name: &str) -> usize {
        name.len() + size_of::<Topic>() + size_of::<(Arc<str>, u32)>()
    }

    /// Makes a topic, which is to be subscribed to.
    pub(super) fn insert(&mut self, name: &str) -> u32 {
        let name: Arc<str> = name.into();
        let topic = Topic { name: Arc::clone(&name), first: NONE, last: NONE, counters: TopicCounters::default() };
        let index = index32(self.topics.insert(topic));
        self.names.insert(name, index);
        index
    }

    /// Puts a subscription behind the others of its topic.
    pub(super) fn attach(&mut self, mut subscription: Subscription) -> u32 {
        let at = subscription.topic as usize;
        let last = self.topics[at].last;
        subscription.previous = last;
        let index = index32(self.subscriptions.insert(subscription));
        match self.subscriptions.get_mut(last as usize) {
            Some(last) => last.next = index,
            None => self.topics[at].first = index,
        }
        self.topics[at].last = index;
        self.topics[at].counters.subscribers += 1;
        index
    }

    /// Takes a subscription away, of which nothing waits, and its topic if it was the last. Says how many bytes that
    /// gives back.
    pub(super) fn detach(&mut self, index: u32) -> usize {
        let Subscription { topic, next, previous, .. } = self.subscriptions.remove(index as usize);
        match self.subscriptions.get_mut(previous as usize) {
            Some(previous) => previous.next = next,
            None => self.topics[topic as usize].first = next,
        }
        match self.subscriptions.get_mut(next as usize) {
            Some(next) => next.previous = previous,
            None => self.topics[topic as usize].last = previous,
        }
        let counters = &mut self.topics[topic as usize].counters;
        counters.subscribers -= 1;
        if counters.subscribers > 0 {
            return Self::SUBSCRIPTION;
        }
        let Topic { name, .. } = self.topics.remove(topic as usize);
        self.names.remove(&name);
        Self::SUBSCRIPTION + Self::topic_size(&name)
    }

    /// What a publication takes while it waits.
    pub(super) fn parcel_size(payload: usize) -> usize {
        payload + Publication::SIZE + size_of::<Parcel>()
    }

    /// Keeps a publication until it is [released](Self::release) as often as it was [shared](Self::share), and once
    /// more.
    pub(super) fn keep(&mut self, publication: Publication) -> u32 {
        index32(self.parcels.insert(Parcel { publication, letters: 1 }))
    }

    pub(super) fn share(&mut self, parcel: u32) {
        self.parcels[parcel as usize].letters += 1;
    }

    /// Says how many bytes that gives back.
    pub(super) fn release(&mut self, parcel: u32) -> usize {
        self.take(parcel).1
    }

    /// The same, for who wants the publication.
    pub(super) fn take(&mut self, parcel: u32) -> (Publication, usize) {
        let Parcel { publication, letters } = &mut self.parcels[parcel as usize];
        *letters -= 1;
        if *letters > 0 {
            return (publication.clone(), 0);
        }
        let publication = self.parcels.remove(parcel as usize).publication;
        let size = Self::parcel_size(publication.payload().len());
        (publication, size)
    }

    pub(super) fn key(&self, parcel: u32) -> Option<u64> {
        self.parcels[parcel as usize].publication.key()
    }

    /// The letter that waits of this key.
    pub(super) fn latest(&self, subscription: u32, key: u64) -> Option<u32> {
        self.latest.get(&(subscription, key)).copied()
    }

    pub(super) fn set_latest(&mut self, subscription: u32, key: u64, letter: u32) {
        self.latest.insert((subscription, key), letter);
    }

    /// A letter waits no more: if it was its key's, none does.
    pub(super) fn forget_latest(&mut self, subscription: u32, key: u64, letter: u32) {
        if self.latest(subscription, key) == Some(letter) {
            self.latest.remove(&(subscription, key));
        }
    }

    /// Gives back memory that few of many need no more.
    pub(crate) fn shrink(&mut self) {
        self.names.shrink_to_fit();
        self.topics.shrink_to_fit();
        self.subscriptions.shrink_to_fit();
        self.parcels.shrink_to_fit();
        self.latest.shrink_to_fit();
    }
}
