//! What the network is like, and what it did.

use std::ops::RangeInclusive;
use std::time::Duration;

/// What the simulated network between two hosts is like: a calm one by default.
///
/// Chances are probabilities: 0.0 never, 1.0 always, drawn from the simulation's seed each time the
/// thing could happen.
///
/// ```
/// use std::time::Duration;
/// use switchboard::testkit::{Conditions, Simulation};
///
/// let mut sim = Simulation::new(1);
/// let satellite = Duration::from_millis(250)..=Duration::from_millis(300);
/// sim.set_conditions(Conditions { latency: satellite, bandwidth: Some(100_000), ..Conditions::default() });
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Conditions {
    /// How long a packet takes, drawn anew for each. TCP's bytes arrive in order all the same, and so
    /// do datagrams that are not [`reordered`](Self::reordered). Default 1 ms.
    pub latency: RangeInclusive<Duration>,
    /// Bytes per second in each direction, shared by everything between the two hosts; `None` (the
    /// default) is no limit, and so is 0.
    pub bandwidth: Option<u64>,
    /// Bytes a connection's sender may have written that have not arrived. Default 64 KiB.
    pub send_buffer: usize,
    /// Bytes that may have arrived, or be on their way, and that the receiver has not read; also the
    /// bytes of datagrams a UDP socket holds, beyond which they are lost. Default 64 KiB.
    pub receive_buffer: usize,
    /// The most bytes of TCP that arrive at once. Default 64 KiB.
    pub segment: usize,
    /// The chance that a packet is lost: a datagram for good, TCP's until it is sent again, 200 ms
    /// later (then 400, …).
    pub loss: f64,
    /// The chance that a datagram arrives twice.
    pub duplicated: f64,
    /// The chance that a datagram takes up to four times as long, and is overtaken.
    pub reordered: f64,
    /// The chance that a read gives less than is there.
    pub short_reads: f64,
    /// The chance that a write takes less than there is room for.
    pub short_writes: f64,
    /// The chance that an operation says `WouldBlock` though it could go on; its readiness is
    /// reported again later.
    pub would_block: f64,
    /// The chance that the connection is reset, for each piece of data that arrives.
    pub resets: f64,
    /// The chance that a connect is refused though somebody listens.
    pub refused: f64,
    /// The chance that an accept finds its peer gone (`ECONNABORTED`), which then is reset.
    pub aborted_accepts: f64,
    /// The chance that an accept fails for lack of descriptors (`EMFILE`).
    pub exhausted_accepts: f64,
    /// The chance that a lookup of a name fails. (As all of a lookup: that of a host with itself.)
    pub failed_lookups: f64,
    /// The chance that a lookup of a name takes 5 s longer.
    pub slow_lookups: f64,
}

const KIB: usize = 1024;

impl Default for Conditions {
    fn default() -> Self {
        let latency = Duration::from_millis(1);
        Self {
            latency: latency..=latency,
            bandwidth: None,
            send_buffer: 64 * KIB,
            receive_buffer: 64 * KIB,
            segment: 64 * KIB,
            loss: 0.0,
            duplicated: 0.0,
            reordered: 0.0,
            short_reads: 0.0,
            short_writes: 0.0,
            would_block: 0.0,
            resets: 0.0,
            refused: 0.0,
            aborted_accepts: 0.0,
            exhausted_accepts: 0.0,
            failed_lookups: 0.0,
            slow_lookups: 0.0,
        }
    }
}

impl Conditions {
    /// Everything that goes wrong on real networks, often, but nothing that breaks a connection: all
    /// of TCP's bytes arrive.
    #[must_use]
    pub fn rough() -> Self {
        Self {
            latency: Duration::from_micros(50)..=Duration::from_millis(20),
            bandwidth: Some(20_000_000),
            send_buffer: 5000,
            receive_buffer: 7000,
            segment: 1460,
            loss: 0.01,
            duplicated: 0.05,
            reordered: 0.1,
            short_reads: 0.2,
            short_writes: 0.2,
            would_block: 0.1,
            exhausted_accepts: 0.05,
            slow_lookups: 0.05,
            ..Self::default()
        }
    }

    /// As [`rough`](Self::rough), and connections are reset, refused and aborted, and names not found.
    #[must_use]
    pub fn hostile() -> Self {
        Self { resets: 0.001, refused: 0.05, aborted_accepts: 0.05, failed_lookups: 0.05, ..Self::rough() }
    }

    /// Panics if a chance is none, or nothing could ever move.
    pub(super) fn check(&self) {
        let chances = [
            ("loss", self.loss),
            ("duplicated", self.duplicated),
            ("reordered", self.reordered),
            ("short_reads", self.short_reads),
            ("short_writes", self.short_writes),
            ("would_block", self.would_block),
            ("resets", self.resets),
            ("refused", self.refused),
            ("aborted_accepts", self.aborted_accepts),
            ("exhausted_accepts", self.exhausted_accepts),
            ("failed_lookups", self.failed_lookups),
            ("slow_lookups", self.slow_lookups),
        ];
        for (name, chance) in chances {
            assert!((0.0..=1.0).contains(&chance), "Conditions: {name} is a probability, and {chance} is none");
        }
        for (name, size) in
            [("send_buffer", self.send_buffer), ("receive_buffer", self.receive_buffer), ("segment", self.segment)]
        {
            assert!(size > 0, "Conditions: with {name} 0 no byte could ever pass");
        }
        assert!(!self.latency.is_empty(), "Conditions: latency {:?} is an empty range", self.latency);
        assert!(self.would_block < 1.0, "Conditions: with would_block 1 nothing could ever be done");
    }
}

/// How often each kind of fault has happened in a [`Simulation`](super::Simulation): a test that
/// means to show what becomes of one had better see that it did happen.
///
/// ```
/// use std::time::Duration;
/// use switchboard::testkit::{Conditions, Simulation};
///
/// let mut sim = Simulation::new(7);
/// sim.set_conditions(Conditions { loss: 0.5, ..Conditions::default() });
/// let (server, client) = (sim.add_host("server"), sim.add_host("client"));
/// let address = sim.address(server, 7000);
/// # struct Deaf;
/// # impl switchboard::Protocol for Deaf {
/// #     fn on_data(
/// #         &mut self,
/// #         _: &mut switchboard::Context<'_>,
/// #         _: &mut switchboard::Input<'_>,
/// #     ) -> Result<(), switchboard::Failure> {
/// #         Ok(())
/// #     }
/// # }
/// sim.event_loop(server).listen(address, |_| Some(Deaf))?;
/// for _ in 0..10 {
///     sim.event_loop(client).connect(address, Deaf);
/// }
/// sim.run_for(Duration::from_secs(60));
/// assert!(sim.faults().retransmitted > 0);
/// assert_eq!(sim.faults().resets, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// Reads that gave less than was there.
    pub short_reads: u64,
    /// Writes that took less than there was room for.
    pub short_writes: u64,
    /// Operations that said `WouldBlock` though they could have gone on.
    pub would_blocks: u64,
    /// Connections that the network reset.
    pub resets: u64,
    /// Connects that were refused by chance; not those to where nobody listens.
    pub refused: u64,
    /// Accepts that failed with `ECONNABORTED`.
    pub aborted_accepts: u64,
    /// Operations that failed for lack of descriptors (`EMFILE`).
    pub exhausted: u64,
    /// Lookups that failed by chance; not those of names that nobody has.
    pub failed_lookups: u64,
    /// Lookups that took long.
    pub slow_lookups: u64,
    /// TCP's packets that had to be sent again.
    pub retransmitted: u64,
    /// Datagrams lost to chance, to partitions, to full buffers, or because nobody is bound there.
    pub datagrams_lost: u64,
    /// Datagrams that came twice.
    pub datagrams_duplicated: u64,
    /// Datagrams that were delayed to be overtaken.
    pub datagrams_reordered: u64,
    /// TCP's packets that a partition held up.
    pub held: u64,
    /// Edges that [`lose_edge`](super::Simulation::lose_edge) has lost.
    pub edges_lost: u64,
}
