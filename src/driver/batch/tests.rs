//! What goes back, what is taken back, and what is said of batches one after the other.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Batch, Received};
use crate::SendOptions;
use crate::datagram::Datagrams;

fn from(port: u16, len: usize) -> Received {
    Received { len, source: SocketAddr::from(([127, 0, 0, 1], port)), local: None, ecn: None }
}

/// A batch of datagrams of these lengths, each full of its index.
fn batch(lens: &[usize]) -> Batch {
    let mut batch = Batch::default();
    batch.open(Batch::SLOTS);
    for (index, &len) in (0..).zip(lens) {
        batch.slot().expect("there are as many")[..len].fill(index);
        batch.push(from(index.into(), len));
    }
    batch
}

#[test]
fn what_goes_back_leaves_in_front_and_is_skipped_and_counted_as_all_else() {
    let batch = batch(&[1, 2, 3, 0, 5]);
    for which in 0..32_u64 {
        let mut out = Datagrams::default();
        (0..5).filter(|index| which >> index & 1 == 1).for_each(|index| assert!(out.give_back(1 << index)));
        out.push(from(9, 0).source, SendOptions::default(), b"behind");
        assert!(!out.give_back(1), "something was sent before it");
        let all: Vec<_> = out.leaving(&batch).collect();
        let expected = (0..5_u8).filter(|index| which >> index & 1 == 1);
        let expected = expected.map(|index| (u16::from(index), vec![index; [1, 2, 3, 0, 5][usize::from(index)]]));
        let expected: Vec<_> = expected.chain([(9, b"behind".to_vec())]).collect();
        assert!(all.iter().map(|it| (it.target.port(), it.payload.to_vec())).eq(expected));
        for count in 0..=all.len() {
            let mut left = out.leaving(&batch);
            assert_eq!(left.len(), all.len());
            let bytes: usize = all[..count].iter().map(|it| it.payload.len()).sum();
            assert_eq!(left.skip_first(count), bytes, "{which} {count}");
            assert_eq!(left.is_done(), count == all.len());
            assert!(left.eq(all[count..].iter().copied()));
        }
    }
}

#[test]
fn what_is_taken_back_of_a_call_is_what_that_call_has_sent() {
    let mut out = Datagrams::default();
    assert!(out.give_back(1) && out.give_back(2));
    out.push(from(9, 0).source, SendOptions::default(), b"own");
    assert_eq!(out.take_back(0, 2, 7), (2, Datagrams::cost(3) + Datagrams::cost(7)));
    assert_eq!(out.take_back(0, 4, 7), (0, 0));
    assert_eq!(out.leaving(&batch(&[4, 7])).map(|it| it.target.port()).collect::<Vec<_>>(), [0]);
}

#[test]
fn each_datagram_has_its_payload_however_they_came() {
    let mut batch = batch(&[3, 0, 4]);
    assert!(batch.is_plain());
    for index in 0..4 {
        let plain: Vec<_> = batch.plain_datagrams_from(index.min(3)).map(|(_, payload)| payload.to_vec()).collect();
        let any: Vec<_> = batch.datagrams_from(index).map(|(_, payload)| payload.to_vec()).collect();
        assert_eq!(any, [vec![0; 3], vec![], vec![2; 4]][index.min(3)..]);
        assert_eq!(plain, any);
    }
    let local = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
    batch.push(Received { local, ..from(3, 1) });
    assert!(!batch.is_plain(), "an answer to that goes from where it came to");
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn what_batches_before_have_left_is_not_said_of_the_next() {
    let mut batch = batch(&[1, 1]);
    batch.arrivals.push_segments(2, from(2, 5));
    assert_eq!((batch.len(), batch.room(), batch.bytes()), (5, Batch::SLOTS - 3, 7));
    let parts: Vec<_> = batch.datagrams_from(2).map(|(arrived, payload)| (arrived.start, payload.len())).collect();
    assert_eq!(
        parts,
        [0, 2, 4].map(|offset| 2 * Batch::STRIDE + offset).into_iter().zip([2, 2, 1]).collect::<Vec<_>>()
    );
    batch.open(Batch::SLOTS);
    let peer = from(7, 0).source;
    let (_, arrivals) = batch.next_slots::<8>().expect("all are free");
    arrivals.extend([1, 2, 3, 4].into_iter().map(|len| (len, peer)));
    assert_eq!((batch.len(), batch.room(), batch.bytes()), (4, Batch::SLOTS - 4, 10));
    assert!(batch.is_plain());
    let starts: Vec<_> = batch.plain_datagrams_from(0).map(|(it, payload)| (it.start, payload.len())).collect();
    assert_eq!(starts, [0, 1, 2, 3].map(|slot| (slot * Batch::STRIDE, slot + 1)));
}

#[test]
fn memory_that_was_given_back_is_there_again_when_it_is_needed() {
    let mut batch = batch(&[4095, 2048, 1]);
    assert!(!batch.is_large(), "one page of a slot is not worth it");
    batch.push(from(3, 4096));
    assert!(batch.is_large());
    batch.give_back();
    assert_eq!((batch.memory.capacity(), batch.arrivals.list.capacity(), batch.len()), (0, 0, 0));
    batch.open(3);
    assert_eq!((batch.room(), batch.is_large()), (3, false));
    assert_eq!(batch.slot().map(|slot| slot.len()), Some(Batch::SLOT));
}
