//! A stream for libraries that write one frame at a time.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Writes what it was given when there is nothing left to read.
pub(crate) struct Corked {
    stream: TcpStream,
    unsent: Vec<u8>,
}

/// It is written, too, before it becomes longer than this.
const MOST: usize = 64 << 10;
/// What is as long goes past it, uncopied.
const LONG: usize = 8 << 10;

impl Corked {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, unsent: Vec::with_capacity(4 << 10) }
    }
}

impl AsyncRead for Corked {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, into);
        if result.is_pending() {
            ready!(self.poll_flush(cx))?;
        }
        result
    }
}

impl AsyncWrite for Corked {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = pieces.iter().map(|it| it.len()).sum();
        if length >= LONG || self.unsent.len() + length > MOST {
            ready!(self.as_mut().poll_flush(cx))?;
        }
        if length >= LONG {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        }
        pieces.iter().for_each(|it| self.unsent.extend_from_slice(it));
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, unsent } = self.get_mut();
        while !unsent.is_empty() {
            let count = ready!(Pin::new(&mut *stream).poll_write(cx, unsent))?;
            unsent.drain(..count);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
