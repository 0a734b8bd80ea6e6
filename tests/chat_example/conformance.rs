//! The line client's protocol, by the conformance kit.

use std::rc::Rc;

use switchboard::Slow;
use switchboard::testkit::{Script, check_conformance};

use crate::line::Line;
use crate::rooms::{Chat as Rooms, Rules};

const RULES: Rules =
    Rules { text: 20, rooms: 2, rate: 1_000_000, notices: 10, slow: Slow::DropOldest { waiting: 1000 } };

#[test]
fn a_line_client_gets_the_same_however_its_lines_are_cut() {
    let script = Script::new()
        .expect_sent("* Welcome. /name NAME says who you are\n")
        .send("/name ann\r\n/join lobby\n/who\nhello\n")
        .expect_sent(
            "* You are ann. /join ROOM to talk, /help for more\n[lobby] * 1 here: ann\n[lobby] * 1 here: ann\n",
        )
        .send(b"/dance\n\xff\n\n/leave\nhello\n")
        .expect_sent("! no such command: /help tells which there are\n[lobby] * you have left\n! join a room first\n")
        .send([b'x'; 200])
        .expect_sent("! that line is too long\n");
    println!("{}", check_conformance(|| Line::new(&Rc::new(Rooms::new(RULES))), &script));
}
