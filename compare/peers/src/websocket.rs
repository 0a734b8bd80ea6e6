//! WebSocket libraries on Tokio. All but tokio-tungstenite and tokio-websockets, which bring theirs, have the same
//! small handshake in front of them, so that no HTTP library weighs on what is measured.

use std::net::SocketAddr;

use anyhow::Result;
use bytes::BytesMut;
use futures_util::future::poll_immediate;
use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter};
use tokio::net::TcpStream;

use crate::corked::Corked;
use crate::tokio_sockets::accept as serve;

const DEFLATE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
/// Bytes of a message, at most: none of the libraries is to refuse what is measured.
const LONGEST: usize = 64 << 20;

async fn upgrade(stream: &mut TcpStream, extensions: Option<&str>) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    stream.write_all(peers::accept(&request, extensions)?.as_bytes()).await.ok()
}

/// Gives the messages back that `is_data` says yes to: all that are there already, then one flush.
async fn echo<S, M, E>(mut socket: S, is_data: impl Fn(&M) -> bool)
where
    S: Stream<Item = Result<M, E>> + Sink<M> + Unpin,
{
    while let Some(Ok(message)) = socket.next().await {
        let mut current = Some(message);
        while let Some(message) = current {
            if is_data(&message) && socket.feed(message).await.is_err() {
                return;
            }
            current = match poll_immediate(socket.next()).await {
                None => None,
                Some(Some(Ok(message))) => Some(message),
                Some(_) => return,
            };
        }
        if socket.flush().await.is_err() {
            return;
        }
    }
}

/// As [`echo`], for a library that flushes when it is asked for a message: all that are there, up to a bound, are taken
/// first.
async fn echo_by_batches<S, M, E>(mut socket: S, is_data: impl Fn(&M) -> bool)
where
    S: Stream<Item = Result<M, E>> + Sink<M> + Unpin,
{
    const MOST: usize = 64;
    let mut messages = Vec::with_capacity(MOST);
    while let Some(Ok(message)) = socket.next().await {
        messages.push(message);
        while messages.len() < MOST
            && let Some(next) = poll_immediate(socket.next()).await
        {
            let Some(Ok(message)) = next else { return };
            messages.push(message);
        }
        for message in messages.drain(..) {
            if is_data(&message) && socket.feed(message).await.is_err() {
                return;
            }
        }
        if socket.flush().await.is_err() {
            return;
        }
    }
}

/// It writes each frame to its stream at once: the stream is what puts them together.
pub(crate) fn fastwebsockets(address: SocketAddr) -> Result<()> {
    use fastwebsockets::{FragmentCollector, OpCode, Role, WebSocket};
    serve(address, |mut stream| async move {
        upgrade(&mut stream, None).await?;
        let mut socket = WebSocket::after_handshake(Corked::new(stream), Role::Server);
        socket.set_max_message_size(LONGEST);
        let mut socket = FragmentCollector::new(socket);
        loop {
            let frame = socket.read_frame().await.ok()?;
            match frame.opcode {
                OpCode::Close => return Some(()),
                OpCode::Text | OpCode::Binary => socket.write_frame(frame).await.ok()?,
                _ => {}
            }
        }
    })
}

fn is_sockudo_data(message: &sockudo_ws::Message) -> bool {
    matches!(message, sockudo_ws::Message::Text(_) | sockudo_ws::Message::Binary(_))
}

pub(crate) fn sockudo(address: SocketAddr) -> Result<()> {
    use sockudo_ws::{Config, WebSocketStream};
    serve(address, |mut stream| async move {
        upgrade(&mut stream, None).await?;
        echo(WebSocketStream::server(stream, Config::default()), is_sockudo_data).await;
        Some(())
    })
}

pub(crate) fn sockudo_deflate(address: SocketAddr) -> Result<()> {
    use sockudo_ws::{CompressedWebSocketStream, Config, deflate::DeflateConfig};
    serve(address, |mut stream| async move {
        upgrade(&mut stream, Some(DEFLATE)).await?;
        let deflate = DeflateConfig {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            compression_level: 1,
            ..DeflateConfig::default()
        };
        echo(CompressedWebSocketStream::server(stream, Config::default(), deflate), is_sockudo_data).await;
        Some(())
    })
}

/// Its protocol alone, as in its fastest example (no check of UTF-8), but with one write for all that was read.
pub(crate) fn sockudo_raw(address: SocketAddr) -> Result<()> {
    use sockudo_ws::frame::encode_frame_header;
    use sockudo_ws::{Config, OpCode, RECV_BUFFER_SIZE, RawMessage, Role, protocol::Protocol};
    serve(address, |mut stream| async move {
        upgrade(&mut stream, None).await?;
        let config = Config::default();
        let mut protocol = Protocol::new(Role::Server, config.max_frame_size, config.max_message_size);
        let (mut input, mut output) =
            (BytesMut::with_capacity(RECV_BUFFER_SIZE), BytesMut::with_capacity(RECV_BUFFER_SIZE));
        let mut messages = Vec::new();
        while stream.read_buf(&mut input).await.ok()? > 0 {
            protocol.process_raw_into(&mut input, &mut messages).ok()?;
            for message in messages.drain(..) {
                let (opcode, payload) = match message {
                    RawMessage::Text(payload) => (OpCode::Text, payload),
                    RawMessage::Binary(payload) => (OpCode::Binary, payload),
                    RawMessage::Close(_) => return None,
                    _ => continue,
                };
                encode_frame_header(&mut output, opcode, payload.len(), true, None);
                output.extend_from_slice(&payload);
            }
            stream.write_all(&output).await.ok()?;
            output.clear();
        }
        Some(())
    })
}

pub(crate) fn tokio_tungstenite(address: SocketAddr) -> Result<()> {
    serve(address, |stream| async move {
        let socket = tokio_tungstenite::accept_async(stream).await.ok()?;
        echo(socket, |message| message.is_text() || message.is_binary()).await;
        Some(())
    })
}

pub(crate) fn tokio_websockets(address: SocketAddr) -> Result<()> {
    use tokio_websockets::{Config, Limits, ServerBuilder};
    serve(address, |stream| async move {
        let config = Config::default().frame_size(usize::MAX); // a reply is one frame, as the message was
        let builder = ServerBuilder::new().config(config).limits(Limits::unlimited());
        let (_, socket) = builder.accept(stream).await.ok()?;
        echo_by_batches(socket, |message| message.is_text() || message.is_binary()).await;
        Some(())
    })
}

/// It reads byte by byte and writes at once, so it has buffers around its stream; they are flushed once nothing is left
/// to read. It leaves the check of UTF-8 to its user.
pub(crate) fn web_socket(address: SocketAddr) -> Result<()> {
    use web_socket::{DataType, Event, MessageType, WebSocket};
    const BUFFER: usize = 16 << 10;
    serve(address, |mut stream| async move {
        upgrade(&mut stream, None).await?;
        let stream = BufReader::with_capacity(BUFFER, BufWriter::with_capacity(BUFFER, stream));
        let mut socket = WebSocket::server(stream);
        loop {
            match socket.recv().await.ok()? {
                Event::Data { ty: DataType::Complete(MessageType::Text), data } => {
                    socket.send(simdutf8::basic::from_utf8(&data).ok()?).await.ok()?;
                }
                Event::Data { ty: DataType::Complete(MessageType::Binary), data } => {
                    socket.send(&data[..]).await.ok()?;
                }
                Event::Close { .. } | Event::Error(_) => return Some(()),
                _ => {}
            }
            if socket.stream.buffer().is_empty() {
                socket.flash().await.ok()?;
            }
        }
    })
}

pub(crate) fn yawc(address: SocketAddr, deflate: bool) -> Result<()> {
    use yawc::{CompressionLevel, OpCode, Options, Role, WebSocket};
    serve(address, move |mut stream| async move {
        let extensions = deflate.then_some(DEFLATE);
        upgrade(&mut stream, extensions).await?;
        let mut options = Options::default().with_utf8().with_limits(LONGEST, LONGEST);
        if deflate {
            options = options.with_compression_level(CompressionLevel::fast());
            options = options.server_no_context_takeover().client_no_context_takeover();
        }
        let socket = WebSocket::from_stream_with_extensions(stream, Role::Server, extensions, options).ok()?;
        let is_data = |frame: &yawc::Frame| matches!(frame.opcode(), OpCode::Text | OpCode::Binary);
        echo(socket.map(Ok::<_, ()>), is_data).await;
        Some(())
    })
}
