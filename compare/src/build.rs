//! Builds the servers: with cargo, and, where it is made of other sources, with make.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// An example of Switchboard's.
pub(crate) fn example(name: &str) -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    executable(&root, &["--example", name])
}

/// A program of the peers' package.
pub(crate) fn peers(program: &str) -> Result<PathBuf> {
    executable(here(), &["--package", "peers", "--bin", program])
}

/// A program of `native/`, on a library in C or C++ whose sources a package carries.
pub(crate) fn native(program: &str) -> Result<PathBuf> {
    eprintln!("building {program} ...");
    let metadata = cargo(here(), &["metadata", "--format-version=1"])?;
    let metadata: Value = serde_json::from_str(&metadata)?;
    let sources = |package: &str, folder| {
        let mut packages = metadata["packages"].as_array().into_iter().flatten();
        let manifest = packages.find(|it| it["name"] == package).and_then(|it| it["manifest_path"].as_str());
        let manifest = manifest.with_context(|| format!("cargo does not say where {package} is"))?;
        anyhow::Ok(Path::new(manifest).with_file_name(folder).display().to_string())
    };
    let target = metadata["target_directory"].as_str().context("cargo names no target directory")?;
    let out = Path::new(target).join("native");
    let output = Command::new("make")
        .arg("--directory")
        .arg(here().join("native"))
        .arg(format!("OUT={}", out.display()))
        .arg(format!("UWEBSOCKETS={}", sources("libuwebsockets-sys", "uWebSockets")?))
        .arg(format!("LIBUV={}", sources("libuv-sys2", "libuv")?))
        .args(["--silent", program])
        .output()
        .context("make")?;
    let complaints = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}", complaints.lines().next().unwrap_or("make fails"));
    Ok(out.join(program))
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn executable(workspace: &Path, what: &[&str]) -> Result<PathBuf> {
    eprintln!("building {} ...", what.join(" "));
    let build = ["build", "--release", "--message-format=json-render-diagnostics"];
    let messages = cargo(workspace, &[&build, what].concat())?;
    // The last artifact is what was asked for.
    let artifacts = messages.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let path = artifacts.filter_map(|it| it["executable"].as_str().map(PathBuf::from)).next();
    path.context("cargo names no executable")
}

/// What it prints.
fn cargo(workspace: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("cargo")
        .args(arguments)
        .arg("--locked")
        .current_dir(workspace)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo")?;
    ensure!(output.status.success(), "cargo {} failed", arguments.join(" "));
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_make_cannot_build_is_an_error_with_its_reason() {
        let error = native("no-such-program").unwrap_err().to_string();
        assert!(error.contains("make") && error != "make fails", "{error}");
    }
}
