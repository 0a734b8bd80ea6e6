//! Which files may be had, and what is known of them.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

/// A file's version: another time or length is another content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) len: u64,
    modified: Option<SystemTime>,
}

impl Version {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let about = file.metadata()?;
        Ok(Self { len: about.len(), modified: about.modified().ok() })
    }
}

/// Whether a name leads downward only: no `..`, not absolute, no drive, nothing but parts.
pub(crate) fn is_plain(name: &Path) -> bool {
    let mut parts = name.components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// Opens a regular file below `root`, which is canonical. A link may lead from one place in it to another, but not out
/// of it. (Whoever can change the directory while it is served is trusted not to.)
pub(crate) fn open(root: &Path, name: &str) -> io::Result<File> {
    let name = Path::new(name);
    if !is_plain(name) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a name is parts below the directory"));
    }
    let path: PathBuf = root.join(name).canonicalize()?;
    if !path.starts_with(root) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is outside of the directory"));
    }
    // Before it is opened: a pipe would wait for somebody to write to it.
    if !path.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
    }
    File::open(path)
}
