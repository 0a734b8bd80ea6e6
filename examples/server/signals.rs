//! Ctrl-C and SIGTERM: the first drains the loop, the second stops it at once, a third does not even ask it.

use std::io;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use switchboard::Handle;

use crate::note;

/// How long connections have to say goodbye.
const GRACE: Duration = Duration::from_secs(4);

/// How the process was asked to end.
pub(crate) struct Asked {
    /// What it exits with: 0 if it was asked once.
    code: Arc<AtomicU8>,
}

impl Asked {
    pub(crate) fn exit_code(&self) -> ExitCode {
        self.code.load(Ordering::Relaxed).into()
    }
}

/// Waits for signals, on a thread of its own: the loop is reached through its handle.
pub(crate) fn listen(handle: Handle, quiet: bool) -> io::Result<Asked> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    let asked = Asked { code: Arc::default() };
    let code = Arc::clone(&asked.code);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        for (count, signal) in signals.forever().enumerate() {
            // A loop that has ended is on its way out already.
            let _ = match count {
                0 => {
                    if !quiet {
                        note(format_args!("Closing all connections (again to stop at once)"));
                    }
                    handle.shutdown(GRACE)
                }
                1 => {
                    code.store(by_signal(signal), Ordering::Relaxed);
                    handle.stop()
                }
                _ => process::exit(by_signal(signal).into()),
            };
        }
    })?;
    Ok(asked)
}

/// What shells call having been ended by a signal.
fn by_signal(signal: i32) -> u8 {
    u8::try_from(signal).map_or(1, |signal| signal.saturating_add(128))
}
