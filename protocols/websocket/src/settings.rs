//! Every limit and timing of a WebSocket, in one place. All are finite by default.

use std::time::Duration;

use switchboard::Limits;
use switchboard_heartbeat::Config as Heartbeat;

use crate::deflate::{Compression, Inflater};
use crate::error::UsageError;
use crate::frame::MAX_HEADER;
use crate::handshake::OriginPolicy;

/// What a WebSocket connection may hold and for how long. Shared by the connections that have the same, behind an `Rc`.
///
/// ```
/// use std::rc::Rc;
/// use switchboard_websocket::{Settings, WebSocket, message_fn};
///
/// let settings = Rc::new(Settings { max_message: 64 * 1024, ..Settings::default() });
/// let factory = move || WebSocket::with_settings(message_fn(|peer, message| {
///     peer.send(message);
///     Ok(())
/// }), &settings);
/// # let _ = factory();
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of a message, however many fragments it comes in. A longer one is refused with close code 1009 as soon as
    /// the header says so. Default 16 MiB. The loop's [`Limits`] must have room for it: see [`check`](Self::check).
    pub max_message: usize,
    /// Fragments of a message. They cost no memory here, only time; refused with close code 1009. Default 131,072.
    pub max_fragments: u32,
    /// The same as `max_message` for messages that are handed on [in pieces](crate::Handler::on_piece), of which no more
    /// is held than a read brings. Default 1 GiB.
    pub max_streamed: u64,
    /// The same as `max_fragments` for those. Default 1,048,576.
    pub max_streamed_fragments: u32,
    /// How long a message that is put together may take to arrive, from when it is first waited for, or reading
    /// [goes on](crate::Peer::resume_reading); `None` for ever. Refused with close code 1008; if the peer is not read just
    /// then, its time begins anew. Of a message in pieces nothing is held; its handler may set a timer of its own. Default
    /// 5 min.
    pub message_timeout: Option<Duration>,
    /// Bytes of the opening request, its empty line included, which is refused with status 431, or 414 if its first line
    /// alone has more; or, on a client, of the head of its answer. Default 16 KiB.
    pub max_handshake: usize,
    /// Header fields of the opening request, which is refused with status 431; or, on a client, of its answer.
    /// Default 100.
    pub max_headers: usize,
    /// Client only: bytes that are kept of the body of an answer that refuses. Default 4 KiB.
    pub max_refusal: usize,
    /// How long the opening request may take to arrive, which is refused with status 408 then; or, on a client, its
    /// answer. Default 10 s.
    pub handshake_timeout: Duration,
    /// How long the peer may take to answer a close frame, once the system has taken it, and how long a client waits for
    /// the server to end the connection after both. Default 5 s.
    pub close_timeout: Duration,
    /// How often a ping is sent and how long the peer may be silent; `None` for never and for ever. Default 30 s and
    /// 60 s.
    pub heartbeat: Option<Heartbeat>,
    /// How messages are compressed with peers that can do that (permessage-deflate, RFC 7692); `None` for not at all.
    /// Default `None`: it costs memory, and may give secrets away ([`deflate`](crate::deflate#why-it-is-not-on-by-default)).
    pub compression: Option<Compression>,
    /// Server only: which pages may open a WebSocket; others get status 403. Default any.
    pub origins: OriginPolicy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_message: 16 * 1024 * 1024,
            max_fragments: 128 * 1024,
            max_streamed: 1024 * 1024 * 1024,
            max_streamed_fragments: 1024 * 1024,
            message_timeout: Some(Duration::from_secs(300)),
            max_handshake: 16 * 1024,
            max_headers: 100,
            max_refusal: 4 * 1024,
            handshake_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            heartbeat: Heartbeat::new(Duration::from_secs(30), Duration::from_secs(60)).ok(),
            compression: None,
            origins: OriginPolicy::any(),
        }
    }
}

impl Settings {
    /// Whether a loop with these limits can carry such messages. Asked when a connection opens.
    ///
    /// # Errors
    /// [`UsageError::Limits`], which names the two that contradict each other: a message being put together must fit
    /// into `loop_memory`, the opening request into `receive_buffer`, and a message that is sent back into
    /// `send_buffer`, on top of what may wait there before reading stops (`high_water`).
    pub fn check(&self, limits: &Limits) -> Result<(), UsageError> {
        let echoed = self.max_message.saturating_add(limits.high_water).saturating_add(MAX_HEADER);
        let decompressor = if self.compression.is_some() { Inflater::MOST_MEMORY } else { 0 };
        let received = self.max_message.saturating_add(decompressor);
        for (setting, value, limit, needed, actual) in [
            ("max_message", self.max_message, "send_buffer", echoed, limits.send_buffer),
            ("max_message", self.max_message, "loop_memory", received, limits.loop_memory),
            ("max_handshake", self.max_handshake, "receive_buffer", self.max_handshake, limits.receive_buffer),
        ] {
            if actual < needed {
                return Err(UsageError::Limits { setting, value, limit, needed, actual });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_fit_the_defaults_of_the_loop() {
        assert_eq!(Settings::default().check(&Limits::default()), Ok(()));
        assert!(Settings::default().heartbeat.is_some());
    }

    #[test]
    fn both_settings_are_named() {
        let settings = Settings { max_message: 64 << 20, ..Settings::default() };
        let error = settings.check(&Limits::default()).unwrap_err().to_string();
        assert!(error.contains("Settings::max_message (67108864)"), "{error}");
        assert!(error.contains("Limits::send_buffer (17825792)"), "{error}");
        assert!(error.contains("at least 67371022"), "{error}");

        let limits = Limits { loop_memory: 1 << 20, ..Limits::default() };
        let error = Settings::default().check(&limits).unwrap_err().to_string();
        assert!(error.contains("max_message") && error.contains("loop_memory"), "{error}");
        let limits = Limits { receive_buffer: 1 << 10, ..Limits::default() };
        let error = Settings::default().check(&limits).unwrap_err().to_string();
        assert!(error.contains("max_handshake") && error.contains("receive_buffer"), "{error}");
    }
}
