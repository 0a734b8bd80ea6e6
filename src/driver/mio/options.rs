//! Options on the operating system's stream sockets.

use std::io;
use std::net::SocketAddr;

use mio::net::TcpStream;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::{ConnectOptions, ListenOptions, StreamOptions};

/// Whether accepted connections have all the options of their listener. POSIX does not say so.
pub(super) const INHERITED: bool = cfg!(target_os = "linux");

/// A socket that listens.
pub(super) fn listener(address: SocketAddr, options: &ListenOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if options.reuse_address {
        socket.set_reuse_address(true)?;
    }
    if options.reuse_port {
        set_reuse_port(&socket)?;
    }
    if address.is_ipv6() {
        socket.set_only_v6(options.only_v6)?;
    }
    set_stream(SockRef::from(&socket), address, &options.stream)?;
    socket.bind(&address.into())?;
    socket.listen(backlog(options.backlog))?;
    Ok(socket)
}

/// A connection that has begun.
pub(super) fn connection(address: SocketAddr, options: &ConnectOptions) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    set_stream(SockRef::from(&socket), address, &options.stream)?;
    if let Some(source) = options.source {
        if source.port() != 0 {
            socket.set_reuse_address(cfg!(unix))?; // an earlier connection from there may be in TIME-WAIT
        }
        socket.bind(&source.into())?;
    }
    match socket.connect(&address.into()) {
        Err(error) if !has_begun(&error) => Err(error),
        _ => Ok(TcpStream::from_std(socket.into())),
    }
}

/// Sets what is to be set on a connection or on what accepts them: before that listens or connects, since the window's
/// scale is agreed on in the handshake (RFC 7323 §2.2).
pub(super) fn set_stream(socket: SockRef<'_>, address: SocketAddr, options: &StreamOptions) -> io::Result<()> {
    if options.nodelay {
        socket.set_tcp_nodelay(true)?;
    }
    if let Some(keepalive) = &options.keepalive {
        let probes = TcpKeepalive::new().with_time(keepalive.idle).with_interval(keepalive.interval);
        #[cfg(not(any(target_os = "openbsd", target_os = "redox", target_os = "solaris", target_os = "haiku")))]
        let probes = probes.with_retries(keepalive.count);
        socket.set_tcp_keepalive(&probes)?;
    }
    set_buffers(&socket, options.send_buffer_size, options.receive_buffer_size)?;
    set_route(&socket, address, options.hop_limit, options.dscp)
}

/// The system has an `int` for them, into which larger ones do not fit: they would come out as any size.
pub(super) fn set_buffers(socket: &SockRef<'_>, send: Option<usize>, receive: Option<usize>) -> io::Result<()> {
    const MOST: usize = i32::MAX as usize;
    if let Some(size) = send {
        socket.set_send_buffer_size(size.min(MOST))?;
    }
    if let Some(size) = receive {
        socket.set_recv_buffer_size(size.min(MOST))?;
    }
    Ok(())
}

/// What packets carry for routers, by the family of `address`. A socket of IPv6 may carry IPv4 too, which has options of
/// its own where the system has them for such a socket.
pub(super) fn set_route(
    socket: &SockRef<'_>,
    address: SocketAddr,
    hop_limit: Option<u8>,
    dscp: Option<u8>,
) -> io::Result<()> {
    if dscp.is_some_and(|dscp| dscp >= 1 << 6) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a DSCP has six bits"));
    }
    // The other two bits of the octet are the system's, for congestion notification (RFC 3168 §5).
    let class = dscp.map(|dscp| u32::from(dscp) << 2);
    let hops = hop_limit.map(u32::from);
    if address.is_ipv6() {
        hops.map_or(Ok(()), |hops| socket.set_unicast_hops_v6(hops))?;
        #[cfg(unix)]
        class.map_or(Ok(()), |class| socket.set_tclass_v6(class))?;
    }
    let for_v4 = hops.map_or(Ok(()), |hops| socket.set_ttl_v4(hops));
    let for_v4 = for_v4.and(class.map_or(Ok(()), |class| socket.set_tos_v4(class)));
    if address.is_ipv4() { for_v4 } else { Ok(()) }
}

#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))))]
pub(super) fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(all(unix, not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin")))))]
pub(super) fn set_reuse_port(_socket: &Socket) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "this system does not share ports"))
}

pub(super) fn backlog(asked: u32) -> i32 {
    i32::try_from(asked).unwrap_or(i32::MAX)
}

/// Whether a connect without blocking has begun rather than failed: the system says EINPROGRESS, for which
/// [`io::ErrorKind`] has no stable name, and on Windows `WSAEWOULDBLOCK`.
fn has_begun(error: &io::Error) -> bool {
    const EINPROGRESS: i32 = if cfg!(any(target_arch = "mips", target_arch = "mips64", target_os = "illumos")) {
        150
    } else if cfg!(any(target_os = "linux", target_os = "android")) {
        115
    } else {
        36
    };
    error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(EINPROGRESS)
}
