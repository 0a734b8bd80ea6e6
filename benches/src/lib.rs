//! What the benches measure: the runtime on the system's loopback, as a server has it, with its clients in the same
//! thread. Valgrind counts the instructions of user space alone, so the kernel's part costs nothing there, and the
//! clients' is a few dozen instructions around a system call.

use std::time::Duration;

mod among;
mod crowd;
mod echo;
mod frames;
mod newcomers;
mod reference;
mod timers;

pub use among::Among;
pub use crowd::Crowd;
pub use echo::{Datagrams, Stream};
pub use frames::{binary, masked, text, unmasked};
pub use newcomers::{Handshakes, Newcomer};
pub use reference::Reference;
pub use timers::Armed;

/// How often each bench does what it is named after.
pub const ROUNDS: usize = 100;

/// How long a turn waits for what must come, before the bench has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Rounds before anything is measured: buffers have grown, and everything was called once.
const WARM_UP: usize = 3;
