//! What the fuzzer once found stays found: its corpus, replayed by a plain test.

use std::fs;
use std::path::{Path, PathBuf};

use crate::testkit::trial::{aloud, with_context};

/// Runs every file of a folder, such as a fuzz target's corpus, in the order of their names; gives how many there
/// were. Folders inside, and files whose name begins with a dot, are passed over.
///
/// ```
/// use switchboard::testkit::{fuzz, replay_seeds};
/// use switchboard_echo::TcpEcho;
///
/// let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/echo");
/// replay_seeds(folder, |data| {
///     fuzz(|| TcpEcho, data);
/// });
/// ```
///
/// # Panics
///
/// If `run` panics: with the name of the file in front. And if there is no such folder, nothing in it, or a file that
/// can't be read: a test of nothing proves nothing.
#[track_caller]
pub fn replay_seeds(folder: impl AsRef<Path>, run: impl Fn(&[u8])) -> usize {
    let folder = folder.as_ref();
    let files = files(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    assert!(!files.is_empty(), "{}: no seeds there", folder.display());
    aloud(|| {
        for file in &files {
            let bytes = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            with_context(|| run(&bytes), |text| format!("{}: {text}", file.display()));
        }
    });
    files.len()
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && fs::metadata(entry.path())?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
