//! What the flight recorder takes: files, memory; and that what it wrote on real sockets happens again.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use switchboard::testkit::{FlightRecorder, Harness, fuzz, replay};
use switchboard::{CloseReason, EventLoop, Limits, protocol_fn};
use switchboard_heartbeat::{Config, Heartbeat, PingPong};

use crate::common::drive;
use crate::fuzz::empty_folder;
use crate::recorder::{RING, files, millis, only_file};

#[test]
fn files_are_never_written_over_and_never_too_many() {
    let folder = empty_folder("many");
    let reports = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&reports);
    let recorder = FlightRecorder::new(&folder, RING).at_most(3).reporting_to(move |result| {
        noted.lock().unwrap().push(result.as_deref().map(PathBuf::from).map_err(io::Error::kind))
    });
    for _ in 0..5 {
        Harness::new(recorder.around(PingPong::default())).feed(b"hello\n");
    }
    assert_eq!((recorder.written(), recorder.unwritten()), (3, 2));
    assert_eq!(files(&folder).len(), 3, "one id, three names");
    let reports = reports.lock().unwrap();
    assert_eq!(reports.iter().flatten().cloned().collect::<Vec<_>>(), files(&folder));
    assert_eq!(reports[3..], [Err(io::ErrorKind::QuotaExceeded), Err(io::ErrorKind::QuotaExceeded)]);
}

#[test]
fn a_file_that_can_not_be_written_concerns_nobody_else() {
    let folder = empty_folder("unwritable").join("file");
    fs::write(&folder, b"in the way").unwrap();
    let recorder = FlightRecorder::new(&folder, RING);
    let mut harness = Harness::new(recorder.around(PingPong::default()));
    harness.feed(b"hello\n");
    assert!(matches!(harness.close_reason(), Some(CloseReason::Failure(_))));
    assert_eq!(harness.take_sent(), b"ERR expected PING <n> or PONG <n>\n");
    assert_eq!((recorder.written(), recorder.unwritten()), (0, 1));
}

/// The loop knows of the recorder's memory, beside what the protocol declares; and gets it back.
#[test]
fn the_memory_is_declared_and_given_back() {
    let folder = empty_folder("memory");
    let holding = || {
        protocol_fn(|cx, input| {
            input.take_all();
            cx.hold(1000)?;
            Ok(())
        })
    };
    let recorder = FlightRecorder::new(&folder, 4000);
    let mut harness = Harness::new(recorder.around(holding()));
    for _ in 0..100 {
        harness.feed(&[b'x'; 500]);
        let held = harness.core().held_bytes();
        assert!((1500..=5000).contains(&held), "{held} bytes");
    }
    harness.eof();
    assert_eq!(harness.core().held_bytes(), 0);

    let limits = Limits { loop_memory: 3000, ..Limits::default() };
    let mut harness = Harness::with_limits(recorder.around(holding()), limits);
    for _ in 0..100 {
        harness.feed(&[b'x'; 500]);
        assert!(harness.core().held_bytes() <= 3000);
    }
    assert!(harness.is_open(), "the recorder goes without, the protocol does not");
    harness.feed_eof(b"");
    assert_eq!(harness.core().held_bytes(), 0);
}

/// On real sockets: what fails there fails again in virtual time.
#[test]
fn a_failure_on_real_sockets_happens_again_without() {
    let folder = empty_folder("sockets");
    let recorder = FlightRecorder::new(&folder, RING);
    let config = Config::new(millis(100), millis(20_000)).unwrap().with_jitter(Duration::ZERO).unwrap();
    let line = move || Heartbeat::new(config).around(PingPong::default());
    let mut event_loop = EventLoop::new().unwrap();
    let around = recorder.clone();
    let listener = event_loop.listen("127.0.0.1:0", move |_| Some(around.around(line()))).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let received = drive(&mut event_loop, move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(crate::common::PATIENCE)).unwrap();
        stream.write_all(b"PING 1\nPI").unwrap();
        let mut probes = [0; 7 + 2 * 7];
        stream.read_exact(&mut probes).unwrap();
        stream.write_all(b"NG 2\nhello\n").unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        let _ = stream.shutdown(Shutdown::Both); // the loop may have closed it by now
        [&probes[..], &rest].concat()
    });
    assert_eq!(recorder.written(), 1);
    let replay = replay(line, &only_file(&folder));
    assert!(replay.is_faithful(), "{replay}");
    assert_eq!(replay.sent(), received, "{replay}");
    fuzz(line, &only_file(&folder));
}
