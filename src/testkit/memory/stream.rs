//! A connection on the network in memory, as the loop uses it.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;

use super::{Shared, StreamState};
use crate::driver::Stream;

/// A connection of the [`MemoryDriver`](super::MemoryDriver).
pub struct MemoryStream {
    pub(super) state: Shared,
    pub(super) index: usize,
    pub(super) short_means_drained: bool,
}

impl MemoryStream {
    /// A scripted size cuts an operation short. The rest comes later, with an edge of its own; so
    /// does readiness after a scripted `WouldBlock`.
    fn cut(&self, sizes: fn(&mut StreamState) -> &mut VecDeque<usize>, len: usize) -> io::Result<usize> {
        let mut state = self.state.borrow_mut();
        if let Some(left) = state.streams[self.index].interrupts.checked_sub(1) {
            state.streams[self.index].interrupts = left;
            return Err(io::ErrorKind::Interrupted.into());
        }
        let Some(size) = sizes(&mut state.streams[self.index]).pop_front() else { return Ok(len) };
        if size < len && (size == 0 || self.short_means_drained) {
            state.raise_stream(self.index);
        }
        if size == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(len.min(size)) }
    }
}

impl MemoryStream {
    fn address(&self, of: fn(&StreamState) -> SocketAddr) -> io::Result<SocketAddr> {
        let stream = &self.state.borrow().streams[self.index];
        if stream.path.is_some() { Err(io::ErrorKind::Unsupported.into()) } else { Ok(of(stream)) }
    }
}

impl Stream for MemoryStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_vectored(&mut [IoSliceMut::new(buffer)])
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.state.borrow_mut().streams[self.index].reads += 1;
        let available = self.state.borrow().streams[self.index].inbound.len();
        let count = available.min(buffers.iter().map(|buffer| buffer.len()).sum());
        if count > 0 {
            let count = self.cut(|stream| &mut stream.read_sizes, count)?;
            let inbound = &mut self.state.borrow_mut().streams[self.index].inbound;
            let mut left = count;
            for buffer in buffers {
                let piece = left.min(buffer.len());
                io::Read::read_exact(inbound, &mut buffer[..piece])?;
                left -= piece;
            }
            return Ok(count);
        }
        let stream = &self.state.borrow().streams[self.index];
        match stream.broken {
            Some(kind) => Err(kind.into()),
            None if stream.eof => Ok(0),
            None => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let asked = pieces.iter().map(|piece| piece.len()).sum::<usize>();
        {
            let stream = &mut self.state.borrow_mut().streams[self.index];
            stream.writes += 1;
            if let Some(kind) = stream.broken {
                return Err(kind.into());
            }
            if stream.write_shut {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if stream.window == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        let count = self.cut(|stream| &mut stream.write_sizes, asked)?;
        let stream = &mut self.state.borrow_mut().streams[self.index];
        let count = count.min(stream.window);
        stream.window -= count;
        if let Some(discarded) = &mut stream.discarded {
            *discarded += count as u64;
            return Ok(count);
        }
        let mut left = count;
        for piece in pieces {
            let taken = left.min(piece.len());
            stream.outbound.extend_from_slice(&piece[..taken]);
            left -= taken;
        }
        Ok(count)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let stream = &mut self.state.borrow_mut().streams[self.index];
        if stream.broken.is_some() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        stream.write_shut = true;
        Ok(())
    }

    fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        Ok(self.state.borrow().streams[self.index].broken.map(io::Error::from))
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.address(|stream| stream.peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.address(|stream| stream.local)
    }
}
