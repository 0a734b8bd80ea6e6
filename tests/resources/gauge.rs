//! Instruments.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Keeps the tests of this program apart, as long as it lives.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner) // one that failed leaves nothing half done
}

/// Descriptors that this process has open, the one for looking not counted.
pub(crate) fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// Raises this process' limit of descriptors to at least `wanted`, as far as the machine lets it.
pub(crate) fn need_descriptors(wanted: u64) {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    assert!(limit >= wanted, "this test needs {wanted} descriptors, the machine gives a process {limit}");
}

/// What `f` does to this thread's heap.
pub(crate) fn heap(f: impl FnOnce()) -> Heap {
    let info = allocation_counter::measure(f);
    Heap { allocations: info.count_total, change: info.bytes_current }
}

/// What was measured of a thread's heap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heap {
    /// How often memory was asked for.
    pub(crate) allocations: u64,
    /// Bytes more at the end than at the beginning.
    pub(crate) change: i64,
}

/// The processor time of one thread. Looking at it takes no descriptor.
pub(crate) struct Processor(File);

impl Processor {
    /// Of the thread that calls this.
    pub(crate) fn of_this_thread() -> Self {
        let thread = fs::read_link("/proc/thread-self").unwrap();
        Self(File::open(PathBuf::from("/proc").join(thread).join("schedstat")).unwrap())
    }

    /// What it has used so far.
    pub(crate) fn used(&self) -> Duration {
        let mut text = [0; 100];
        let count = self.0.read_at(&mut text, 0).unwrap();
        let text = str::from_utf8(&text[..count]).unwrap();
        Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
    }
}
