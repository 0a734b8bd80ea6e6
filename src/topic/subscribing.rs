//! Subscriptions come and go.

use super::table::Subscription;
use super::{Slow, TopicCounters, Topics};
use crate::link::Link;
use crate::timer::NONE;
use crate::{Core, EndpointId, LimitExceeded};

impl Core {
    /// How many topics there are: names that somebody is subscribed to.
    #[must_use]
    pub fn topics(&self) -> usize {
        self.topics.len()
    }

    /// What has become of the publications of a topic; `None` if nobody is subscribed to it.
    #[must_use]
    pub fn topic_counters(&self, topic: &str) -> Option<TopicCounters> {
        self.topics.find(topic).map(|topic| self.topics.topics[topic as usize].counters)
    }

    /// Subscribes the connection or socket of `link`, or gives its subscription another policy.
    pub(crate) fn subscribe(&mut self, link: &Link, depth: u8, topic: &str, slow: Slow) -> Result<(), LimitExceeded> {
        if !self.registry.contains(link.id) {
            return Ok(()); // it has ended
        }
        let found = self.topics.find(topic);
        let first = self.registry.desk(link.id).map_or(NONE, |desk| desk.subscriptions);
        let (mut count, mut sibling) = (0, first);
        while let Some(subscription) = self.topics.subscriptions.get_mut(sibling as usize) {
            if Some(subscription.topic) == found {
                subscription.depth = subscription.depth.min(depth);
                self.change_policy(sibling, slow);
                return Ok(());
            }
            (count, sibling) = (count + 1, subscription.sibling);
        }
        if count >= self.limits.subscriptions {
            return Err(LimitExceeded::Subscriptions(self.limits.subscriptions));
        }
        let size = Topics::SUBSCRIPTION + if found.is_none() { Topics::topic_size(topic) } else { 0 };
        let (wanted, limit) = (self.held + size, self.limits.loop_memory);
        if wanted > limit {
            return Err(LimitExceeded::LoopMemory { wanted, limit });
        }
        self.held = wanted;
        let topic = found.unwrap_or_else(|| self.topics.insert(topic));
        if let Some(desk) = self.registry.make_desk(link.id) {
            desk.subscriptions = self.topics.attach(Subscription::new(topic, link, depth, slow, first));
        }
        Ok(())
    }

    /// Ends a subscription, if there is one. What waits of it is dropped.
    pub(crate) fn unsubscribe(&mut self, id: EndpointId, topic: &str) -> bool {
        let Some(topic) = self.topics.find(topic) else { return false };
        self.end_subscriptions(id, |subscription| subscription.topic == topic)
    }

    /// Ends the subscriptions of the protocol at this depth, and of all inside it.
    pub(crate) fn unsubscribe_from_depth(&mut self, id: EndpointId, depth: u8) {
        self.end_subscriptions(id, |subscription| subscription.depth >= depth);
    }

    /// Ends one subscription.
    pub(super) fn end_subscription(&mut self, id: EndpointId, index: u32) {
        // An index names one subscription of one topic, and a connection has no two of a topic.
        let topic = self.topics.subscriptions[index as usize].topic;
        self.end_subscriptions(id, |subscription| subscription.topic == topic);
    }

    /// Ends those of the subscriptions of `id` that `ends` says, and says whether there were any.
    fn end_subscriptions(&mut self, id: EndpointId, ends: impl Fn(&Subscription) -> bool) -> bool {
        let Some(desk) = self.registry.desk(id) else { return false };
        let mut index = desk.subscriptions;
        let (mut ended, mut kept) = (false, NONE);
        while let Some(subscription) = self.topics.subscriptions.get(index as usize) {
            let (next, ends) = (subscription.sibling, ends(subscription));
            if ends {
                match self.topics.subscriptions.get_mut(kept as usize) {
                    Some(kept) => kept.sibling = next,
                    None => self.set_subscriptions(id, next),
                }
                while self.drop_oldest(index) {}
                self.held -= self.topics.detach(index);
                ended = true;
            } else {
                kept = index;
            }
            index = next;
        }
        self.registry.clear_desk(id);
        ended
    }

    fn set_subscriptions(&mut self, id: EndpointId, first: u32) {
        if let Some(desk) = self.registry.desk(id) {
            desk.subscriptions = first;
        }
    }

    /// From now on this policy holds, for what waits already, too.
    fn change_policy(&mut self, index: u32, slow: Slow) {
        let subscription = &mut self.topics.subscriptions[index as usize];
        let before = std::mem::replace(&mut subscription.slow, slow);
        let keeps = |slow| matches!(slow, Slow::KeepLatest { .. });
        if keeps(before) == keeps(slow) {
            return;
        }
        let mut letter = subscription.first_letter;
        while let Some(slip) = self.post_office.slip_mut(letter) {
            if let Some(key) = self.topics.key(slip.publication) {
                if keeps(slow) {
                    self.topics.set_latest(index, key, letter);
                } else {
                    self.topics.forget_latest(index, key, letter);
                }
            }
            letter = slip.later;
        }
    }
}
