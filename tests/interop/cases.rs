//! The cases, which all sides read from one file.

use serde::Deserialize;
use serde_json::Value;
use switchboard::Failure;
use switchboard_websocket::Peer;

/// A code and a reason; in expectations `None` stands for any.
pub(crate) type End = (Option<u16>, Option<String>);

/// One connection.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// What the client, the server and what lies between them must be able to do.
    #[serde(default)]
    pub(crate) needs: Vec<String>,
    path: Option<String>,
    /// Subprotocols.
    #[serde(default)]
    pub(crate) offer: Vec<String>,
    /// The one that the server chooses.
    pub(crate) subprotocol: Option<String>,
    /// The status with which the server refuses.
    pub(crate) status: Option<u16>,
    /// What the server is told to do, in the first message.
    pub(crate) command: Option<Value>,
    /// The text that answers it.
    pub(crate) answer: Option<String>,
    /// The payload of a ping of the client's.
    pub(crate) ping: Option<String>,
    /// Milliseconds of silence before the messages.
    pub(crate) idle: Option<u64>,
    /// What is sent and comes back.
    #[serde(default)]
    messages: Vec<Spec>,
    /// The client does not wait for one to come back before it sends the next.
    #[serde(default)]
    pub(crate) pipelined: bool,
    #[serde(default)]
    pub(crate) fragmented: bool,
    /// Where there is compression, it shows on the wire.
    #[serde(default)]
    pub(crate) compressible: bool,
    /// How the client closes, after all that; null if it does not.
    #[serde(default = "done")]
    pub(crate) close: Option<End>,
    /// How it ends, as the client is told; by default with the code that it has sent, and with any reason, which the server
    /// need not repeat.
    closed: Option<End>,
    /// The same as the server is told; by default what the client has sent.
    seen: Option<End>,
}

#[allow(clippy::unnecessary_wraps, reason = "a default of serde's has the field's type")]
fn done() -> Option<End> {
    Some((Some(1000), Some("done".to_owned())))
}

impl Case {
    pub(crate) fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("cases.json")).expect("cases.json")
    }

    pub(crate) fn path(&self) -> &str {
        if self.command.is_some() { "/command" } else { self.path.as_deref().unwrap_or("/echo") }
    }

    pub(crate) fn messages(&self) -> impl DoubleEndedIterator<Item = Message> {
        self.messages.iter().flat_map(|spec| std::iter::repeat_n(spec.made(), spec.times.unwrap_or(1)))
    }

    pub(crate) fn closed(&self) -> End {
        self.closed.clone().unwrap_or_else(|| (self.close.as_ref().and_then(|end| end.0), None))
    }

    pub(crate) fn seen(&self) -> End {
        self.seen.clone().or_else(|| self.close.clone()).unwrap_or_else(|| (self.closed().0, None))
    }
}

/// Whether what was told is as expected.
pub(crate) fn agrees((code, reason): (u16, &str), expected: &End) -> bool {
    expected.0.is_none_or(|expected| expected == code)
        && expected.1.as_deref().is_none_or(|expected| expected == reason)
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Text(String),
    Binary(Vec<u8>),
}

impl Message {
    /// Sends it, whole or in three frames with a ping between them.
    pub(crate) fn send(&self, peer: &mut Peer<'_, '_>, fragmented: bool) -> Result<(), Failure> {
        let message = match self {
            Self::Text(text) => switchboard_websocket::Message::Text(text),
            Self::Binary(bytes) => switchboard_websocket::Message::Binary(bytes),
        };
        if !fragmented {
            peer.send(message);
            return Ok(());
        }
        for (index, piece) in thirds(message).into_iter().enumerate() {
            peer.send_piece(piece, index == 2)?;
            if index == 0 {
                peer.ping(b"between")?;
            }
        }
        Ok(())
    }
}

impl From<switchboard_websocket::Message<'_>> for Message {
    fn from(message: switchboard_websocket::Message<'_>) -> Self {
        match message {
            switchboard_websocket::Message::Text(text) => Self::Text(text.to_owned()),
            switchboard_websocket::Message::Binary(bytes) => Self::Binary(bytes.to_owned()),
        }
    }
}

/// Text is cut between characters.
fn thirds(message: switchboard_websocket::Message<'_>) -> [switchboard_websocket::Message<'_>; 3] {
    use switchboard_websocket::Message::{Binary, Text};
    let third = message.as_bytes().len() / 3;
    match message {
        Text(text) => {
            let (first, rest) = text.split_at(text.floor_char_boundary(third));
            let (second, last) = rest.split_at(rest.floor_char_boundary(third));
            [Text(first), Text(second), Text(last)]
        }
        Binary(bytes) => {
            let (first, rest) = bytes.split_at(third);
            let (second, last) = rest.split_at(third);
            [Binary(first), Binary(second), Binary(last)]
        }
    }
}

/// One as a case describes it: text as it stands or of so many bytes, binary with a pattern or without.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Spec {
    text: Option<TextSpec>,
    binary: Option<usize>,
    random: Option<usize>,
    times: Option<usize>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum TextSpec {
    Bytes(usize),
    Text(String),
}

impl Spec {
    pub(crate) fn made(&self) -> Message {
        const PHRASE: &str = "añ€𝄞"; // ten bytes
        match (&self.text, self.binary, self.random) {
            (Some(TextSpec::Text(text)), ..) => Message::Text(text.clone()),
            (Some(TextSpec::Bytes(bytes)), ..) => {
                Message::Text(PHRASE.repeat(bytes / PHRASE.len()) + &"x".repeat(bytes % PHRASE.len()))
            }
            (_, Some(bytes), _) => Message::Binary((0..=250).cycle().take(bytes).collect()),
            (_, _, bytes) => {
                let mut state = 1_u32;
                let mut next = || {
                    state = state.wrapping_mul(1_103_515_245).wrapping_add(12345);
                    state.to_be_bytes()[0]
                };
                Message::Binary((0..bytes.unwrap_or(0)).map(|_| next()).collect())
            }
        }
    }
}
