//! The loop's handle, from other threads.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use switchboard::{
    ConnectionId, Context, Core, EventLoop, Failure, Handle, Input, Limits, LoopEnded, Message, Protocol, Undelivered,
};
use switchboard_echo::TcpEcho;

use crate::common::{PATIENCE, turn_until};

/// Tells a channel of every message.
struct Collector(Sender<(usize, usize)>);

impl Protocol for Collector {
    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take_all();
        Ok(())
    }

    fn on_message(&mut self, _: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        self.0.send(message.downcast().expect("a thread and a number")).unwrap();
        Ok(())
    }
}

/// A loop with a connection that collects what is posted to it.
fn collector(limits: Limits) -> (EventLoop, ConnectionId, Receiver<(usize, usize)>) {
    let mut event_loop = EventLoop::with_limits(limits).unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let (sender, messages) = mpsc::channel();
    let id = event_loop.connect(address, Collector(sender));
    turn_until(&mut event_loop, "it stands", |it| it.counters().opened == 2);
    (event_loop, id, messages)
}

/// Posts until the loop takes it.
fn post(handle: &Handle, to: ConnectionId, value: (usize, usize)) {
    let mut message = Message::user(value);
    while let Err(refused) = handle.post(to, message) {
        assert!(matches!(refused, Undelivered::Full(_)));
        message = refused.into_inner();
        thread::yield_now();
    }
}

#[test]
fn forty_thousand_posts_of_four_threads_all_arrive_in_order() {
    const THREADS: usize = 4;
    const POSTS: usize = 10_000;
    let limits = Limits { mailbox: THREADS * POSTS, handle_queue: 1000, ..Limits::default() };
    let (mut event_loop, id, messages) = collector(limits);
    let (mut next, mut total) = ([0; THREADS], 0);
    thread::scope(|scope| {
        for name in 0..THREADS {
            let handle = event_loop.handle();
            scope.spawn(move || (0..POSTS).for_each(|number| post(&handle, id, (name, number))));
        }
        turn_until(&mut event_loop, "all arrive", |_| {
            for (name, number) in messages.try_iter() {
                assert_eq!(number, next[name], "of thread {name}");
                next[name] += 1;
                total += 1;
            }
            total == THREADS * POSTS
        });
    });
    assert_eq!(next, [POSTS; THREADS]);
    assert_eq!(event_loop.counters().messages_undelivered, 0);
}

#[test]
fn a_burst_longer_than_the_mailbox_arrives_or_is_counted() {
    let (mut event_loop, id, messages) = collector(Limits::default());
    let handle = event_loop.handle();
    for number in 0..5000_usize {
        handle.post(id, Message::user((0_usize, number))).unwrap();
    }
    event_loop.turn(Some(PATIENCE)).unwrap();
    turn_until(&mut event_loop, "nothing waits", |it| it.core().waiting_messages() == 0);
    let arrived = messages.try_iter().count() as u64;
    assert_eq!(arrived + event_loop.counters().messages_undelivered, 5000);
}

#[test]
fn a_full_queue_hands_back_and_lets_shutdown_through() {
    let mut event_loop = EventLoop::with_limits(Limits { handle_queue: 3, ..Limits::default() }).unwrap();
    let handle = event_loop.handle();
    let (sender, ran) = mpsc::channel();
    for number in 0..3 {
        let sender = sender.clone();
        handle.run(move |_| sender.send(number).unwrap()).unwrap();
    }
    let refused = handle.run(move |_| sender.send(3).unwrap()).unwrap_err();
    let Undelivered::Full(closure) = refused else { panic!("{refused:?}") };
    handle.shutdown(PATIENCE).unwrap();
    event_loop.run().unwrap();
    assert_eq!(ran.try_iter().collect::<Vec<_>>(), [0, 1, 2]);
    // What was handed back is as good as new.
    let mut other = EventLoop::new().unwrap();
    closure(other.core());
    assert_eq!(ran.try_recv(), Ok(3));
}

#[test]
fn after_the_end_everything_is_handed_back() {
    let mut event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    handle.stop().unwrap();
    event_loop.run().unwrap();
    let nobody = event_loop.connect(("127.0.0.1", 9), TcpEcho);
    assert!(matches!(handle.post(nobody, Message::user(7)), Err(Undelivered::Ended(_))));
    assert!(matches!(handle.run(|_| ()), Err(Undelivered::Ended(_))));
    assert!(matches!(handle.with(nobody, |_| ()), Err(Undelivered::Ended(_))));
    assert_eq!(handle.shutdown(PATIENCE), Err(LoopEnded));
    assert_eq!(handle.stop(), Err(LoopEnded));
    drop(event_loop);
    assert_eq!(handle.stop(), Err(LoopEnded));
}

#[test]
fn a_dropped_loop_drops_what_was_asked_of_it() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    let (sender, dropped) = mpsc::channel::<()>();
    let again = handle.clone();
    struct UsesTheHandle(Handle);
    impl Drop for UsesTheHandle {
        fn drop(&mut self) {
            assert_eq!(self.0.stop(), Err(LoopEnded), "it must not deadlock either");
        }
    }
    let guard = UsesTheHandle(again);
    handle
        .run(move |_: &mut Core| {
            let _both = (&guard, &sender);
            unreachable!("the loop never turns");
        })
        .unwrap();
    drop(event_loop);
    assert!(dropped.recv_timeout(PATIENCE).is_err(), "the closure has gone, and its sender with it");
}

#[test]
fn closures_run_on_the_loop_and_reach_connections() {
    let (mut event_loop, id, messages) = collector(Limits::default());
    let handle = event_loop.handle();
    let (sender, seen) = mpsc::channel();
    let thread = thread::spawn(move || {
        let counted = sender.clone();
        handle.run(move |core| counted.send(core.open_connections()).unwrap()).unwrap();
        handle
            .with(id, move |cx| {
                let me = cx.id();
                cx.post(me, Message::user((9_usize, 9_usize))).unwrap();
                sender.send(cx.backlog()).unwrap();
            })
            .unwrap();
    });
    let mut got = Vec::new();
    turn_until(&mut event_loop, "both ran", |_| {
        got.extend(seen.try_iter());
        got.len() == 2
    });
    thread.join().unwrap();
    assert_eq!(got, [2, 0]);
    turn_until(&mut event_loop, "the message is there", |_| messages.try_recv() == Ok((9, 9)));
}

#[test]
fn a_closure_for_a_connection_that_has_gone_is_dropped_uncalled() {
    let (mut event_loop, id, _messages) = collector(Limits::default());
    event_loop.core().abort(id);
    turn_until(&mut event_loop, "it has gone", |it| !it.core().is_open(id));
    let (sender, dropped) = mpsc::channel::<()>();
    let handle = event_loop.handle();
    handle.with(id, move |_| sender.send(()).unwrap()).unwrap();
    handle.post(id, Message::user(1)).unwrap();
    turn_until(&mut event_loop, "it was dropped", |_| dropped.try_recv() == Err(mpsc::TryRecvError::Disconnected));
    assert_eq!(event_loop.counters().messages_undelivered, 1);
}

#[test]
fn a_loop_asleep_is_woken_at_once() {
    let mut event_loop = EventLoop::new().unwrap();
    event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let handle = event_loop.handle();
    let (sender, asleep) = mpsc::channel();
    let thread = thread::spawn(move || {
        asleep.recv().unwrap();
        handle.shutdown(Duration::ZERO)
    });
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    sender.send(()).unwrap();
    event_loop.run().unwrap(); // without the wake-up it would never return
    assert_eq!(thread.join().unwrap(), Ok(()));
}
