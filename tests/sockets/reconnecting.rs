//! Clients that connect again by themselves, to peers in real time.

use std::io::Write;
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::Duration;

use switchboard::{Backoff, CloseReason, EventLoop, Reconnect, protocol_fn};

use crate::common::{assert_nothing_left, drive, read_to_end, tcp, turn_until};

/// As fast as may be, for a peer that is here.
fn soon() -> Backoff {
    Backoff { first: Duration::from_millis(5), most: Duration::from_millis(20), ..Backoff::default() }
}

#[test]
fn it_comes_again_until_it_is_stopped() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut event_loop = EventLoop::new().unwrap();
    let (sender, said) = mpsc::channel();
    let client = Reconnect::new(listener.local_addr().unwrap(), move |_| {
        let sender = sender.clone();
        protocol_fn(move |_, input| {
            sender.send(input.take_all().to_vec())?;
            Ok(())
        })
    })
    .backoff(soon())
    .start(event_loop.core());
    let handle = event_loop.handle();
    drive(&mut event_loop, move || {
        for round in 0..6_u8 {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&[round]).unwrap();
            assert_eq!(said.recv().unwrap(), [round]);
            if round == 5 {
                handle.run(move |core| client.stop(core)).unwrap();
                assert_eq!(read_to_end(&mut stream), b"", "closed in order");
            }
        }
    });
    assert_nothing_left(&mut event_loop);
    assert_eq!(event_loop.counters().opened, 6);
}

#[test]
fn where_nobody_listens_it_goes_to_the_next_address() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(); // and closed again
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(switchboard_echo::TcpEcho)).unwrap();
    let somebody = event_loop.local_addr(listener).unwrap();
    let client = Reconnect::new(nobody, |_| protocol_fn(|_, _| Ok(())))
        .or_to(somebody)
        .backoff(soon())
        .decide(|ended| {
            assert!(matches!(ended.reason, CloseReason::Connect(_)), "{}", ended.reason);
            switchboard::Retry::of(ended.reason)
        })
        .start(event_loop.core());
    turn_until(&mut event_loop, "the second address answers", |event_loop| client.is_connected(event_loop.core()));
    drive(&mut event_loop, || drop(tcp(somebody)));
    client.stop(event_loop.core());
    assert_nothing_left(&mut event_loop);
}
