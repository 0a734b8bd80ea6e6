use std::net::SocketAddr;

use super::*;

/// Takes `take` bytes a call.
struct Sink {
    taken: Vec<u8>,
    take: usize,
}

impl Stream for Sink {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
    fn read_vectored(&mut self, _: &mut [io::IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(0)
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }
    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let before = self.taken.len();
        self.taken.extend(pieces.iter().flat_map(|piece| piece.iter()).take(self.take));
        Ok(self.taken.len() - before)
    }
    fn shutdown_write(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn take_error(&mut self) -> io::Result<Option<io::Error>> {
        Ok(None)
    }
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::NotConnected.into())
    }
    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::NotConnected.into())
    }
}

/// Flat and shared pieces by turns; every third shared one too short to be spliced.
fn fill(outbox: &mut Outbox, pieces: usize) -> Vec<u8> {
    let mut expected = Vec::new();
    for piece in 0..pieces {
        let byte = u8::try_from(piece % 251).expect("below 251");
        let flat = vec![byte; piece % 7];
        let shared = vec![byte ^ 0xff; if piece % 3 == 0 { 10 } else { COPY_BELOW + piece }];
        outbox.push(&flat);
        outbox.push_shared(shared.clone().into());
        expected.extend([flat, shared].concat());
    }
    outbox.push(b"end");
    expected.extend(b"end");
    expected
}

#[test]
fn every_byte_leaves_once_and_in_order_however_little_is_taken() {
    for take in [1, 2, 1000, 1025, 5000, usize::MAX] {
        let mut outbox = Outbox::default();
        let expected = fill(&mut outbox, 40);
        let mut sink = Sink { taken: Vec::new(), take };
        while !outbox.is_empty() {
            let before = outbox.len();
            let (written, asked) = outbox.write_to(&mut sink, usize::MAX).expect("the sink takes something");
            assert!(written <= asked && before - outbox.len() == written);
        }
        assert_eq!(sink.taken, expected, "{take} bytes a call");
    }
}

#[test]
fn what_waits_moves_behind_what_waits_elsewhere() {
    for taken in [0, 1, 5000, 20_000] {
        let (mut backlog, mut visit) = (Outbox::default(), Outbox::default());
        let mut expected = fill(&mut backlog, 30);
        let mut sink = Sink { taken: Vec::new(), take: taken };
        if taken > 0 {
            backlog.write_to(&mut sink, usize::MAX).expect("the sink takes something");
        }
        expected.extend(fill(&mut visit, 20));
        backlog.append(&mut visit);
        assert!(visit.is_empty());
        sink.take = usize::MAX;
        while !backlog.is_empty() {
            backlog.write_to(&mut sink, usize::MAX).expect("the sink takes something");
        }
        assert_eq!(sink.taken, expected, "{taken} bytes taken before");
    }
}

#[test]
fn datagrams_keep_their_borders() {
    let mut outbox = Outbox::default();
    for _ in 0..2 {
        outbox.end_datagram();
        outbox.push_datagram(b"");
        outbox.push_datagram(b"one");
        outbox.tail_mut().extend_from_slice(b"written");
        outbox.push_datagram(b"two");
        outbox.tail_mut().extend_from_slice(b"last");
        outbox.end_datagram();
        outbox.end_datagram();
        let all: [&[u8]; 5] = [b"", b"one", b"written", b"two", b"last"];
        assert!(outbox.datagrams().eq(all));
        assert_eq!((outbox.len(), outbox.has_datagrams()), (17, true));
        outbox.clear_datagrams();
        assert!(!outbox.has_datagrams() && outbox.is_empty());
    }
}

#[test]
fn all_can_be_taken_in_one_piece() {
    for written in [0, 3, 2000] {
        let mut outbox = Outbox::default();
        let expected = fill(&mut outbox, 9);
        if written > 0 {
            outbox.advance(written);
        }
        assert_eq!(outbox.take_all(), expected[written..]);
        assert!(outbox.is_empty());
    }
}

#[test]
fn what_is_written_is_cut_off_so_that_a_slow_peer_does_not_hold_it() {
    let mut backlog = Outbox::default();
    let piece = vec![7; COMPACT_FROM];
    for _ in 0..100 {
        backlog.append(&mut Outbox { flat: piece.clone(), ..Outbox::default() });
        backlog.append(&mut Outbox { flat: piece.clone(), ..Outbox::default() });
        backlog.advance(2 * COMPACT_FROM - 1);
    }
    assert_eq!(backlog.len(), 100);
    assert!(backlog.flat.len() < 5 * COMPACT_FROM, "{}", backlog.flat.len());
}
