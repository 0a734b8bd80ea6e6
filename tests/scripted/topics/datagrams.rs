//! Subscribers on UDP sockets.

use switchboard::testkit::{DatagramHarness, SessionHarness};
use switchboard::{Datagram, DatagramContext, DatagramProtocol, Failure, Message, Slow};

use super::subscriber;
use crate::spy::Log;
use crate::world::address;

#[test]
fn a_socket_for_datagrams_subscribes_too() {
    struct Relay(bool);
    impl DatagramProtocol for Relay {
        fn on_open(&mut self, cx: &mut DatagramContext<'_>) -> Result<(), Failure> {
            Ok(cx.subscribe("t", Slow::default())?)
        }
        fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
            cx.publish("t", datagram.payload.to_vec());
            Ok(())
        }
        fn on_message(&mut self, cx: &mut DatagramContext<'_>, message: Message) -> Result<(), Failure> {
            let Message::Published(publication) = message else { unreachable!() };
            cx.send_to(address(9), publication.payload());
            if self.0 {
                assert!(cx.unsubscribe("t"));
            }
            Ok(())
        }
    }
    let mut harness = DatagramHarness::new(Relay(false));
    harness.feed(address(1), b"hello");
    assert_eq!(harness.take_sent(), [(address(9), b"hello".to_vec())]);
    harness.protocol::<Relay>().unwrap().0 = true;
    harness.feed(address(1), b"a");
    harness.feed(address(1), b"b");
    assert_eq!(harness.take_sent(), [(address(9), b"a".to_vec())]);
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn a_session_is_a_subscriber_like_any_connection_and_gets_a_datagram_for_each() {
    let log = Log::default();
    let spy = subscriber("it", &log, Slow::default()).on_message(|cx, message| {
        let Message::Published(publication) = message else { unreachable!() };
        cx.send_shared(publication.payload().clone());
        Ok(())
    });
    let mut harness = SessionHarness::new(spy);
    let long = vec![b'x'; 2000];
    assert_eq!(harness.core().publish("t", "1"), 1);
    assert_eq!(harness.core().publish("t", long.clone()), 1);
    harness.settle();
    assert_eq!(harness.take_sent(), [b"1".to_vec(), long]);
    harness.close();
    assert!(harness.has_closed());
    assert_eq!((harness.core().topics(), harness.core().held_bytes()), (0, 0));
}

#[test]
fn a_socket_that_closes_ends_its_subscriptions() {
    struct Quiet;
    impl DatagramProtocol for Quiet {
        fn on_open(&mut self, cx: &mut DatagramContext<'_>) -> Result<(), Failure> {
            Ok(cx.subscribe("t", Slow::Close { waiting: 2 })?)
        }
        fn on_datagram(&mut self, _: &mut DatagramContext<'_>, _: Datagram<'_>) -> Result<(), Failure> {
            Ok(())
        }
    }
    let mut harness = DatagramHarness::new(Quiet);
    for expected in [1, 1, 0] {
        assert_eq!(harness.core().publish("t", "x"), expected);
    }
    harness.with(|_| ());
    harness.advance(std::time::Duration::ZERO);
    assert_eq!(
        harness.close_reason().unwrap().to_string(),
        "a limit was hit: slow subscriber: 2 publications of a topic \
        wait, and there is no room for another"
    );
    assert_eq!((harness.core().topics(), harness.core().held_bytes()), (0, 0));
}
