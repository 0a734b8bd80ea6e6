//! Tokio: a task for each connection, on a runtime of one thread.

use std::future::Future;
use std::net::SocketAddr;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::runtime::Builder;

const BUFFER: usize = 64 << 10;

/// Serves each connection by the future that `serve` makes of it.
pub(crate) fn accept<F>(address: SocketAddr, serve: impl Fn(TcpStream) -> F) -> Result<()>
where
    F: Future<Output: Send> + Send + 'static,
{
    run(async {
        let listener = TcpListener::bind(address).await?;
        peers::announce(listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(serve(stream));
        }
    })
}

fn run(server: impl Future<Output = Result<()>>) -> Result<()> {
    Builder::new_current_thread().enable_all().build()?.block_on(server)
}

pub(crate) fn tcp(address: SocketAddr) -> Result<()> {
    accept(address, |mut stream| async move {
        let mut buffer = vec![0; BUFFER];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            if stream.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
    })
}

pub(crate) fn udp(address: SocketAddr) -> Result<()> {
    run(async {
        let socket = UdpSocket::bind(address).await?;
        peers::announce(socket.local_addr()?);
        let mut buffer = vec![0; BUFFER];
        loop {
            let (length, from) = socket.recv_from(&mut buffer).await?;
            socket.send_to(&buffer[..length], from).await?;
        }
    })
}
