//! What is counted, as `/counters` serves it and the end tells it.

use serde::Serialize;
use switchboard::Core;

use crate::fleet::DEVICES;

/// What came, in totals since the start.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) readings_tcp: u64,
    pub(crate) readings_udp: u64,
    /// Readings that were numbered and never came.
    pub(crate) lost: u64,
    /// Readings that were overtaken, or came twice: they are dropped.
    pub(crate) late: u64,
    pub(crate) malformed: u64,
    pub(crate) refused: u64,
    pub(crate) taken_over: u64,
}

/// What `/counters` serves.
#[derive(Serialize)]
pub(crate) struct Report {
    devices: usize,
    online: usize,
    silent: usize,
    gone: usize,
    #[serde(flatten)]
    counts: Counts,
    subscribers: usize,
    published: u64,
    delivered: u64,
    dropped: u64,
    sessions_refused: u64,
    held_bytes: usize,
}

impl Report {
    /// `states` are how many devices are online, silent and gone.
    pub(crate) fn new(core: &Core, states: [usize; 3], counts: Counts) -> Self {
        let [online, silent, gone] = states;
        let topic = core.topic_counters(DEVICES).unwrap_or_default();
        Self {
            devices: states.iter().sum(),
            online,
            silent,
            gone,
            counts,
            subscribers: topic.subscribers,
            published: topic.published,
            delivered: topic.delivered,
            dropped: topic.dropped,
            sessions_refused: core.counters().sessions_refused,
            held_bytes: core.held_bytes(),
        }
    }
}

/// None of what is told has a map with keys that JSON can't have, which is all that could fail.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
