//! Members with `nc`: a line is a command, or said in the room joined last.

use std::borrow::Cow;
use std::rc::Rc;

use switchboard::{
    CloseReason, Closing, Context, Core, Failure, Input, LimitExceeded, Message, Protocol, Slow, TimerId,
};

use crate::rooms::{Chat, Form, Member, Seat};
use crate::words::{Ask, Told};

const HELP: &str = "* /name NAME, /join ROOM, /leave [ROOM], /who [ROOM], /quit; anything else is said\n";

/// A member that speaks lines.
pub(crate) struct Line {
    member: Member,
    /// Bytes of the longest line.
    longest: usize,
}

impl Line {
    pub(crate) fn new(chat: &Rc<Chat>) -> Self {
        Self { member: Member::new(chat), longest: 4 * chat.rules().text + 64 }
    }

    /// What a line asks; the error says why it asks nothing.
    fn parse(&self, line: &str) -> Result<Ask, Cow<'static, str>> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let room = || match (rest.trim(), self.member.room()) {
            ("", None) => Err("which room?"),
            ("", Some(room)) => Ok(room.to_owned()),
            (room, _) => Ok(room.to_owned()),
        };
        Ok(match word {
            "/name" => Ask::Name { name: rest.trim().to_owned() },
            "/join" => Ask::Join { room: rest.trim().to_owned() },
            "/leave" => Ask::Leave { room: room()? },
            "/who" => Ask::Who { room: room()? },
            _ if word.starts_with('/') => return Err("no such command: /help tells which there are".into()),
            _ => Ask::Say { room: self.member.room().ok_or("join a room first")?.to_owned(), text: line.to_owned() },
        })
    }

    /// Does as a line says. False if no more is to be read for now.
    fn on_line(&mut self, cx: &mut Context<'_>, line: &[u8]) -> bool {
        match String::from_utf8_lossy(line).trim_end_matches('\r') {
            "" => {}
            "/help" => cx.send(HELP.as_bytes()),
            "/quit" => {
                cx.close();
                return false;
            }
            line => {
                if let Some(wait) = self.member.ask(cx, self.parse(line)) {
                    cx.pause_reading();
                    cx.set_timer(wait);
                    return false;
                }
            }
        }
        true
    }
}

impl Protocol for Line {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.send(b"* Welcome. /name NAME says who you are\n");
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while let Some(end) = input.iter().take(self.longest).position(|&byte| byte == b'\n') {
            let line = input.take(end + 1);
            if !self.on_line(cx, &line[..end]) {
                return Ok(());
            }
        }
        if input.len() >= self.longest {
            cx.tell(&Told::Error { text: "that line is too long" });
            return Err(Failure::peer(format!("a line of more than {} bytes", self.longest)));
        }
        Ok(())
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        self.on_line(cx, rest.take_all()); // the last one may lack its end
        cx.close();
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        // What it said itself stands on its terminal already.
        if let Message::Published(publication) = message
            && publication.key() != Some(self.member.number())
        {
            cx.send_shared(publication.payload().clone());
        }
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        cx.resume_reading();
        Ok(())
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.send(b"* The server stops. Goodbye\n");
        cx.close();
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, _: &CloseReason) {
        self.member.end(cx);
    }
}

impl Seat for Context<'_> {
    const FORM: Form = Form::Line;

    fn core(&mut self) -> &mut Core {
        self
    }

    fn subscribe(&mut self, topic: &str, slow: Slow) -> Result<(), LimitExceeded> {
        Context::subscribe(self, topic, slow)
    }

    fn unsubscribe(&mut self, topic: &str) -> bool {
        Context::unsubscribe(self, topic)
    }

    fn tell(&mut self, told: &Told<'_>) {
        self.send(format!("{told}\n").as_bytes());
    }
}
