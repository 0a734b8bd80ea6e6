//! Subscriptions and layers: they go with the protocol that made them.

use switchboard::testkit::Harness;
use switchboard::{Context, Failure, Inner, Layer, Layered, Message, Protocol, Slow};

use super::subscriber;
use crate::cipher::Cipher;
use crate::spy::{Log, Spy};

/// Subscribed to a topic itself; hands everything on.
struct Around(&'static str);

impl<P: Protocol> Layer<P> for Around {
    fn on_open(&mut self, cx: &mut Context<'_>, inner: &mut Inner<P>) -> Result<(), Failure> {
        cx.subscribe(self.0, Slow::default())?;
        inner.on_open(cx)
    }

    fn on_data(
        &mut self,
        cx: &mut Context<'_>,
        input: &mut switchboard::Input<'_>,
        inner: &mut Inner<P>,
    ) -> Result<(), Failure> {
        inner.on_data(cx, input)
    }
}

fn switching(log: &Log) -> Spy {
    let next = log.clone();
    subscriber("old", log, Slow::default()).on_data(move |cx, input| {
        input.take_all();
        cx.switch_to(Spy::new("new", &next));
        Ok(())
    })
}

#[test]
fn a_switch_ends_the_subscriptions_and_what_waits_of_them() {
    let log = Log::default();
    let mut harness = Harness::new(switching(&log));
    log.take();
    harness.core().publish("t", "1");
    harness.peer().send(b"x");
    harness.settle(); // data comes before letters in a turn
    assert_eq!(log.take(), ["old data x", "old close: another protocol took over", "new open"]);
    assert_eq!((harness.core().publish("t", "2"), harness.core().topics()), (0, 0));
    assert_eq!(harness.core().counters().publications_dropped, 1);
}

#[test]
fn a_wrap_ends_them_too_and_who_is_opened_again_subscribes_again() {
    let log = Log::default();
    let mut harness = Harness::new(subscriber("it", &log, Slow::default()));
    harness.core().publish("t", "1");
    harness.with(|cx| cx.switch_with(|inner| Box::new(Layered::new(Around("u"), inner))));
    harness.core().publish("t", "2");
    harness.settle();
    assert_eq!(log.take(), ["it open", "it open", "it heard 2"]);
    assert_eq!(harness.core().counters().publications_dropped, 1);
}

#[test]
fn a_switch_inside_leaves_the_layers_their_subscriptions() {
    let log = Log::default();
    let mut harness = Harness::new(Layered::new(Around("around"), switching(&log)));
    harness.core().publish("around", "1");
    harness.core().publish("t", "2");
    harness.settle();
    harness.feed(b"x");
    assert_eq!((harness.core().publish("around", "3"), harness.core().publish("t", "4")), (1, 0));
    harness.settle();
    let log = log.take();
    assert_eq!(log[..3], ["old open", "old heard 1", "old heard 2"]);
    assert_eq!(log[3..], ["old data x", "old close: another protocol took over", "new open", "new heard 3"]);
}

#[test]
fn a_topic_that_a_layer_and_its_inner_protocol_share_stays_the_layers() {
    let log = Log::default();
    let mut harness = Harness::new(Layered::new(Around("t"), switching(&log)));
    assert_eq!(harness.core().publish("t", "1"), 1, "the connection is the subscriber");
    harness.settle();
    harness.feed(b"x");
    assert_eq!(harness.core().publish("t", "2"), 1);
    harness.settle();
    assert!(log.take().ends_with(&["new open".into(), "new heard 2".into()]));
}

#[test]
fn publications_pass_layers_that_seal() {
    let log = Log::default();
    let spy = subscriber("it", &log, Slow::default()).on_message(|cx, message| {
        let Message::Published(publication) = message else { unreachable!() };
        cx.send_shared(publication.payload().clone());
        Ok(())
    });
    let mut harness = Harness::new(Layered::new(Cipher::default(), Layered::new(Around("u"), spy)));
    let payload = vec![b'x'; 5000];
    assert_eq!(harness.core().publish("t", payload.clone()), 1);
    harness.settle();
    let sent = harness.take_sent();
    assert!(sent.len() == payload.len() && sent != payload, "{} bytes", sent.len());
}
