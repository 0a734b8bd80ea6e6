//! A player's TCP connection: it joins, gets the token for its datagrams, and chats. When it ends, the player leaves.
//!
//! | line | who sends it, and why |
//! | --- | --- |
//! | `JOIN <name>` | a player comes |
//! | `WELCOME <id> <token> <port>` | its id, its token in hex, and the UDP port for its datagrams |
//! | `SAY <text>` | a player says something |
//! | `CHAT <name> <text>` | to everybody: somebody said something |
//! | `JOINED <id> <name>`, `LEFT <id>` | to everybody |
//! | `ERR <reason>` | to who got something wrong |

use std::rc::Rc;
use std::time::Duration;

use switchboard::{CloseReason, Closing, Context, Failure, Input, Message, Protocol, Slow, Time};

use crate::arena::{Arena, LINES};

/// The longest line in bytes, its line feed included.
pub(crate) const LONGEST_LINE: usize = 256;
const LONGEST_NAME: usize = 16;
/// Between two lines of chat of one player, who may save up a few.
const PAUSE: Duration = Duration::from_millis(500);
const SAVED: u32 = 4;
/// Lines that wait for a player whose connection is slow.
const WAITING: usize = 256;

pub(crate) struct Lobby {
    arena: Rc<Arena>,
    udp_port: u16,
    player: Option<(u16, String)>,
    /// When all that was said would have been allowed for.
    allowed: Time,
}

impl Lobby {
    pub(crate) fn new(arena: &Rc<Arena>, udp_port: u16) -> Self {
        Self { arena: Rc::clone(arena), udp_port, player: None, allowed: Time::ZERO }
    }

    fn on_line(&mut self, cx: &mut Context<'_>, line: &str) -> Result<(), Failure> {
        match (line.split_once(' '), &self.player) {
            (Some(("JOIN", name)), None) => self.join(cx, name),
            (Some(("SAY", text)), Some((_, name))) => {
                let chat = format!("CHAT {name} {}\n", text.replace(char::is_control, " "));
                self.say(cx, chat);
            }
            (Some(("JOIN", _)), Some(_)) => err(cx, "that was said already"),
            _ => err(cx, "expected JOIN <name>, then SAY <text>"),
        }
        Ok(())
    }

    fn join(&mut self, cx: &mut Context<'_>, name: &str) {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if !(1..=LONGEST_NAME).contains(&name.len()) || !name.bytes().all(allowed) {
            return err(cx, "a name has 1 to 16 of the characters A-Z a-z 0-9 _ -");
        }
        let (id, token) = match self.arena.join(cx, name) {
            Ok(joined) => joined,
            Err(no_entry) => return err(cx, &no_entry.to_string()),
        };
        self.player = Some((id, name.to_owned()));
        cx.send(format!("WELCOME {id} {token:016x} {}\n", self.udp_port).as_bytes());
        cx.publish(LINES, format!("JOINED {id} {name}\n"));
        if let Err(limit) = cx.subscribe(LINES, Slow::DropOldest { waiting: WAITING }) {
            err(cx, &limit.to_string());
        }
    }

    /// Tells everybody, unless this player talks too much.
    fn say(&mut self, cx: &mut Context<'_>, chat: String) {
        if self.allowed.saturating_since(cx.now()) > PAUSE * SAVED {
            return err(cx, "not so fast");
        }
        self.allowed = self.allowed.max(cx.now()) + PAUSE;
        self.arena.count(|counts| counts.lines += 1);
        cx.publish(LINES, chat);
    }
}

impl Protocol for Lobby {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.arena.turn(cx.now());
        while let Some(end) = input.iter().take(LONGEST_LINE).position(|&byte| byte == b'\n') {
            match std::str::from_utf8(input.take(end + 1)) {
                Ok(line) => self.on_line(cx, line.trim_end())?,
                Err(_) => err(cx, "a line is UTF-8"),
            }
        }
        if input.len() >= LONGEST_LINE {
            err(cx, "a line has at most 256 bytes");
            return Err(Failure::peer("an endless line"));
        }
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        self.arena.turn(cx.now());
        if let Message::Published(publication) = message {
            cx.send_shared(publication.payload().clone());
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, _: &CloseReason) {
        if let Some((id, _)) = self.player {
            self.arena.leave(cx, id);
            cx.publish(LINES, format!("LEFT {id}\n"));
        }
    }
}

fn err(cx: &mut Context<'_>, reason: &str) {
    cx.send(format!("ERR {reason}\n").as_bytes());
}
