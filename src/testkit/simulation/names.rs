//! Where hosts are: addresses and ports, names, and the paths of Unix sockets, which are names too.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::weather::{LOOKUP_FAILED, LOOKUP_SLOW};
use super::wire::{Happening, Source, Transport, Wire};

/// What a slow lookup takes longer: how long a resolver waits for a name server before it asks another.
const SLOW: Duration = Duration::from_secs(5);

/// The network of the hosts' IPv6 addresses (RFC 4193).
const IPV6: u128 = 0xfd00 << 112;

#[derive(Default)]
pub(super) struct Names {
    pub(super) addresses: BTreeMap<String, Vec<IpAddr>>,
    /// Lookups under way, by host and key.
    lookups: BTreeMap<(usize, u64), Answer>,
    /// Those that have come to an end, until the loop takes them.
    pub(super) answers: BTreeMap<(usize, u64), Answered>,
    /// What port stands for the path of a Unix socket on a host.
    #[cfg(unix)]
    pub(super) paths: BTreeMap<(usize, PathBuf), u16>,
}

type Answer = io::Result<Vec<SocketAddr>>;

pub(super) struct Answered {
    answer: Answer,
    pub(super) on_list: bool,
}

impl Wire {
    /// A host's IPv6 address: fd00::1 for the first.
    pub(super) fn ip6(host: usize) -> IpAddr {
        IpAddr::V6(Ipv6Addr::from_bits(IPV6 | u128::try_from(host + 1).unwrap_or(u128::MAX)))
    }

    /// A host's address: 10.0.0.1 for the first.
    pub(super) fn ip(host: usize) -> IpAddr {
        let number = u32::try_from(host + 1).unwrap_or(u32::MAX);
        IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 | (number & 0x00ff_ffff)))
    }

    /// Whose address this is, as seen from a host.
    pub(super) fn host_at(&self, ip: IpAddr, from: usize) -> Option<usize> {
        if ip.is_loopback() || ip.is_unspecified() {
            return Some(from);
        }
        let number = match ip {
            IpAddr::V4(ip) => ip.to_bits().checked_sub(0x0a00_0001)?.into(),
            IpAddr::V6(ip) => ip.to_bits().checked_sub(IPV6 | 1)?,
        };
        let host = usize::try_from(number).ok()?;
        (host < self.hosts.len()).then_some(host)
    }

    /// A host's own port that nobody has: the one asked for, or any.
    pub(super) fn free_port(&mut self, host: usize, transport: Transport, asked: SocketAddr) -> io::Result<SocketAddr> {
        if self.host_at(asked.ip(), host) != Some(host) {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let ip = match asked.ip() {
            ip if ip.is_loopback() => ip,
            IpAddr::V4(_) => Self::ip(host),
            IpAddr::V6(_) => Self::ip6(host),
        };
        let in_use = |port| self.ports.contains_key(&(host, transport, port));
        if asked.port() != 0 {
            let taken = in_use(asked.port());
            return if taken { Err(io::ErrorKind::AddrInUse.into()) } else { Ok(SocketAddr::new(ip, asked.port())) };
        }
        let first = self.hosts[host].next_port;
        let mut ports = (first..=u16::MAX).chain(49_152..first);
        let port = ports.find(|&port| !in_use(port)).ok_or(io::ErrorKind::AddrInUse)?;
        self.hosts[host].next_port = if port == u16::MAX { 49_152 } else { port + 1 };
        Ok(SocketAddr::new(ip, port))
    }

    pub(super) fn bind(&mut self, host: usize, transport: Transport, port: u16, index: usize) {
        self.ports.insert((host, transport, port), index);
    }

    pub(super) fn unbind(&mut self, host: usize, transport: Transport, port: u16) {
        self.ports.remove(&(host, transport, port));
    }

    pub(super) fn bound(&self, host: usize, transport: Transport, port: u16) -> Option<usize> {
        self.ports.get(&(host, transport, port)).copied()
    }

    // Names.

    /// Begins a lookup. It takes what a host needs to ask itself, and knows at once what it will be told.
    pub(super) fn resolve(&mut self, host: usize, key: u64, name: &str, port: u16) {
        let failed = self.weather.strikes(LOOKUP_FAILED, host, host);
        let addresses = self.names.addresses.get(name).filter(|addresses| !failed && !addresses.is_empty());
        let answer = match addresses {
            Some(addresses) => Ok(addresses.iter().map(|&ip| SocketAddr::new(ip, port)).collect()),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "no such name (simulated)")),
        };
        let slow = if self.weather.strikes(LOOKUP_SLOW, host, host) { SLOW } else { Duration::ZERO };
        let at = self.now + self.weather.latency(host, host) + slow;
        self.names.lookups.insert((host, key), answer);
        self.schedule(at, Happening::Answer { host, key });
    }

    /// A lookup has come to its end, unless nobody waits for it.
    pub(super) fn answer(&mut self, host: usize, key: u64) {
        let Some(answer) = self.names.lookups.remove(&(host, key)) else { return };
        self.digest.mix(key ^ u64::from(answer.is_ok()));
        self.names.answers.insert((host, key), Answered { answer, on_list: false });
        self.raise(Source::Answer { host, key });
    }

    pub(super) fn resolved(&mut self, host: usize, key: u64) -> Option<Answer> {
        self.names.answers.remove(&(host, key)).map(|answered| answered.answer)
    }

    pub(super) fn forget(&mut self, host: usize, key: u64) {
        self.names.lookups.remove(&(host, key));
        self.names.answers.remove(&(host, key));
    }

    /// The port that stands for a path that nobody listens at yet.
    #[cfg(unix)]
    pub(super) fn free_path(&mut self, host: usize, path: &Path) -> io::Result<SocketAddr> {
        if self.names.paths.contains_key(&(host, path.to_owned())) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let port = self.free_port(host, Transport::Unix, unix(0))?;
        self.names.paths.insert((host, path.to_owned()), port.port());
        Ok(port)
    }

    /// The port of who listens at a path.
    #[cfg(unix)]
    pub(super) fn path(&self, host: usize, path: &Path) -> io::Result<SocketAddr> {
        let port = self.names.paths.get(&(host, path.to_owned())).ok_or(io::ErrorKind::NotFound)?;
        Ok(unix(*port))
    }

    /// Who listened there does no more.
    #[cfg(unix)]
    pub(super) fn remove_path(&mut self, host: usize, port: u16) {
        self.names.paths.retain(|&(there, _), &mut its| there != host || its != port);
    }
}

/// What stands for the address of a Unix socket.
#[cfg(unix)]
fn unix(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}
