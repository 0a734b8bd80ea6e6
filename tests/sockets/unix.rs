//! Unix stream sockets, and their files.

use std::cell::RefCell;
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};
use switchboard::{
    Bytes, CloseReason, Closing, Context, EventLoop, Failure, Input, Message, Protocol, Target, UnixListenOptions,
};
use switchboard_echo::TcpEcho;

use crate::common::{PATIENCE, assert_nothing_left, drive, pattern, turn_until};

/// A directory of the test's own, removed with all that is in it.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("switchboard-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.join("it")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn client(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn round_trip(stream: &mut UnixStream, message: &[u8]) -> Vec<u8> {
    stream.write_all(message).unwrap();
    let mut answer = vec![0; message.len()];
    stream.read_exact(&mut answer).unwrap();
    answer
}

fn serve(path: &Path) -> EventLoop {
    let mut event_loop = EventLoop::new().unwrap();
    event_loop.listen_unix(path, |_| Some(TcpEcho)).unwrap();
    event_loop
}

/// Sends what it is posted, and notes what comes.
struct Caller(Rc<RefCell<(Vec<u8>, Vec<String>)>>);

impl Protocol for Caller {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.0.borrow_mut().1.push(format!("open {:?} {:?}", cx.peer_addr(), cx.local_addr()));
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.0.borrow_mut().0.extend(input.take_all().iter());
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        let Message::Bytes(bytes) = message else { unreachable!() };
        cx.send_shared(bytes);
        cx.finish();
        Ok(())
    }

    fn on_close(&mut self, _: &mut Closing<'_>, reason: &CloseReason) {
        self.0.borrow_mut().1.push(reason.to_string());
    }
}

#[test]
fn loops_talk_through_a_socket_and_leave_nothing_behind() {
    let directory = Directory::new();
    let mut event_loop = serve(&directory.path());
    let seen = Rc::default();
    let bytes = Bytes::from(pattern(4 << 20)); // more than all buffers hold, in both directions
    let id = event_loop.connect(directory.path(), Caller(Rc::clone(&seen)));
    event_loop.core().post(id, bytes.clone()).unwrap();
    turn_until(&mut event_loop, "it ends", |_| seen.borrow().1.len() == 2);
    let (echoed, notes) = seen.take();
    assert_eq!(notes, ["open None None", "closed by this side"]);
    assert!(echoed == bytes);
    assert_nothing_left(&mut event_loop);
    assert!(directory.path().exists());
    drop(event_loop);
    assert!(!directory.path().exists());
}

#[test]
fn others_talk_to_it_and_half_close() {
    let directory = Directory::new();
    let mut event_loop = serve(&directory.path());
    let rest = drive(&mut event_loop, || {
        let mut stream = client(&directory.path());
        assert_eq!(round_trip(&mut stream, b"hello"), b"hello");
        stream.write_all(b"bye").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        rest
    });
    assert_eq!(rest, b"bye");
    let connect = |event_loop: &mut EventLoop, accepted: u64| {
        let stream = client(&directory.path());
        turn_until(event_loop, "it is accepted", |event_loop| event_loop.counters().opened == accepted);
        stream
    };
    drop(connect(&mut event_loop, 2));
    assert_nothing_left(&mut event_loop);
}

#[test]
fn where_nobody_is_the_path_is_named() {
    let directory = Directory::new();
    let target = Target::from(directory.path());
    let mut event_loop = EventLoop::new().unwrap();
    let seen: Rc<RefCell<(Vec<u8>, Vec<String>)>> = Rc::default();
    event_loop.connect(&target, Caller(Rc::clone(&seen)));
    turn_until(&mut event_loop, "it is told", |_| !seen.borrow().1.is_empty());
    drop(UnixListener::bind(directory.path()).unwrap()); // its file stays
    event_loop.connect(&target, Caller(Rc::clone(&seen)));
    turn_until(&mut event_loop, "it is told", |_| seen.borrow().1.len() == 2);
    let (_, notes) = seen.take();
    assert!(notes.iter().all(|note| note.starts_with(&format!("could not connect: {target}: "))), "{notes:?}");
    assert!(notes[0].contains("No such file") && notes[1].contains("refused"), "{notes:?}");
    assert_nothing_left(&mut event_loop);
}

#[test]
fn a_file_that_was_left_behind_is_replaced() {
    let directory = Directory::new();
    drop(UnixListener::bind(directory.path()).unwrap());
    assert!(directory.path().exists());
    let mut event_loop = serve(&directory.path());
    drive(&mut event_loop, || round_trip(&mut client(&directory.path()), b"hello"));
}

#[test]
fn where_somebody_listens_nobody_else_can_and_who_does_hears_nothing_of_it() {
    let directory = Directory::new();
    let mut event_loop = serve(&directory.path());
    let mut other = EventLoop::new().unwrap();
    let error = other.listen_unix(directory.path(), |_| Some(TcpEcho)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    drive(&mut event_loop, || round_trip(&mut client(&directory.path()), b"hello"));
    let counters = event_loop.counters();
    assert_eq!((counters.opened, counters.accept_errors), (1, 0), "the one connection was the client's");
}

#[test]
fn what_is_no_socket_is_not_replaced() {
    let directory = Directory::new();
    fs::write(directory.path(), "precious").unwrap();
    let mut event_loop = EventLoop::new().unwrap();
    let error = event_loop.listen_unix(directory.path(), |_| Some(TcpEcho)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    drop(event_loop);
    assert_eq!(fs::read(directory.path()).unwrap(), b"precious");
    let target = directory.0.join("nowhere");
    std::os::unix::fs::symlink(&target, directory.0.join("link")).unwrap();
    let mut event_loop = EventLoop::new().unwrap();
    event_loop.listen_unix(directory.0.join("link"), |_| Some(TcpEcho)).unwrap_err();
    assert!(directory.0.join("link").is_symlink() && !target.exists());
}

#[test]
fn the_files_permissions_are_as_asked_for() {
    let directory = Directory::new();
    let mut options = UnixListenOptions::default();
    for mode in [0o600, 0o666] {
        let mut event_loop = EventLoop::new().unwrap();
        options.mode = Some(mode);
        let listener = event_loop.listen_unix_with(directory.path(), &options, |_| Some(TcpEcho)).unwrap();
        assert_eq!(fs::metadata(directory.path()).unwrap().permissions().mode() & 0o777, mode);
        event_loop.core().close(listener);
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert!(!directory.path().exists(), "removed when the listener closes");
    }
}

#[test]
fn a_file_that_is_anothers_by_now_is_left_alone() {
    let directory = Directory::new();
    let event_loop = serve(&directory.path());
    fs::rename(directory.path(), directory.0.join("moved")).unwrap();
    let other = UnixListener::bind(directory.path()).unwrap();
    drop(event_loop);
    assert!(directory.path().exists());
    client(&directory.path());
    other.accept().unwrap();
}

#[test]
fn where_no_file_can_be_there_is_no_listener() {
    let directory = Directory::new();
    let mut event_loop = EventLoop::new().unwrap();
    for path in [directory.0.join("no/such"), directory.0.join("x".repeat(200)), PathBuf::new()] {
        event_loop.listen_unix(&path, |_| Some(TcpEcho)).unwrap_err();
    }
    assert_eq!(fs::read_dir(&directory.0).unwrap().count(), 0);
}

#[test]
fn who_finds_too_many_waiting_waits_too() {
    let directory = Directory::new();
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::unix(directory.path()).unwrap()).unwrap();
    listener.listen(0).unwrap();
    let mut event_loop = EventLoop::new().unwrap();
    let seen: Rc<RefCell<(Vec<u8>, Vec<String>)>> = Rc::default();
    for _ in 0..10 {
        event_loop.connect(directory.path(), Caller(Rc::clone(&seen)));
    }
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    event_loop.turn(Some(Duration::ZERO)).unwrap();
    assert!(seen.borrow().1.len() < 10);
    let accepted = std::thread::spawn(move || (0..10).map(|_| listener.accept().unwrap().0).collect::<Vec<_>>());
    turn_until(&mut event_loop, "all stand", |_| seen.borrow().1.len() == 10);
    assert!(seen.borrow().1.iter().all(|note| note == "open None None"), "{seen:?}");
    accepted.join().unwrap();
}

#[test]
#[cfg(target_os = "linux")]
fn a_name_that_is_no_file_serves_as_well() {
    use std::os::unix::ffi::OsStrExt;
    let name = format!("\0switchboard-{}", std::process::id());
    let path = Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
    let mut event_loop = serve(path);
    let error = event_loop.listen_unix(path, |_| Some(TcpEcho)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let seen = Rc::default();
    let id = event_loop.connect(path, Caller(Rc::clone(&seen)));
    event_loop.core().post(id, Bytes::from_static(b"hello")).unwrap();
    turn_until(&mut event_loop, "it ends", |_| seen.borrow().1.len() == 2);
    assert_eq!(seen.borrow().0, b"hello");
}
