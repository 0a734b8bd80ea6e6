//! What the calls for many datagrams need of memory, and whether there are such calls.

use std::net::SocketAddr;

use nix::sys::socket::{MultiHeaders, SockaddrIn, SockaddrIn6, SockaddrLike, SockaddrStorage};

use super::control::{Ancillary, Asked, Headers};
use crate::driver::Batch;

/// What the calls need of memory, shared by all sockets of a driver: 10 KiB for each family that is spoken.
///
/// Those for receiving are kept apart from those for sending, since a call to send leaves its caller's pointers in them,
/// which a call to receive would write to. Each family has its own, since the system notes in them how long an address is.
#[derive(Debug, Default)]
pub(in crate::driver::mio) struct Calls {
    pub(super) v4: Pair<SockaddrIn>,
    pub(super) v6: Pair<SockaddrIn6>,
    /// Those for datagrams of which the system says more than where they come from, by what was asked for.
    pub(super) told: Vec<(Asked, Headers)>,
    /// Those for datagrams that say more than where they go.
    ancillary: Vec<(Ancillary, MultiHeaders<SockaddrStorage>)>,
    /// The system has not got the call, or a filter forbids it (seccomp(2)).
    pub(super) no_receive: bool,
    pub(super) sending: Many,
}

/// Whether many datagrams are sent in one call.
#[derive(Debug, Default)]
pub(super) enum Many {
    #[default]
    Yes,
    /// It was forbidden when a single one was not: by a filter, or by a firewall's rule that is gone again, or that only
    /// lets so many pass. So many times they go singly before it is tried again.
    NotNow(u32),
    /// The system has not got the call.
    Never,
}

impl Many {
    /// A call that fails for each of so many that don't is not worth mentioning.
    pub(super) const PAUSE: u32 = 1024;

    pub(super) fn is_worth_trying(&mut self) -> bool {
        match self {
            Self::Yes => true,
            Self::NotNow(0) => {
                *self = Self::Yes;
                true
            }
            Self::NotNow(left) => {
                *left -= 1;
                false
            }
            Self::Never => false,
        }
    }
}

#[derive(Debug)]
pub(super) struct Pair<S> {
    receive: Option<MultiHeaders<S>>,
    send: Option<Box<Sending<S>>>,
}

#[derive(Debug)]
pub(super) struct Sending<S> {
    pub(super) headers: MultiHeaders<S>,
    /// Where they go: kept, since to make as many anew for each call would cost two instructions each.
    pub(super) names: [Option<S>; Batch::SLOTS],
}

impl<S> Default for Pair<S> {
    fn default() -> Self {
        Self { receive: None, send: None }
    }
}

/// What a system's own addresses of one family are here.
pub(super) trait Name: Copy + SockaddrLike {
    fn of(address: &SocketAddr) -> Option<Self>;
    fn address(self) -> SocketAddr;
}

impl Name for SockaddrIn {
    #[inline]
    fn of(address: &SocketAddr) -> Option<Self> {
        if let &SocketAddr::V4(address) = address { Some(address.into()) } else { None }
    }

    #[inline]
    fn address(self) -> SocketAddr {
        SocketAddr::V4(self.into())
    }
}

impl Name for SockaddrIn6 {
    #[inline]
    fn of(address: &SocketAddr) -> Option<Self> {
        if let &SocketAddr::V6(address) = address { Some(address.into()) } else { None }
    }

    #[inline]
    fn address(self) -> SocketAddr {
        SocketAddr::V6(self.into())
    }
}

impl Calls {
    /// How many go together that say more than where they go.
    pub(super) const ALIKE: usize = 8;

    /// Those of a system that has none.
    #[cfg(test)]
    pub(super) fn missing() -> Self {
        Self { no_receive: true, sending: Many::Never, ..Self::default() }
    }

    #[cfg(test)]
    pub(super) fn told_kinds(&self) -> usize {
        self.told.len()
    }

    /// Those of a system that just forbade to send many.
    #[cfg(test)]
    pub(super) fn forbidden() -> Self {
        Self { sending: Many::NotNow(Many::PAUSE), ..Self::default() }
    }

    pub(super) fn ancillary(&mut self, which: Ancillary) -> &mut MultiHeaders<SockaddrStorage> {
        let at = self.ancillary.iter().position(|(known, _)| known.takes_as_much_as(&which)).unwrap_or_else(|| {
            self.ancillary.push((which, MultiHeaders::preallocate(Self::ALIKE, Some(which.room()))));
            self.ancillary.len() - 1
        });
        &mut self.ancillary[at].1
    }
}

impl<S: Name> Pair<S> {
    pub(super) fn receive(&mut self) -> &mut MultiHeaders<S> {
        self.receive.get_or_insert_with(|| MultiHeaders::preallocate(Batch::SLOTS, None))
    }

    pub(super) fn send(&mut self) -> &mut Sending<S> {
        self.send.get_or_insert_with(|| {
            let headers = MultiHeaders::preallocate(Batch::SLOTS, None);
            Box::new(Sending { headers, names: [None; Batch::SLOTS] })
        })
    }
}
