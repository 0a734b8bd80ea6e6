//! What is said arrives, whatever the channel does, and an end is one.

use super::*;

#[test]
fn two_messages_each_way_take_few_datagrams() {
    let mut pair = Pair::calm();
    // OPEN, ACCEPT, PING, ACK.
    assert_eq!(pair.datagrams(), 4);
    pair.ends[0].session.send(b"one").unwrap();
    pair.ends[0].session.send(b"two").unwrap();
    pair.ends[0].settle();
    pair.ends[1].send(b"three");
    pair.ends[1].send(b"");
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.ends[0].got, [&b"three"[..], b""]);
    assert_eq!(pair.ends[1].got, [&b"one"[..], b"two"]);
    assert_eq!(pair.datagrams(), 4 + 1 + 2 + 2, "both messages of the client in one");
    // A round trip, and an acknowledgement's delay now and then.
    let rtt = pair.ends[0].link().rtt().unwrap();
    assert!(rtt >= 2 * LATENCY && rtt < 3 * LATENCY, "{rtt:?}");
}

#[test]
fn closing_takes_four_datagrams_and_is_clean_on_both_sides() {
    let mut pair = Pair::calm();
    let before = pair.datagrams();
    pair.ends[0].close();
    assert_eq!(pair.ends[0].session.send(b"late"), Err(SendError::Closing));
    pair.run(Duration::from_millis(50));
    assert_eq!(pair.datagrams() - before, 4, "FIN, FIN, DONE, DONE");
    assert_eq!(pair.ends[0].session.end(), (0, true, false));
    assert_eq!(pair.ends[1].session.end(), (0, true, true));
    assert!(pair.ends.iter().all(|end| end.failed.is_none() && end.session.is_over()));
}

#[test]
fn what_both_sent_before_the_close_arrives() {
    let mut pair = Pair::calm();
    let long = message(1, 60_000);
    pair.ends[0].send(&long);
    pair.ends[1].send(&long);
    pair.ends[0].close();
    pair.run(Duration::from_secs(5));
    for end in &pair.ends {
        assert!(end.got == [long.clone()] && end.session.end().1 && end.failed.is_none());
    }
}

#[test]
fn both_close_at_once() {
    let mut pair = Pair::calm();
    pair.ends[0].close();
    pair.ends[1].close();
    pair.run(Duration::from_secs(1));
    assert!(pair.ends.iter().all(|end| end.session.end() == (0, true, false) && end.failed.is_none()));
}

#[test]
fn two_clients_that_ask_at_once_meet() {
    for seed in 0..50 {
        let settings = Rc::new(patient());
        let mut pair = Pair::new(Session::client(&settings), Session::client(&settings), seed);
        pair.weather = BAD;
        pair.ends[0].begin();
        pair.ends[1].begin();
        pair.run(Duration::from_secs(300));
        pair.ends[0].send(b"a");
        pair.ends[1].send(b"b");
        pair.run(Duration::from_secs(300));
        assert_eq!((&pair.ends[0].got[..], &pair.ends[1].got[..]), (&[b"b".to_vec()][..], &[b"a".to_vec()][..]));
    }
}

/// The main thing, with each end's own view of the other as small as it may be, and large.
#[test]
fn every_message_arrives_once_and_in_order_whatever_the_channel_does() {
    for seed in 0..150 {
        let mut dice = Dice(seed);
        let client = Settings {
            datagram: 128 + usize::try_from(dice.below(1_500)).unwrap(),
            receive_window: 4_000 + usize::try_from(dice.below(100_000)).unwrap(),
            ..patient()
        };
        let server = Settings { datagram: 1_200, ..patient() };
        let mut pair = Pair::new(Session::client(&Rc::new(client)), Session::server(&Rc::new(server)), seed);
        pair.weather = BAD;
        // The numbers wrap soon.
        pair.ends[0].wire.rigged = Some((u64::from(u32::MAX) - dice.below(40)) << 32);
        pair.ends[0].begin();
        pair.ends[1].begin();
        let mut sent: [Vec<Vec<u8>>; 2] = Default::default();
        let mut next: [Option<Vec<u8>>; 2] = Default::default();
        while sent.iter().map(Vec::len).sum::<usize>() < 60 {
            let side = usize::from(dice.below(2) == 1);
            let length = match dice.below(10) {
                0 => dice.below(65_537),
                1 => [0, 1, 105, 1_177, 1_178, 65_536][usize::try_from(dice.below(6)).unwrap()],
                _ => dice.below(300),
            };
            let message = next[side].take().unwrap_or_else(|| message(dice.roll(), length));
            match pair.ends[side].session.send(&message) {
                Ok(()) => sent[side].push(message),
                Err(SendError::Full { .. } | SendError::Closing) => next[side] = Some(message), // not open, or slow
                Err(error) => panic!("{error}"),
            }
            pair.ends[side].settle();
            pair.run(Duration::from_millis(dice.below(200)));
        }
        pair.ends[usize::from(seed % 2 == 1)].close();
        pair.run(Duration::from_secs(2_000));
        for (side, sent) in sent.iter().enumerate() {
            let end = &pair.ends[1 - side];
            assert!(end.got == *sent, "seed {seed}: {} of {} messages", end.got.len(), sent.len());
            assert_eq!((end.session.end().0, &end.failed), (0, &None), "seed {seed}");
            assert!(end.session.is_over() && end.session.end().1, "seed {seed}");
        }
    }
}

#[test]
fn a_lost_last_acknowledgement_is_made_up_for() {
    let mut pair = Pair::calm();
    pair.ends[0].close();
    pair.run(Duration::from_millis(15));
    pair.weather = GONE; // the client's acknowledgement of the server's end
    pair.run(Duration::from_millis(800));
    assert!(pair.ends.iter().all(|end| !end.session.is_over()));
    pair.weather = CALM;
    pair.run(Duration::from_millis(800));
    assert!(pair.ends.iter().all(|end| end.session.end().1 && end.failed.is_none()));
}

#[test]
fn a_server_learns_soon_that_it_is_heard_though_the_first_sign_is_lost() {
    let mut pair = Pair::with(Settings::default(), 1);
    pair.ends[0].begin();
    pair.ends[1].begin();
    pair.run(Duration::from_millis(15));
    pair.weather = GONE;
    pair.run(Duration::from_millis(10));
    assert!(pair.ends[0].opened && !pair.ends[1].opened);
    pair.weather = CALM;
    pair.run(Duration::from_millis(300));
    assert!(pair.ends[1].opened);
}

#[test]
fn nobody_answers() {
    let mut pair = Pair::with(Settings::default(), 1);
    pair.weather = GONE;
    pair.ends[0].begin();
    pair.run(Duration::from_millis(9_999));
    assert_eq!(pair.datagrams(), 4, "after 0, 1, 3 and 7 seconds");
    pair.run(Duration::from_millis(2));
    assert_eq!(pair.ends[0].failed.as_deref(), Some("open_timeout: nobody answered within 10s"));
}

#[test]
fn a_peer_that_vanishes_is_given_up_whether_something_is_sent_or_not() {
    for sends in [true, false] {
        let mut pair = Pair::calm();
        pair.run(Duration::from_secs(20));
        pair.weather = GONE;
        if sends {
            pair.ends[0].send(b"anybody there?");
        }
        let least = if sends { 29 } else { 39 };
        pair.run(Duration::from_secs(least));
        assert_eq!(pair.ends[0].failed, None);
        pair.run(Duration::from_secs(7));
        let error = pair.ends[0].failed.as_deref();
        assert_eq!(error, Some("timeout: the peer has acknowledged nothing for 30s"));
        assert_eq!(pair.ends[0].session.end().0, usize::from(sends), "unsent");
        pair.run(Duration::from_secs(60));
        assert!(pair.ends[1].failed.is_some(), "the other side asks as well");
    }
}

#[test]
fn a_partition_that_heals_in_time_costs_nothing_but_time() {
    let mut pair = Pair::calm();
    pair.weather = GONE;
    for number in 0..100 {
        pair.ends[0].send(&message(number, 1_000));
        pair.ends[1].send(&message(number, 10));
    }
    pair.run(Duration::from_secs(25));
    pair.weather = CALM;
    pair.run(Duration::from_secs(30));
    assert_eq!((pair.ends[0].got.len(), pair.ends[1].got.len()), (100, 100));
    assert!(pair.ends.iter().all(|end| end.failed.is_none()));
}

#[test]
fn who_was_not_running_does_not_blame_the_peer() {
    let mut pair = Pair::calm();
    pair.ends[0].send(b"before");
    pair.collect();
    pair.under_way[1].clear(); // lost
    pair.now = pair.now + Duration::from_secs(3_600);
    pair.run(Duration::from_secs(5));
    assert_eq!((pair.ends[1].got.len(), &pair.ends[0].failed), (1, &None));
}

#[test]
fn after_the_close_a_dead_network_ends_it_within_the_bound() {
    let mut pair = Pair::calm();
    pair.weather = GONE;
    pair.ends[0].send(b"never arrives");
    pair.ends[0].close();
    pair.run(Duration::from_millis(9_999));
    assert!(!pair.ends[0].session.is_over());
    pair.run(Duration::from_millis(2));
    assert_eq!(pair.ends[0].failed.as_deref(), Some("close_timeout: the peer did not close within 10s"));
    assert_eq!(pair.ends[0].session.end(), (1, false, false));
}

#[test]
fn a_peer_that_was_started_again_ends_the_session_and_opens_the_next() {
    let mut pair = Pair::calm();
    pair.ends[1].send(b"to the first");
    pair.ends[0] = End::new(Session::client(&Rc::new(Settings::default())), 77);
    pair.ends[0].wire.now = pair.now;
    pair.ends[0].begin();
    pair.run(Duration::from_millis(500));
    assert_eq!(pair.ends[1].failed.as_deref(), Some("the peer has reset the session"));
    // The socket makes a new one of the next datagram.
    pair.ends[1] = End::new(Session::server(&Rc::new(Settings::default())), 78);
    pair.ends[1].wire.now = pair.now;
    pair.ends[1].begin();
    pair.run(Duration::from_secs(1));
    pair.ends[1].send(b"to the second");
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.ends[0].got, [b"to the second"]);
}

#[test]
fn an_abort_is_told() {
    let mut pair = Pair::calm();
    let End { session, wire, .. } = &mut pair.ends[0];
    session.abort(wire);
    pair.run(Duration::from_millis(50));
    assert_eq!(pair.ends[1].failed.as_deref(), Some("the peer has reset the session"));
}

#[test]
fn who_does_not_take_what_comes_stops_the_peer_and_starts_it_again() {
    for keepalive in [Settings::default().keepalive, None] {
        let mut pair = Pair::with(Settings { receive_window: 12_000, keepalive, ..Settings::default() }, 5);
        pair.open();
        pair.ends[1].link().pause();
        for number in 0..100 {
            pair.ends[0].send(&message(number, 1_000));
        }
        pair.run(Duration::from_secs(120));
        assert!(pair.ends[1].got.is_empty());
        assert_eq!(pair.ends[0].link().unsent(), 90, "a window of ten, which was acknowledged");
        let before = pair.datagrams();
        pair.run(Duration::from_secs(600));
        assert_eq!(pair.ends[0].failed, None);
        // Each asks by the keepalive's time, or the sender alone by the longest timeout; and is answered.
        assert_eq!(pair.datagrams() - before, if keepalive.is_some() { 4 * 600 / 15 } else { 2 * 600 / 60 });
        assert!(pair.ends[1].session.held() < 20_000);
        pair.weather = GONE; // the news of room is lost
        pair.ends[1].link().resume();
        pair.ends[1].settle();
        pair.collect();
        pair.weather = CALM;
        pair.run(Duration::from_secs(61));
        assert_eq!(pair.ends[1].got.len(), 100);
    }
}

/// RFC 6298 §5.1: the timer starts when something is sent, whatever was awaited before.
#[test]
fn what_is_sent_after_a_wait_has_the_whole_timeout_to_arrive() {
    let mut pair = Pair::with(Settings { receive_window: 12_000, ..Settings::default() }, 5);
    pair.open();
    pair.ends[1].link().pause();
    for number in 0..100 {
        pair.ends[0].send(&message(number, 1_000));
    }
    pair.run(Duration::from_secs(40)); // it asks for room by the keepalive's time now, and has just begun to wait again
    pair.ends[1].link().resume();
    pair.ends[1].settle();
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.ends[1].got.len(), 100);
    assert_eq!((pair.ends[0].session.stats, pair.ends[1].session.stats), Default::default());

    let mut pair = Pair::calm();
    pair.run(Duration::from_secs(13));
    let asked = pair.datagrams();
    while pair.datagrams() == asked {
        pair.step(Time::MAX); // until one asks whether the other is there
    }
    let rto = Duration::from_millis(200);
    pair.weather = GONE;
    pair.run(rto - Duration::from_millis(5));
    pair.weather = CALM;
    pair.ends.iter_mut().for_each(|end| end.send(b"just before the question is asked again"));
    pair.run(Duration::from_secs(1));
    assert!(pair.ends.iter().all(|end| end.session.stats == Stats::default() && end.got.len() == 1));
}

#[test]
fn an_acknowledgement_that_there_is_no_room_for_waits_for_room_not_for_time() {
    let mut pair = Pair::calm();
    pair.ends[0].send(&message(1, 1_000));
    pair.ends[0].send(&message(2, 1_000));
    pair.collect();
    pair.ends[1].wire.room = false;
    pair.ends[1].wire.now = pair.now;
    for (_, datagram) in std::mem::take(&mut pair.under_way[1]) {
        pair.ends[1].receive(&datagram);
    }
    assert!(pair.ends[1].session.deadline().is_some_and(|due| due > pair.now), "a timer that is due would spin");
    assert!(pair.ends[1].wire.sent.is_empty());
    pair.ends[1].wire.room = true;
    pair.ends[1].settle();
    assert_eq!(pair.ends[1].wire.sent.len(), 1);
}
