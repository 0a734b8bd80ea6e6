//! Connections that post to each other, and listeners at the connection limit.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::rc::Rc;

use switchboard::{
    Bytes, CloseReason, Closing, ConnectionId, Context, EventLoop, Failure, Input, Limits, Message, Protocol,
};
use switchboard_echo::TcpEcho;

use crate::common::{assert_nothing_left, drive, finish, round_trip, tcp};

/// Everybody in a room. Callbacks never nest, so a borrow is always free.
type Room = Rc<RefCell<Vec<ConnectionId>>>;

/// Passes each line on to everybody else in the room.
struct Chat(Room);

impl Protocol for Chat {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.0.borrow_mut().push(cx.id());
        Ok(())
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            let line = Bytes::copy_from_slice(input.take(end + 1));
            let me = cx.id();
            for &id in self.0.borrow().iter().filter(|&&id| id != me) {
                let _ = cx.post(id, line.clone()); // it may be about to leave
            }
        }
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        if let Message::Bytes(line) = message {
            cx.send_shared(line);
        }
        Ok(())
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, _: &CloseReason) {
        let me = cx.id();
        self.0.borrow_mut().retain(|&id| id != me);
    }
}

#[test]
fn what_one_says_reaches_all_others_in_order() {
    const PEOPLE: usize = 20;
    const LINES: usize = 50;
    let room = Room::default();
    let mut event_loop = EventLoop::new().unwrap();
    let guests = Rc::clone(&room);
    let listener = event_loop.listen("127.0.0.1:0", move |_| Some(Chat(Rc::clone(&guests)))).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    drive(&mut event_loop, || {
        let mut people: Vec<TcpStream> = Vec::new();
        for _ in 0..PEOPLE {
            let mut newcomer = tcp(address);
            if !people.is_empty() {
                newcomer.write_all(b"hi\n").unwrap();
            }
            for earlier in &mut people {
                let mut hi = [0; 3];
                earlier.read_exact(&mut hi).unwrap();
            }
            people.push(newcomer);
        }
        for (name, person) in people.iter_mut().enumerate() {
            let said: String = (0..LINES).map(|line| format!("{name:02} says {line:02}\n")).collect();
            person.write_all(said.as_bytes()).unwrap();
        }
        for (name, person) in people.iter_mut().enumerate() {
            let mut heard = vec![0; 11 * LINES * (PEOPLE - 1)];
            person.read_exact(&mut heard).unwrap();
            let heard = String::from_utf8(heard).unwrap();
            for other in (0..PEOPLE).filter(|&other| other != name) {
                let prefix = format!("{other:02} says ");
                let lines: Vec<&str> = heard.lines().filter(|line| line.starts_with(&prefix)).collect();
                let expected: Vec<String> = (0..LINES).map(|line| format!("{prefix}{line:02}")).collect();
                assert_eq!(lines, expected);
            }
        }
        people.iter_mut().for_each(|person| drop(finish(person)));
    });
    assert_nothing_left(&mut event_loop);
    assert!(room.borrow().is_empty());
}

#[test]
fn at_the_connection_limit_peers_wait_and_all_are_served_in_the_end() {
    let mut event_loop = EventLoop::with_limits(Limits { connections: 10, ..Limits::default() }).unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    drive(&mut event_loop, || {
        let mut clients: Vec<TcpStream> = (0..100).map(|_| tcp(address)).collect();
        for client in &mut clients {
            client.write_all(b"when it is my turn").unwrap();
        }
        for client in &mut clients {
            let mut echo = [0; 18];
            client.read_exact(&mut echo).unwrap();
            assert_eq!(finish(client), b"", "and makes room for the next");
        }
        assert_eq!(round_trip(&mut tcp(address), b"and afterwards"), b"and afterwards");
    });
    assert_nothing_left(&mut event_loop);
    assert_eq!(event_loop.counters().opened, 101);
}
