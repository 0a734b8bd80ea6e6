//! Times, by hand: `cargo bench --package switchboard-benches --bench times [FILTER]`. Only what was measured in one run,
//! on a machine that does nothing else, can be compared.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use switchboard_benches::{Armed, Crowd, Datagrams, Newcomer, ROUNDS, Stream, binary, masked, text};
use switchboard_websocket::frame::{OpCode, Receiver, Role, parse, whole_message, write_unmasked};
use switchboard_websocket::{mask, utf8};

fn main() {
    divan::main();
}

const SERVER: Receiver = Receiver { role: Role::Server, in_message: false, compression: false };

/// A whole message, as the hot path recognises it.
#[divan::bench(args = [20, 125, 1024])]
fn frame_whole_unmask(bencher: Bencher<'_, '_>, payload: usize) {
    let mut frame = masked(&binary(payload));
    bencher.bench_local(|| {
        let frame = black_box(&mut frame[..]);
        let message = whole_message(frame).expect("a message");
        mask::apply(&mut frame[message.start..message.end], message.key);
    });
}

/// Any frame.
#[divan::bench(args = [20, 125, 1024])]
fn frame_parse_unmask(bencher: Bencher<'_, '_>, payload: usize) {
    let mut frame = masked(&binary(payload));
    bencher.bench_local(|| {
        let frame = black_box(&mut frame[..]);
        let Ok(Some((header, start))) = parse(frame, SERVER) else { panic!("a frame") };
        mask::apply(&mut frame[start..], header.mask.unwrap_or_default());
    });
}

#[divan::bench(args = [20, 125, 1024])]
fn frame_write(bencher: Bencher<'_, '_>, payload: usize) {
    let (payload, mut out) = (binary(payload), Vec::with_capacity(2048));
    bencher.bench_local(|| {
        let payload = black_box(&payload[..]);
        out.clear();
        write_unmasked(OpCode::Binary, payload.len(), &mut out);
        out.extend_from_slice(payload);
        black_box(out.len())
    });
}

#[divan::bench(args = [64, 1024, 16_384, 1_048_576])]
fn unmask(bencher: Bencher<'_, '_>, len: usize) {
    let mut payload = binary(len);
    bencher.counter(BytesCount::new(len)).bench_local(|| mask::apply(black_box(&mut payload), black_box([1, 2, 3, 4])));
}

#[divan::bench(args = [20, 1024, 16_384])]
fn utf8_ascii(bencher: Bencher<'_, '_>, len: usize) {
    check(bencher, &text(len, false));
}

#[divan::bench(args = [20, 1024, 16_384])]
fn utf8_mixed(bencher: Bencher<'_, '_>, len: usize) {
    check(bencher, &text(len, true));
}

fn check(bencher: Bencher<'_, '_>, text: &str) {
    let valid = || utf8::check(black_box(text.as_bytes())).is_ok();
    bencher.counter(BytesCount::new(text.len())).bench_local(valid);
}

#[divan::bench(args = [0, 1_000_000])]
fn timers_set_and_cancel(bencher: Bencher<'_, '_>, others: u32) {
    let mut timers = Armed::new(others, false);
    bencher.counter(ItemsCount::new(ROUNDS)).bench_local(|| {
        timers.set();
        timers.cancel();
    });
}

#[divan::bench(args = [0, 1_000_000])]
fn timers_expire(bencher: Bencher<'_, '_>, others: u32) {
    let mut timers = Armed::new(others, false);
    bencher.counter(ItemsCount::new(ROUNDS)).bench_local(|| timers.expire());
}

#[divan::bench(args = [20, 1024, 16_384])]
fn echo_tcp(bencher: Bencher<'_, '_>, len: usize) {
    let mut stream = Stream::tcp(&binary(len));
    bencher.bench_local(|| stream.round());
}

#[divan::bench(args = [20, 1024, 16_384])]
fn echo_web_socket(bencher: Bencher<'_, '_>, len: usize) {
    let mut stream = Stream::web_socket(1, &binary(len));
    bencher.bench_local(|| stream.round());
}

#[divan::bench]
fn echo_web_socket_16_of_20(bencher: Bencher<'_, '_>) {
    let mut stream = Stream::web_socket(16, &binary(20));
    bencher.counter(ItemsCount::new(16_usize)).bench_local(|| stream.round());
}

#[divan::bench]
fn echo_udp_16_of_20(bencher: Bencher<'_, '_>) {
    let mut datagrams = Datagrams::new(16, &binary(20));
    bencher.counter(ItemsCount::new(16_usize)).bench_local(|| datagrams.round());
}

#[divan::bench]
fn accept_close(bencher: Bencher<'_, '_>) {
    let mut newcomer = Newcomer::default();
    bencher.bench_local(|| newcomer.round());
}

#[divan::bench]
fn broadcast_to_400(bencher: Bencher<'_, '_>) {
    let mut crowd = Crowd::new(400);
    bencher.counter(ItemsCount::new(400_usize)).bench_local(|| crowd.round());
}
