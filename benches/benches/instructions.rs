//! Instructions of the hot paths, counted by valgrind: `benches/run` compares them with `limits.json`.
//!
//! Each bench does the same [`ROUNDS`] times. What it is set up from, and what becomes of that, is not counted.

#![allow(missing_docs, unreachable_pub, unused_qualifications, reason = "the macros make public modules")]

use std::hint::black_box;

use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use switchboard_benches::{
    Among, Armed, Crowd, Datagrams, Handshakes, Newcomer, ROUNDS, Reference, Stream, binary, masked, text,
};
use switchboard_websocket::deflate::{Deflater, WindowBits};
use switchboard_websocket::frame::{OpCode, Receiver, Role, parse, whole_message, write_unmasked};
use switchboard_websocket::{mask, utf8};

const SERVER: Receiver = Receiver { role: Role::Server, in_message: false, compression: false };

#[library_benchmark]
#[bench::words(Reference::default())]
fn reference(mut reference: Reference) -> Reference {
    black_box(reference.run());
    reference
}

#[library_benchmark]
#[bench::bytes_20(masked(&binary(20)))]
#[bench::bytes_1024(masked(&binary(1024)))]
fn frame_parse_unmask(mut frame: Vec<u8>) -> Vec<u8> {
    for _ in 0..ROUNDS {
        let frame = black_box(&mut frame[..]);
        let Ok(Some((header, start))) = parse(frame, SERVER) else { panic!("a frame") };
        mask::apply(&mut frame[start..], header.mask.unwrap_or_default());
    }
    frame
}

#[library_benchmark]
#[bench::bytes_20(masked(&binary(20)))]
#[bench::bytes_1024(masked(&binary(1024)))]
fn frame_whole_unmask(mut frame: Vec<u8>) -> Vec<u8> {
    for _ in 0..ROUNDS {
        let frame = black_box(&mut frame[..]);
        let message = whole_message(frame).expect("a message");
        mask::apply(&mut frame[message.start..message.end], message.key);
    }
    frame
}

#[library_benchmark]
#[bench::bytes_20((binary(20), Vec::with_capacity(256)))]
#[bench::bytes_1024((binary(1024), Vec::with_capacity(2048)))]
fn frame_write((payload, mut out): (Vec<u8>, Vec<u8>)) -> (Vec<u8>, Vec<u8>) {
    for _ in 0..ROUNDS {
        let payload = black_box(&payload[..]);
        out.clear();
        write_unmasked(OpCode::Binary, payload.len(), &mut out);
        out.extend_from_slice(payload);
        black_box(&mut out);
    }
    (payload, out)
}

#[library_benchmark]
#[bench::ascii_1024(text(1024, false))]
#[bench::mixed_1024(text(1024, true))]
fn utf8_check(text: String) -> String {
    for _ in 0..ROUNDS {
        black_box(utf8::check(black_box(text.as_bytes()))).expect("text");
    }
    text
}

fn compressor() -> (Deflater, String, Vec<u8>) {
    let (mut deflater, text, mut out) = (Deflater::new(WindowBits::MAX, 6), text(1024, true), Vec::with_capacity(2048));
    deflater.deflate(text.as_bytes(), &mut out);
    (deflater, text, out)
}

#[library_benchmark]
#[bench::bytes_1024(compressor())]
fn deflate((mut deflater, text, mut out): (Deflater, String, Vec<u8>)) -> (Deflater, String, Vec<u8>) {
    for _ in 0..ROUNDS {
        out.clear();
        deflater.reset();
        deflater.deflate(black_box(text.as_bytes()), &mut out);
    }
    (deflater, text, out)
}

#[library_benchmark]
#[bench::tcp_20(Stream::tcp(&binary(20)))]
#[bench::tcp_1024(Stream::tcp(&binary(1024)))]
#[bench::tcp_20_three_layers(Stream::layered(&binary(20)))]
#[bench::web_socket_20(Stream::web_socket(1, &binary(20)))]
#[bench::web_socket_16_of_20(Stream::web_socket(16, &binary(20)))]
#[bench::web_socket_text_1024(Stream::web_socket(1, text(1024, false).as_bytes()))]
fn echo(mut stream: Stream) -> Stream {
    (0..ROUNDS).for_each(|_| stream.round());
    stream
}

#[library_benchmark]
#[bench::among_64(Among::new(64))]
#[bench::among_10000(Among::new(10_000))]
fn echo_64(mut among: Among) -> Among {
    (0..ROUNDS).for_each(|_| among.round());
    among
}

#[library_benchmark]
#[bench::udp_16_of_20(Datagrams::new(16, &binary(20)))]
fn echo_datagrams(mut datagrams: Datagrams) -> Datagrams {
    (0..ROUNDS).for_each(|_| datagrams.round());
    datagrams
}

#[library_benchmark]
#[bench::accept_close(Newcomer::default())]
fn connection(mut newcomer: Newcomer) -> Newcomer {
    (0..ROUNDS).for_each(|_| newcomer.round());
    newcomer
}

#[library_benchmark]
#[bench::web_socket(Handshakes::new(ROUNDS))]
fn handshake(mut handshakes: Handshakes) -> Handshakes {
    (0..ROUNDS).for_each(|_| handshakes.round());
    handshakes
}

#[library_benchmark]
#[bench::to_1000(Crowd::new(1000))]
fn broadcast(mut crowd: Crowd) -> Crowd {
    (0..ROUNDS).for_each(|_| crowd.round());
    crowd
}

#[library_benchmark]
#[bench::alone(Armed::new(0, false))]
#[bench::among_a_million(Armed::new(1_000_000, false))]
fn timer_set(mut timers: Armed) -> Armed {
    timers.set();
    timers
}

#[library_benchmark]
#[bench::alone(Armed::new(0, true))]
#[bench::among_a_million(Armed::new(1_000_000, true))]
fn timer_postpone(mut timers: Armed) -> Armed {
    timers.postpone();
    timers
}

#[library_benchmark]
#[bench::alone(Armed::new(0, true))]
#[bench::among_a_million(Armed::new(1_000_000, true))]
fn timer_cancel(mut timers: Armed) -> Armed {
    timers.cancel();
    timers
}

#[library_benchmark]
#[bench::alone(Armed::new(0, false))]
#[bench::among_a_million(Armed::new(1_000_000, false))]
fn timer_expire(mut timers: Armed) -> Armed {
    timers.expire();
    timers
}

library_benchmark_group!(
    name = all,
    benchmarks = [
        reference,
        frame_parse_unmask,
        frame_whole_unmask,
        frame_write,
        utf8_check,
        deflate,
        echo,
        echo_64,
        echo_datagrams,
        connection,
        handshake,
        broadcast,
        timer_set,
        timer_postpone,
        timer_cancel,
        timer_expire
    ]
);

main!(
    config = LibraryBenchmarkConfig::default()
        .tool(Callgrind::with_args(["cache-sim=no"]))
        // The C library copies what is longer than some 2 KiB by one instruction that valgrind counts once a byte; from
        // which length on depends on the processor.
        .env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=1073741824"),
    library_benchmark_groups = all
);
