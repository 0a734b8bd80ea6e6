//! Coming and going ten thousand times.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use switchboard::EventLoop;

use crate::common::{assert_nothing_left, drive, finish, listen_echo, listen_heartbeat, tcp};
use crate::gauge::{alone, heap, open_descriptors};

fn reset(stream: TcpStream) {
    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

#[test]
fn connecting_and_disconnecting_ten_thousand_times_leaves_nothing() {
    const TIMES: u64 = 10_000;
    let _alone = alone();
    let mut event_loop = EventLoop::new().unwrap();
    let (echo, heartbeat) = (listen_echo(&mut event_loop), listen_heartbeat(&mut event_loop));
    let mut churn = |times: u64| {
        drive(&mut event_loop, || {
            for n in 0..times {
                let address = if n % 2 == 0 { echo } else { heartbeat };
                let mut stream = tcp(address);
                match n % 10 {
                    0 | 1 => drop(stream),
                    2 | 3 => reset(stream),
                    4 | 5 => {
                        stream.write_all(b"PING 1").unwrap(); // half a line
                        reset(stream);
                    }
                    6 | 7 => {
                        stream.write_all(b"PING 1\n").unwrap();
                        drop(stream);
                    }
                    _ => {
                        stream.write_all(b"PING 1\n").unwrap();
                        assert_eq!(finish(&mut stream).len(), 7);
                    }
                }
            }
        });
        assert_nothing_left(&mut event_loop);
    };
    churn(100); // what the loop keeps for its life has its size now
    let descriptors = open_descriptors();
    let heap = heap(|| churn(TIMES));
    assert_eq!(open_descriptors(), descriptors);
    println!("after {TIMES} connections: {} bytes more", heap.change);
    assert!(heap.change < 10_000, "{} bytes remain", heap.change);
    let counters = event_loop.counters();
    // One reset before it was accepted may not have been seen at all.
    assert_eq!(counters.opened + counters.accept_errors, TIMES + 100);
}
