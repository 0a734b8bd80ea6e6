//! What members ask and are told.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest name of a member or a room, in characters.
const NAME: usize = 24;

/// What a member asks. Browsers send it as JSON: `{"do":"say","room":"lobby","text":"hello"}`.
#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum Ask {
    Name { name: String },
    Join { room: String },
    Leave { room: String },
    Who { room: String },
    Say { room: String, text: String },
}

/// What members are told: JSON for browsers, and as [`Display`](fmt::Display) shows it, a line for `nc`.
#[derive(Serialize)]
#[serde(tag = "is", rename_all = "lowercase")]
pub(crate) enum Told<'a> {
    Welcome { name: &'a str },
    Room { room: &'a str, count: usize, names: Vec<&'a str> },
    Parted { room: &'a str },
    Joined { room: &'a str, name: &'a str, count: usize },
    Left { room: &'a str, name: &'a str, count: usize },
    Message { room: &'a str, number: u64, name: &'a str, text: &'a str },
    Error { text: &'a str },
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Welcome { name } => write!(f, "* You are {name}. /join ROOM to talk, /help for more"),
            Self::Room { room, count, names } => write!(f, "[{room}] * {count} here: {}", names.join(", ")),
            Self::Parted { room } => write!(f, "[{room}] * you have left"),
            Self::Joined { room, name, count } => write!(f, "[{room}] * {name} has joined, {count} here"),
            Self::Left { room, name, count } => write!(f, "[{room}] * {name} has left, {count} here"),
            Self::Message { room, name, text, .. } => write!(f, "[{room}] {name}: {text}"),
            Self::Error { text } => write!(f, "! {text}"),
        }
    }
}

/// A name that nobody can take for another line, for another room's topic or for a command.
pub(crate) fn checked(name: &str) -> Result<&str, Cow<'static, str>> {
    let length = name.chars().count();
    if (1..=NAME).contains(&length) && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.')) {
        return Ok(name);
    }
    Err(format!("a name has 1 to {NAME} letters, digits, '-', '_' or '.'").into())
}

/// The text without what would move a terminal's cursor or turn the rest of a line around.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let harms = |c: char| c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if text.contains(harms) { text.replace(harms, " ").into() } else { text.into() }
}
