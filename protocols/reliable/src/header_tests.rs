use super::*;

const TERMS: Terms = Terms { id: 0x0102_0304_0506_0708, first: u32::MAX, window: 218, datagram: 1200, message: 65_536 };
const PROGRESS: Progress = Progress { ack: 7, limit: 0x8000_0001 };

fn written(datagram: Datagram<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    datagram.write(&mut out);
    out
}

fn all() -> Vec<Datagram<'static>> {
    vec![
        Datagram::Open(TERMS),
        Datagram::Accept { to: 9, terms: TERMS },
        Datagram::Data { to: u64::MAX, progress: PROGRESS, sequence: 3, chunks: b"\0\x02hi\0\0\x80\x01x" },
        Datagram::Fin { to: 1, progress: PROGRESS, sequence: 0 },
        Datagram::Ack { to: 1, progress: PROGRESS, bitmap: b"" },
        Datagram::Ack { to: 1, progress: PROGRESS, bitmap: &[0xa5; MOST_SEGMENTS / 8] },
        Datagram::Ping { to: 1, progress: PROGRESS },
        Datagram::Done { to: 1, from: 2 },
        Datagram::Reset { to: 0, from: 2 },
    ]
}

#[test]
fn what_is_written_reads_back() {
    for datagram in all() {
        assert_eq!(Datagram::parse(&written(datagram)), Some(datagram));
    }
}

#[test]
fn the_layout_is_the_documented_one() {
    assert_eq!(
        written(Datagram::Open(TERMS)),
        b"\x11\x01\x02\x03\x04\x05\x06\x07\x08\xff\xff\xff\xff\x00\xda\x04\xb0\x00\x01\x00\x00"
    );
    let data = Datagram::Data { to: 5, progress: PROGRESS, sequence: 3, chunks: b"\0\x02hi" };
    assert_eq!(written(data), b"\x13\0\0\0\0\0\0\0\x05\0\0\0\x07\x80\0\0\x01\0\0\0\x03\0\x02hi");
    assert_eq!(written(data).len(), DATA_HEADER + 4);
    let ack = Datagram::Ack { to: 5, progress: PROGRESS, bitmap: b"\x01" };
    assert_eq!(written(ack).len(), ACK_HEADER + 1);
}

#[test]
fn what_is_cut_off_or_too_long_is_refused() {
    for datagram in all() {
        let mut bytes = written(datagram);
        let cut_anywhere = matches!(datagram, Datagram::Ack { .. });
        let least = if cut_anywhere { ACK_HEADER } else { bytes.len() };
        for end in 0..least {
            // A segment cut at a chunk's end is a segment.
            let shorter = Datagram::parse(&bytes[..end]);
            assert!(shorter.is_none() || end > DATA_HEADER && bytes[0] == DATA, "{datagram:?} of {end}");
        }
        if !(cut_anywhere && bytes.len() == ACK_HEADER) {
            bytes.push(0);
            assert_eq!(Datagram::parse(&bytes), None, "{datagram:?}");
        }
    }
}

#[test]
fn other_versions_and_kinds_are_refused() {
    for first in (0..=u8::MAX).filter(|first| !(0x11..=0x18).contains(first)) {
        for datagram in all() {
            let mut bytes = written(datagram);
            bytes[0] = first;
            assert_eq!(Datagram::parse(&bytes), None);
        }
    }
}

#[test]
fn terms_under_which_nothing_could_be_sent_are_refused() {
    for terms in [
        Terms { id: 0, ..TERMS },
        Terms { window: 1, ..TERMS },
        Terms { window: 1025, ..TERMS },
        Terms { datagram: 127, ..TERMS },
    ] {
        assert_eq!(Datagram::parse(&written(Datagram::Open(terms))), None, "{terms:?}");
    }
}

#[test]
fn a_segment_has_whole_chunks_of_which_the_last_alone_goes_on() {
    let segment =
        |chunks| Datagram::parse(&written(Datagram::Data { to: 1, progress: PROGRESS, sequence: 0, chunks })).is_some();
    assert!(segment(b"\0\0"));
    assert!(segment(b"\0\x01a\x80\x01b"));
    assert!(!segment(b""), "no chunk");
    assert!(!segment(b"\0"), "half a header");
    assert!(!segment(b"\0\x02a"), "a chunk cut off");
    assert!(!segment(b"\x80\0"), "an empty chunk that goes on");
    assert!(!segment(b"\x80\x01a\0\x01b"), "a chunk that goes on before the last");
}
