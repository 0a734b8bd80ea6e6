//! Unix stream sockets, and what is to be known of their files.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use mio::net::{TcpStream, UnixListener};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::options::{backlog, set_buffers};
use crate::{ConnectOptions, UnixListenOptions};

/// A listener's file: removed with it, unless another has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// The device and the number of the file; `None` for a name that is none (Linux' abstract ones).
    identity: Option<(u64, u64)>,
}

impl SocketFile {
    fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), identity: fs::symlink_metadata(path).ok().as_ref().map(identity) }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let present = fs::symlink_metadata(&self.path).ok().as_ref().map(identity);
        if present.is_some() && present == self.identity {
            let _ = fs::remove_file(&self.path); // whoever removed it meanwhile has done it
        }
    }
}

fn identity(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

/// A socket that listens, and its file.
pub(super) fn listen(path: &Path, options: &UnixListenOptions) -> io::Result<(UnixListener, SocketFile)> {
    if path.as_os_str().is_empty() {
        // Linux would find a name for it that nobody knows.
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path of a socket must not be empty"));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let address = SockAddr::unix(path)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_stale(path) => {
            fs::remove_file(path)?;
            socket.bind(&address)?;
        }
        result => result?,
    }
    let file = SocketFile::of(path); // from here on removed if something fails
    if let Some(mode) = options.mode {
        // Nobody can connect before it listens.
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(backlog(options.backlog))?;
    Ok((UnixListener::from_std(OwnedFd::from(socket).into()), file))
}

/// Whether a path is the file of a socket that is closed. A datagram socket is used to ask, so that a listener that is
/// there does not hear of it: POSIX has `EPROTOTYPE` for that, and `ECONNREFUSED` only where nobody is bound.
fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    is_socket && UnixDatagram::unbound().and_then(|socket| socket.connect(path)).is_err_and(refused)
}

/// A stream that is connected, or will be at once.
pub(super) fn connect(path: &Path, options: &ConnectOptions) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    set_buffers(&SockRef::from(&socket), options.stream.send_buffer_size, options.stream.receive_buffer_size)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(stream(OwnedFd::from(socket)))
}

/// A Unix stream goes by the type of TCP's: reading, writing, shutting down and closing are the same calls, and what
/// differs (its addresses, TCP's options) is not asked of it. So neither costs the other anything.
pub(super) fn stream(socket: impl Into<OwnedFd>) -> TcpStream {
    TcpStream::from(socket.into())
}
