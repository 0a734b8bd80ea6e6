//! Builds the servers with cargo.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// An example of Switchboard's.
pub(crate) fn example(name: &str) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    executable(&root, &["--example", name])
}

/// A program of the peers' package.
pub(crate) fn peers(program: &str) -> Result<PathBuf> {
    executable(Path::new(env!("CARGO_MANIFEST_DIR")), &["--package", "peers", "--bin", program])
}

fn executable(workspace: &Path, what: &[&str]) -> Result<PathBuf> {
    eprintln!("building {} ...", what.join(" "));
    let output = Command::new("cargo")
        .args(["build", "--release", "--locked", "--message-format=json-render-diagnostics"])
        .args(what)
        .current_dir(workspace)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo")?;
    ensure!(output.status.success(), "cargo could not build {}", what.join(" "));
    // The last artifact is what was asked for; its message ends in its executable's path.
    let messages = String::from_utf8(output.stdout)?;
    let path = messages.lines().rev().find_map(|line| line.split_once(r#""executable":""#));
    let (path, _) = path.and_then(|(_, rest)| rest.split_once('"')).context("cargo names no executable")?;
    Ok(path.into())
}
