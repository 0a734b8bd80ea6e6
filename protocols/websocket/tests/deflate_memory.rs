//! What compression takes of the memory, measured: a compressor, a decompressor, those that are shared, a bomb.

use allocation_counter::{AllocationInfo, measure};
use switchboard_websocket::deflate::{
    Codec, Compression, Deflater, InflateError, Inflater, Memory, PIECE, Parameters, WindowBits,
};
use switchboard_websocket::frame::Role;

fn held(info: &AllocationInfo) -> usize {
    usize::try_from(info.bytes_current).expect("no less than before")
}

fn codec(memory: Memory) -> Codec {
    let parameters = Parameters {
        server_no_context_takeover: memory == Memory::Shared,
        client_no_context_takeover: memory == Memory::Shared,
        ..Parameters::default()
    };
    let compression = Compression { compressor: memory, decompressor: memory, threshold: 0, ..Compression::default() };
    Codec::new(Role::Server, &parameters, &compression)
}

/// Sends a message and receives it, by one codec that has the same parameters both ways.
fn echo(codec: &mut Codec, message: &[u8], out: &mut Vec<u8>) {
    assert!(codec.deflate(message, out));
    let mut incoming = codec.begin();
    let mut length = 0;
    let count = &mut |piece: &[u8]| {
        length += piece.len();
        Ok::<_, InflateError>(())
    };
    incoming.push(out, count).expect("what was compressed");
    codec.end(incoming).expect("all of it");
    assert_eq!(length, message.len());
}

#[test]
fn a_compressor() {
    for bits in 8..=15 {
        let window = WindowBits::new(bits).unwrap();
        let (stated, mut kept) = (Deflater::memory(window), None);
        let info = measure(|| kept = Some(Deflater::new(window, 9)));
        assert!((stated..stated + stated / 16).contains(&held(&info)), "{stated} of {} at {bits} bits", held(&info));
        assert_eq!(info.bytes_max, info.bytes_current.unsigned_abs());
        let (mut deflater, message) = (kept.unwrap(), vec![b'x'; 1 << 20]);
        let mut out = Vec::with_capacity(2 << 20);
        let info = measure(|| {
            deflater.deflate(&message, &mut out);
            deflater.reset();
            deflater.deflate(&message, &mut out);
        });
        assert_eq!(info.count_total, 0, "all of it is allocated at once");
    }
}

/// As the documentation of `deflate` states them.
#[test]
fn figures() {
    let kib = [15, 12, 9, 8].map(|bits| Deflater::memory(WindowBits::new(bits).unwrap()) / 1024);
    assert_eq!(kib, [371, 259, 245, 245]);
    assert_eq!([Inflater::MEMORY / 1024, Inflater::MOST_MEMORY / 1024], [48, 88]);
    let kept_by_thread = 8 * (Deflater::memory(WindowBits::MAX) + Inflater::MOST_MEMORY) + (64 << 10);
    assert!(kept_by_thread <= 37 * (1 << 20) / 10, "{kept_by_thread}");
    assert!(size_of::<Codec>() <= 64, "{}", size_of::<Codec>());
}

#[test]
fn a_decompressor() {
    let mut payload = Vec::new();
    Deflater::new(WindowBits::MAX, 6).deflate(&vec![b'x'; 1 << 20], &mut payload);
    let mut inflater = None;
    let info = measure(|| inflater = Some(Inflater::new()));
    let stated = Inflater::MEMORY;
    assert!((stated - stated / 8..=stated).contains(&held(&info)), "{stated} of {}", held(&info));
    let mut inflater = inflater.unwrap();
    let nothing = &mut |_: &[u8]| Ok::<_, InflateError>(());
    let first = measure(|| {
        inflater.push(&payload, nothing).unwrap();
        inflater.finish().unwrap();
    });
    assert_eq!(held(&first), Inflater::MOST_MEMORY - Inflater::MEMORY, "for what a last block may be followed by");
    assert_eq!(inflater.memory(), Inflater::MOST_MEMORY);
    let second = measure(|| {
        inflater.push(&payload, nothing).unwrap();
        inflater.finish().unwrap();
    });
    assert_eq!(second.count_total, 0);
}

/// A thousand connections that share have nothing of their own, and no message allocates once the thread has what it
/// needs.
#[test]
fn what_is_shared() {
    let mut codecs: Vec<Codec> = Vec::new();
    codecs.resize_with(1000, || codec(Memory::Shared));
    let (mut out, message) = (Vec::with_capacity(4096), b"all connections of a thread say the same".repeat(50));
    echo(&mut codecs[0], &message, &mut out);
    let all = measure(|| codecs.iter_mut().for_each(|codec| echo(codec, &message, &mut out)));
    assert_eq!(all.count_total, 0, "{all:?}");
    assert!(codecs.iter().all(|codec| codec.memory() == 0));

    // Messages that arrive at the same time each have a decompressor; all but a few go when they have arrived.
    assert!(codecs[0].deflate(&message, &mut out));
    let many = measure(|| {
        let mut arriving: Vec<_> = codecs.iter_mut().take(100).map(Codec::begin).collect();
        for incoming in &mut arriving {
            incoming.push(&out[..9], &mut |_| Ok::<_, InflateError>(())).unwrap();
        }
        drop(arriving);
    });
    assert!(held(&many) < 10 * (Inflater::MEMORY + (64 << 10)), "{many:?}");
    echo(&mut codecs[7], &message, &mut out);
}

#[test]
fn what_is_dedicated() {
    let (mut codec, mut out) = (codec(Memory::Dedicated), Vec::with_capacity(4096));
    assert_eq!(codec.memory(), 0, "nothing before the first message");
    let message = b"one connection has much to say".repeat(50);
    let info = measure(|| {
        echo(&mut codec, &message, &mut out);
    });
    let stated = codec.memory();
    assert!((stated - stated / 16..stated + stated / 16).contains(&held(&info)), "{stated} of {}", held(&info));
    let first = out.len();
    // What was received is remembered, up to a bound; from there on nothing is allocated.
    (0..40).for_each(|_| echo(&mut codec, &message, &mut out));
    assert_eq!(codec.memory(), Deflater::memory(WindowBits::MAX) + Inflater::MOST_MEMORY);
    let again = measure(|| echo(&mut codec, &message, &mut out));
    assert_eq!(again.count_total, 0);
    assert!(out.len() < first / 2, "{} bytes after {first}: it refers back", out.len());
}

/// 16 MiB are allowed: a bomb of a gigabyte gets those and the decompressor, at most; and nothing by a header alone.
#[test]
fn a_bomb() {
    let (mut deflater, zeros) = (Deflater::new(WindowBits::MAX, 9), vec![0; 64 << 20]);
    let mut payload = Vec::new();
    for _ in 0..16 {
        deflater.deflate(&zeros, &mut payload);
        payload.extend([0x00, 0x00, 0xff, 0xff]);
    }
    assert!(payload.len() < 5 << 18, "{}", payload.len());
    let limit = 16 << 20;
    let info = measure(|| {
        assert_eq!(Inflater::new().message(&payload, limit), Err(InflateError::TooLong { limit }));
    });
    // The buffer before it grew for the last time, and after.
    let most = limit + limit / 2 + Inflater::MEMORY + (64 << 10) + PIECE;
    assert!(info.bytes_max < most as u64, "{info:?}");
    assert_eq!(info.bytes_current, 0);
    let small = measure(|| {
        assert!(Inflater::new().message(&payload, 1000).is_err());
    });
    assert!(small.bytes_max < (Inflater::MEMORY + (64 << 10)) as u64, "{small:?}");
}
