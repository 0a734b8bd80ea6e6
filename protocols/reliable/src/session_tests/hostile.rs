//! Forged, reflected and impossible datagrams, and more than there is room for.

use super::*;

#[test]
fn an_unverified_peer_gets_no_more_than_three_times_what_it_sent() {
    let settings = Rc::new(Settings::default());
    for first in
        [&b"\x16\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0"[..], b"\x15\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\0", b"", b"garbage"]
    {
        let mut server = End::new(Session::server(&settings), 3);
        server.begin();
        server.receive(first);
        assert!(server.session.is_over(), "it has nothing to wait for");
        let answered: usize = server.wire.sent.iter().map(Vec::len).sum();
        assert!(answered <= 3 * first.len(), "{answered} for {}", first.len());
    }
    let mut server = End::new(Session::server(&settings), 3);
    server.begin();
    let mut asked = 0;
    for id in 1..100 {
        let mut open = Vec::new();
        Datagram::Open(Terms { id: id % 10 + 1, first: 0, window: 9, datagram: 1_200, message: 9 }).write(&mut open);
        asked += open.len();
        server.receive(&open);
    }
    server.on_time(Time::ZERO + Duration::from_secs(9));
    let answered: usize = server.wire.sent.iter().map(Vec::len).sum();
    assert!(answered > 0 && answered <= 3 * asked);
    assert!(server.session.held() < 1_000);
    server.on_time(Time::ZERO + Duration::from_secs(10));
    assert!(server.session.is_over() && !server.opened && server.failed.is_none());
}

#[test]
fn a_forged_opening_does_not_keep_the_true_one_out() {
    let settings = Rc::new(Settings::default());
    let mut pair = Pair::new(Session::client(&settings), Session::server(&settings), 9);
    pair.ends[1].begin();
    let mut forged = Vec::new();
    Datagram::Open(Terms { id: 5, first: 0, window: 9, datagram: 1_200, message: 9 }).write(&mut forged);
    pair.ends[1].receive(&forged);
    pair.ends[0].begin();
    pair.run(Duration::from_millis(25));
    pair.ends[1].receive(&forged);
    pair.run(Duration::from_millis(100));
    assert!(pair.ends.iter().all(|end| end.opened));
    let before = pair.datagrams();
    pair.ends[1].receive(&forged);
    pair.run(Duration::from_secs(1));
    assert!(pair.ends.iter().all(|end| end.failed.is_none()));
    assert_eq!(pair.datagrams() - before, 2, "asked for a sign of life, the peer gives one");
}

/// Whatever is repeated, reflected or cut, without a change: no storm, no message twice, no end.
#[test]
fn repeated_and_reflected_datagrams_do_no_harm() {
    let mut pair = Pair::calm();
    pair.ends[0].send(&message(1, 5_000));
    pair.ends[1].send(&message(2, 5_000));
    pair.run(Duration::from_secs(1));
    let all: Vec<Vec<u8>> = pair.sent.concat();
    let before = pair.datagrams();
    for datagram in &all {
        for end in &mut pair.ends {
            end.receive(datagram);
            end.receive(&datagram[..datagram.len() - 1]);
        }
    }
    pair.run(Duration::from_secs(1));
    assert!(pair.ends.iter().all(|end| end.failed.is_none() && end.got.len() == 1));
    // At most an answer to each whole one, and no answers to answers.
    assert!(pair.datagrams() - before <= 2 * all.len(), "{} for {}", pair.datagrams() - before, all.len());
    pair.run(Duration::from_secs(10));
    let after = pair.datagrams();
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.datagrams(), after, "silence again");
}

fn peers_datagram(pair: &mut Pair, make: impl FnOnce(u64, Progress) -> Vec<u8>) -> Option<String> {
    // From the server to the client, as the server itself might.
    let (to, link) = (pair.ends[0].link().mine().id, pair.ends[0].link());
    let progress = link.next_progress();
    pair.ends[0].receive(&make(to, progress));
    pair.ends[0].failed.clone()
}

#[test]
fn an_acknowledgement_of_what_was_never_sent_ends_the_session() {
    let mut pair = Pair::calm();
    pair.ends[0].send(b"one");
    let failed = peers_datagram(&mut pair, |to, Progress { ack, limit }| {
        let mut out = Vec::new();
        Datagram::Ack { to, progress: Progress { ack: ack.wrapping_add(2), limit }, bitmap: b"" }.write(&mut out);
        out
    });
    assert_eq!(failed.as_deref(), Some("the peer acknowledged what was never sent"));
    let mut pair = Pair::calm();
    pair.ends[0].send(b"one");
    let failed = peers_datagram(&mut pair, |to, progress| {
        let mut out = Vec::new();
        Datagram::Ack { to, progress, bitmap: b"\x01" }.write(&mut out);
        out
    });
    assert_eq!(failed.as_deref(), Some("the peer acknowledged what was never sent"));
}

#[test]
fn segments_beyond_the_window_are_dropped() {
    let mut pair = Pair::calm();
    let first = pair.ends[1].link().mine().first;
    for ahead in [218, 1_000, 1 << 30] {
        let sequence = first.wrapping_add(ahead);
        let failed = peers_datagram(&mut pair, |to, progress| {
            let mut out = Vec::new();
            Datagram::Data { to, progress, sequence, chunks: b"\0\x01x" }.write(&mut out);
            out
        });
        assert_eq!(failed, None);
    }
    assert_eq!(pair.ends[0].session.stats.dropped, 3);
    assert!(pair.ends[0].session.held() < 5_000);
}

#[test]
fn fragments_without_an_end_are_cut_off_at_the_limit() {
    let mut pair = Pair::calm();
    let mut sequence = pair.ends[1].link().mine().first;
    let mut fragment = b"\x84\0".to_vec();
    fragment.resize(1_026, 7);
    for _ in 0..64 {
        let failed = peers_datagram(&mut pair, |to, progress| {
            let mut out = Vec::new();
            Datagram::Data { to, progress, sequence, chunks: &fragment }.write(&mut out);
            out
        });
        assert_eq!(failed, None);
        sequence = sequence.wrapping_add(1);
    }
    let failed = peers_datagram(&mut pair, |to, progress| {
        let mut out = Vec::new();
        Datagram::Data { to, progress, sequence, chunks: &fragment }.write(&mut out);
        out
    });
    assert_eq!(failed.as_deref(), Some("a message of 66560 bytes or more, 65536 allowed"));
}

#[test]
fn too_much_and_too_long_is_refused_and_the_rest_goes_on() {
    let mut pair = Pair::with(Settings { max_message: 1_000, send_buffer: 6_000, ..Settings::default() }, 1);
    pair.open();
    pair.weather = GONE;
    assert_eq!(pair.ends[0].session.send(&[0; 1_001]), Err(SendError::TooLong { size: 1_001, limit: 1_000 }));
    let mut fitted = 0;
    while pair.ends[0].session.send(&[0; 1_000]).is_ok() {
        fitted += 1;
        pair.ends[0].settle();
    }
    assert_eq!(fitted, 5);
    assert!(matches!(pair.ends[0].session.send(&[0; 1_000]), Err(SendError::Full { limit: 6_000, .. })));
    pair.weather = CALM;
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.ends[1].got.len(), 5);
}

/// RFC 5681 §4.1: no burst of a window that was earned long ago.
#[test]
fn after_a_pause_the_window_begins_anew() {
    let mut pair = Pair::calm();
    for number in 0..200 {
        pair.ends[0].send(&message(number, 1_000));
    }
    pair.run(Duration::from_secs(5));
    for _ in 0..50 {
        pair.ends[0].session.send(&message(0, 1_000)).unwrap();
    }
    pair.ends[0].settle();
    assert_eq!(pair.ends[0].wire.sent.len(), 11, "12,000 bytes, though 100,000 were under way before");
}
