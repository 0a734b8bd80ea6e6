//! One that sends as fast as it can leaves the others their turn.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use switchboard::EventLoop;
use switchboard_echo::TcpEcho;

use crate::common::{assert_nothing_left, drive, finish, now, round_trip, tcp};

/// Writes as fast as it can and reads as fast as it can, until told to stop.
fn shout(address: SocketAddr, stop: &AtomicBool, echoed: &AtomicU64) {
    let mut stream = tcp(address);
    let mut writer = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                writer.write_all(&[b'!'; 256 * 1024]).unwrap();
            }
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut buffer = vec![0; 256 * 1024];
        loop {
            match stream.read(&mut buffer).unwrap() {
                0 => return,
                count => echoed.fetch_add(count as u64, Ordering::Relaxed),
            };
        }
    });
}

#[test]
fn the_quiet_are_served_while_one_shouts() {
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", |_| Some(TcpEcho)).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let (stop, echoed) = (AtomicBool::new(false), AtomicU64::new(0));
    let worst = drive(&mut event_loop, || {
        thread::scope(|scope| {
            scope.spawn(|| shout(address, &stop, &echoed));
            let mut quiet: Vec<TcpStream> = (0..20).map(|_| tcp(address)).collect();
            while echoed.load(Ordering::Relaxed) < 1_000_000 {
                thread::yield_now();
            }
            let before = echoed.load(Ordering::Relaxed);
            let mut worst = Duration::ZERO;
            for _ in 0..20 {
                for stream in &mut quiet {
                    let start = now();
                    assert_eq!(round_trip(stream, b"may I"), b"may I");
                    worst = worst.max(start.elapsed());
                }
            }
            assert!(echoed.load(Ordering::Relaxed) > before, "the loud one has its turn, too");
            stop.store(true, Ordering::Relaxed);
            for stream in &mut quiet {
                finish(stream);
            }
            worst
        })
    });
    // A starved one would wait until the shouting stops: for ever. The machine may be busy.
    assert!(worst < Duration::from_secs(5), "one round trip took {worst:?}");
    assert_nothing_left(&mut event_loop);
}
