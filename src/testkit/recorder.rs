//! The flight recorder: what led to a failure, in a file that makes it happen again.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Operation, Schedule};
use crate::context::Requests;
use crate::{CloseReason, Closing, ConnectionId, Context, Failure, Input, Layered, Message, Protocol, TimerId};

mod replay;
mod ring;
mod tape;
mod window;

pub use replay::{Replay, replay, replay_with_limits};
use tape::Tape;

/// Records what happens to connections, and writes it to a file when one of them fails.
///
/// It goes around any protocol, in production as in tests, and changes nothing of what passes: bytes in and out,
/// timers, half-closes, messages of bytes, how much the peer took, all with its time. Of each connection the last so
/// many bytes are kept (and [declared](Context::hold) to the loop; where that has no memory left they are dropped).
/// When one closes with [`Failure`](CloseReason::Failure) or [`Limit`](CloseReason::Limit), they go to a file: a
/// [`Schedule`], which [`replay`] plays in virtual time, and which is a seed for [`fuzz`](fn@super::fuzz). A clone
/// shares the counters.
///
/// ```
/// use switchboard::testkit::{FlightRecorder, Harness, replay};
/// use switchboard_heartbeat::PingPong;
///
/// # let folder = std::env::temp_dir().join(format!("flights-{}", std::process::id()));
/// let recorder = FlightRecorder::new(&folder, 64 << 10);
/// let mut harness = Harness::new(recorder.around(PingPong::default())); // or in event_loop.listen(…)
/// harness.feed(b"PING 1\n");
/// harness.feed(b"hello\n");
/// assert_eq!(recorder.written(), 1);
///
/// for file in std::fs::read_dir(&folder)? {
///     let replay = replay(PingPong::default, &std::fs::read(file?.path())?);
///     assert!(replay.is_faithful());
///     assert_eq!(replay.to_string(), r#"
/// 0.000s → "PING 1\n"
/// 0.000s ← "PONG 1\n"
/// 0.000s → "hello\n"
/// 0.000s ← "ERR expected PING <n> or PONG <n>\n"
/// 0.000s closed: the peer broke the protocol: expected PING <n> or PONG <n>
/// as recorded
/// "#.trim_start());
/// }
/// # std::fs::remove_dir_all(folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Where it goes
///
/// Outside of everything that is to be recorded: around `Heartbeat`, not inside. Inside of a layer that encrypts it
/// records, and writes to disk, what was said in the clear. **A recording holds what users sent: handle it as such.**
///
/// # What it costs
///
/// A copy of everything that passes, twice for output, and at a failure one file, written by the loop's own thread.
/// A callback whose output exceeds [`Limits::send_buffer`](crate::Limits::send_buffer) fails even if the system would have taken part of it
/// at once.
///
/// # What a replay can't know
///
/// What came before the bytes that are kept; messages other than bytes; other connections, and the memory they use;
/// the loop's [random numbers](crate::Core::random), and its limits unless they are
/// [given](replay_with_limits).
#[derive(Clone)]
pub struct FlightRecorder {
    folder: Arc<Path>,
    bytes: usize,
    most_files: usize,
    every_end: bool,
    reporter: Option<Arc<Reporter>>,
    counts: Arc<Counts>,
}

type Reporter = dyn Fn(&io::Result<PathBuf>) + Send + Sync;

#[derive(Default)]
struct Counts {
    written: AtomicU64,
    unwritten: AtomicU64,
}

impl FlightRecorder {
    /// Writes to files in `folder` (which is made when it is needed), and keeps up to `bytes` bytes of memory (at least
    /// 1,024) a connection.
    pub fn new(folder: impl AsRef<Path>, bytes: usize) -> Self {
        Self {
            folder: folder.as_ref().into(),
            bytes: bytes.max(1024),
            most_files: 100,
            every_end: false,
            reporter: None,
            counts: Arc::default(),
        }
    }

    /// Writes nothing once this many files are in the folder, whoever put them there: 100, unless told otherwise.
    #[must_use]
    pub fn at_most(mut self, files: usize) -> Self {
        self.most_files = files;
        self
    }

    /// Writes a file for every connection that ends, in order or not.
    #[must_use]
    pub fn of_every_end(mut self) -> Self {
        self.every_end = true;
        self
    }

    /// Has `reporter` told of each file written, or why it was not. It is called in the middle of a callback of the
    /// loop, so it notes what it is told and returns. That a file can't be written never concerns the connection.
    #[must_use]
    pub fn reporting_to(mut self, reporter: impl Fn(&io::Result<PathBuf>) + Send + Sync + 'static) -> Self {
        self.reporter = Some(Arc::new(reporter));
        self
    }

    /// Records what happens to `protocol`.
    pub fn around<P: Protocol>(&self, protocol: P) -> Recorded<P> {
        let layered = Layered::new(Tape::new(self.bytes), protocol);
        Recorded { layered, recorder: self.clone(), id: None, asked: false }
    }

    /// How many files it has written.
    #[must_use]
    pub fn written(&self) -> u64 {
        self.counts.written.load(Ordering::Relaxed)
    }

    /// How many it could not write.
    #[must_use]
    pub fn unwritten(&self) -> u64 {
        self.counts.unwritten.load(Ordering::Relaxed)
    }

    fn write(&self, name: &str, schedule: &Schedule) -> io::Result<PathBuf> {
        let result = self.create(name, &schedule.encode());
        let counter = if result.is_ok() { &self.counts.written } else { &self.counts.unwritten };
        counter.fetch_add(1, Ordering::Relaxed);
        if let Some(reporter) = &self.reporter {
            reporter(&result);
        }
        result
    }

    /// A new file with these bytes: none is ever written over.
    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
        fs::create_dir_all(&self.folder)?;
        let there = fs::read_dir(&self.folder)?.count();
        for number in 0..=there {
            if there >= self.most_files {
                break;
            }
            let path = self.folder.join(format!("{name}-{number}"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(mut file) => return file.write_all(bytes).map(|()| path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        let text = format!("{}: {there} files there, {} allowed", self.folder.display(), self.most_files);
        Err(io::Error::new(io::ErrorKind::QuotaExceeded, text))
    }
}

/// A protocol whose [`FlightRecorder`] is on.
///
/// To the connection it is the protocol itself. A [switch](Context::switch_to) replaces what is recorded, not the
/// recorder. Whoever asks the loop for the protocol of a connection asks for this type:
///
/// ```
/// use switchboard::testkit::{FlightRecorder, Harness, Recorded};
/// use switchboard_echo::TcpEcho;
///
/// let recorder = FlightRecorder::new("flights", 64 << 10);
/// let mut harness = Harness::new(recorder.around(TcpEcho));
/// harness.feed(b"hello");
/// let recorded = harness.protocol::<Recorded<TcpEcho>>().unwrap();
/// assert_eq!(recorded.recording().to_string(), "feed \"hello\"\nrecorded: sent \"hello\"\n");
/// ```
pub struct Recorded<P> {
    layered: Layered<Tape, P>,
    recorder: FlightRecorder,
    id: Option<ConnectionId>,
    /// The protocol has asked for an end.
    asked: bool,
}

impl<P: Protocol> Recorded<P> {
    /// The protocol that is recorded; `None` if another has taken over.
    pub fn protocol(&self) -> Option<&P> {
        self.layered.inner().get()
    }

    /// The protocol that is recorded, to be changed; `None` if another has taken over.
    pub fn protocol_mut(&mut self) -> Option<&mut P> {
        self.layered.inner_mut().get_mut()
    }

    /// What is on record now.
    #[must_use]
    pub fn recording(&self) -> Schedule {
        self.layered.layer().schedule()
    }

    /// Writes what is on record now to a file of its own, and says which.
    ///
    /// # Errors
    ///
    /// What the system says; or [`QuotaExceeded`](io::ErrorKind::QuotaExceeded), if there are as many files as may be. It
    /// is counted and reported, too.
    pub fn write(&self) -> io::Result<PathBuf> {
        self.recorder.write(&self.name(), &self.recording())
    }

    /// The beginning of a file's name: the protocol and the connection.
    fn name(&self) -> String {
        let id = self.id.map_or_else(|| "unopened".to_owned(), |id| id.to_string());
        format!("{}-{id}", plain_name(std::any::type_name::<P>()))
    }

    /// One callback, delegated.
    fn call(
        &mut self,
        cx: &mut Context<'_>,
        callback: impl FnOnce(&mut Layered<Tape, P>, &mut Context<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let result = callback(&mut self.layered, cx);
        self.asked |= cx.requests != Requests::None;
        result
    }
}

/// The names of types, without their paths, as a file may be called: `Layered-Heartbeat-PingPong`.
fn plain_name(type_name: &str) -> String {
    let words = type_name.split(|char: char| !(char.is_alphanumeric() || char == '_' || char == ':'));
    let last_parts = words.filter_map(|word| word.rsplit(':').next()).filter(|part| !part.is_empty());
    last_parts.collect::<Vec<_>>().join("-").chars().take(80).collect()
}

impl<P: Protocol> Protocol for Recorded<P> {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.id = Some(cx.id());
        self.call(cx, Protocol::on_open)
    }

    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        self.call(cx, |layered, cx| layered.on_data(cx, input))
    }

    fn on_eof(&mut self, cx: &mut Context<'_>, rest: &mut Input<'_>) -> Result<(), Failure> {
        self.call(cx, |layered, cx| layered.on_eof(cx, rest))
    }

    /// A layer would see its own timers only: so those of the protocol are noted here.
    fn on_timer(&mut self, cx: &mut Context<'_>, timer: TimerId) -> Result<(), Failure> {
        self.layered.layer_mut().note(cx, Operation::Timer);
        self.call(cx, |layered, cx| layered.on_timer(cx, timer))
    }

    fn on_drain(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.call(cx, Protocol::on_drain)
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        self.call(cx, |layered, cx| layered.on_message(cx, message))
    }

    fn on_shutdown(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        self.call(cx, Protocol::on_shutdown)
    }

    fn on_close(&mut self, cx: &mut Closing<'_>, reason: &CloseReason) {
        self.layered.layer_mut().note_close(cx.now(), reason, self.asked);
        if self.recorder.every_end || matches!(reason, CloseReason::Failure(_) | CloseReason::Limit(_)) {
            let _ = self.write(); // counted and reported there
        }
        self.layered.on_close(cx, reason);
    }
}

impl fmt::Debug for FlightRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightRecorder")
            .field("folder", &self.folder)
            .field("bytes", &self.bytes)
            .field("most_files", &self.most_files)
            .field("of_every_end", &self.every_end)
            .field("written", &self.written())
            .field("unwritten", &self.unwritten())
            .finish_non_exhaustive()
    }
}

impl<P> fmt::Debug for Recorded<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorded").field("id", &self.id).field("recorder", &self.recorder).finish_non_exhaustive()
    }
}
