//! Topics: what one protocol publishes, all subscribers get.
//!
//! A topic is a name. Any protocol subscribes to it by its [`Context`](crate::Context::subscribe), anybody who reaches the
//! loop publishes on it ([`Core::publish`], [`Handle::publish`](crate::Handle::publish)), and each subscriber is handed
//! the [`Publication`] as a [`Message::Published`], whatever it speaks: a device on a plain TCP line publishes, and a page
//! that holds the subscription on a WebSocket gets it.
//!
//! ```
//! use switchboard::testkit::Harness;
//! use switchboard::{Context, Failure, Input, Message, Protocol, Slow};
//!
//! /// What each member says, all members of the room get.
//! struct Member;
//!
//! impl Protocol for Member {
//!     fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
//!         cx.subscribe("room", Slow::default())?;
//!         Ok(())
//!     }
//!
//!     fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
//!         cx.publish("room", input.take_all().to_vec());
//!         Ok(())
//!     }
//!
//!     fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
//!         if let Message::Published(publication) = message {
//!             cx.send_shared(publication.payload().clone());
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let mut harness = Harness::new(Member);
//! harness.feed(b"hello");
//! assert_eq!(harness.take_sent(), b"hello"); // whoever publishes gets it, too, if subscribed
//! assert_eq!(harness.core().publish("room", "from outside"), 1);
//! harness.settle();
//! assert_eq!(harness.take_sent(), b"from outside");
//! assert_eq!(harness.core().publish("elsewhere", "nobody listens"), 0);
//! ```
//!
//! # What holds
//!
//! * A topic exists while it has subscribers. Nothing is kept of it besides: a publication without subscribers is gone at
//!   once, and who comes later does not get what came before.
//! * There is one copy of a payload, however many subscribers there are: each has a letter of some 60 bytes that refers to
//!   it, for as long as it waits. A steady flow of publications allocates nothing for each of them.
//! * Posts and publications to one target arrive in one order, that in which they were posted and published; those of a
//!   turn leave in one write. What is published while messages are handed over is handed over in the next turn.
//! * A subscription ends by [`unsubscribe`](crate::Context::unsubscribe), with its connection, and with its protocol when
//!   that is [switched](crate::Context::switch_to) (as its timers do). What waits of it then is dropped; nothing comes
//!   afterwards.
//! * The connection is the subscriber: a layer and what it is around share a subscription to the same topic.
//!
//! # Who is slow
//!
//! Publications wait for a subscriber whose output is above [`Limits::high_water`](crate::Limits::high_water), and
//! between the publishing and the step of the turn in which messages are handed over. How many may wait, and what is done
//! when there are more, each subscription says for itself: [`Slow`]. Whoever is slow delays nobody else, and publishing
//! to slow subscribers costs no more than to fast ones.
//!
//! Nothing is lost in silence: of every publication that was put down for a subscriber it is counted whether it was handed
//! over or dropped ([`TopicCounters`], [`Counters`](crate::Counters)). Topics, subscriptions, and the publications that
//! wait (each payload once) count against [`Limits::loop_memory`](crate::Limits::loop_memory). Where that has no room for
//! a publication, what waits of its topic goes first, of those that drop the oldest or keep the latest; if that is not
//! enough it is dropped for all, and subscriptions that [close](Slow::Close) do so.

mod delivery;
mod publication;
mod subscribing;
mod table;

pub use publication::Publication;
pub(crate) use table::Topics;

#[expect(unused_imports, reason = "for the documentation")]
use crate::{Core, Message};

/// What is done with the publications of a subscription whose subscriber does not take them as fast as they come.
///
/// `waiting` is how many may wait, at least 1; those that protocols publish within one turn count, too. (What comes from
/// other threads by a [`Handle`](crate::Handle::publish) is handed over 64 at a time.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Slow {
    /// A new one takes the room of the one that has waited longest, which is dropped: for what goes out of date.
    DropOldest {
        /// How many may wait.
        waiting: usize,
    },
    /// A new one is dropped: for what begins with what came first.
    DropNewest {
        /// How many may wait.
        waiting: usize,
    },
    /// A new one takes the place of the one that waits with the same [key](Core::publish_keyed), which is dropped: for the
    /// state of many things, of each of which the last counts. The place is the older's, before whatever has come since.
    /// Where none with its key waits, and for one without a key, it is as for [`DropOldest`](Self::DropOldest).
    KeepLatest {
        /// How many may wait: as many as there are keys, at best.
        waiting: usize,
    },
    /// The connection is closed, with [`LimitExceeded::SlowSubscriber`](crate::LimitExceeded): for subscribers that must
    /// not miss anything. What waits to be sent to it is lost, as whenever a limit is exceeded.
    Close {
        /// How many may wait.
        waiting: usize,
    },
}

impl Slow {
    /// How many may wait.
    #[must_use]
    pub fn waiting(self) -> usize {
        let (Self::DropOldest { waiting }
        | Self::DropNewest { waiting }
        | Self::KeepLatest { waiting }
        | Self::Close { waiting }) = self;
        waiting.max(1)
    }
}

impl Default for Slow {
    /// The oldest of 256 is dropped.
    fn default() -> Self {
        Self::DropOldest { waiting: 256 }
    }
}

/// What has become of the publications of a topic since it exists: that is, since there have been subscribers.
///
/// Of what was put down for subscribers that are still there, `delivered + dropped` is all but what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicCounters {
    /// Who is subscribed now.
    pub subscribers: usize,
    /// How often something was published.
    pub published: u64,
    /// Publications handed over to a subscriber.
    pub delivered: u64,
    /// Publications that were dropped for a subscriber: it was slow or had gone, or the loop had no memory for them.
    pub dropped: u64,
}
