//! On what it was measured.

use std::process::Command;
use std::time::SystemTime;
use std::{env, fs};

use anyhow::{Context, Result};

use crate::contenders::{ALL, LIBUV, Launch, NATIVE, UWEBSOCKETS};
use crate::lab::Lab;

/// The date, the machine, and every version.
pub(crate) fn describe(lab: &Lab) -> Result<String> {
    let processors = std::thread::available_parallelism()?;
    let information = fs::read_to_string("/proc/cpuinfo")?;
    let model = information.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut packages: Vec<_> =
        ALL.iter().filter(|it| !matches!(it.launch, Launch::Switchboard(_))).map(|it| it.package).collect();
    packages.sort_unstable();
    packages.dedup();
    let versions: Vec<String> = packages.iter().map(|name| locked(name)).collect::<Result<_>>()?;
    Ok(format!(
        "Measured on {}: {processors} processors ({}), Linux {}, {}, {}. Peers: {}. {}",
        today(),
        model.trim_start_matches(['\t', ' ', ':']),
        kernel.trim(),
        version("rustc")?,
        version("valgrind").unwrap_or_else(|_| "no valgrind".to_owned()),
        versions.join(", "),
        native(lab)?,
    ))
}

/// How those in C and C++ were built, and which were not.
fn native(lab: &Lab) -> Result<String> {
    let left_out = format!("Left out: {}.", lab.left_out.join(", "));
    if lab.left_out.len() == NATIVE.len() {
        return Ok(left_out);
    }
    let left_out = if lab.left_out.is_empty() { String::new() } else { format!(" {left_out}") };
    let compiler = env::var("CXX").unwrap_or_else(|_| "g++".to_owned()); // as make has it
    Ok(format!(
        "uWebSockets and uSockets are those of {}, libuv that of {}, built by {} with `-O3 -march=native -flto`: unlike \
         the servers in Rust for this very processor, but without AVX-512, which valgrind does not know.{left_out}",
        locked(UWEBSOCKETS)?,
        locked(LIBUV)?,
        version(&compiler).unwrap_or_else(|_| "no C++ compiler".to_owned()),
    ))
}

/// The day, in UTC.
pub(crate) fn today() -> String {
    let now = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    now.split('T').next().unwrap_or_default().to_owned()
}

fn version(tool: &str) -> Result<String> {
    let output = Command::new(tool).arg("--version").output().with_context(|| tool.to_owned())?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// A package and its version in this workspace's lock file.
fn locked(name: &str) -> Result<String> {
    let line = format!("name = \"{name}\"\nversion = \"");
    // The last one, where there are several: what the peers depend on is the newest.
    let (_, rest) =
        include_str!("../Cargo.lock").rsplit_once(&line).with_context(|| format!("{name} is not locked"))?;
    let (version, _) = rest.split_once('"').with_context(|| format!("{name} has no version"))?;
    Ok(format!("{name} {version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_has_a_locked_version() {
        for contender in ALL.iter().filter(|it| !matches!(it.launch, Launch::Switchboard(_))) {
            let version = locked(contender.package).unwrap();
            assert!(version.split_once(' ').unwrap().1.starts_with(|it: char| it.is_ascii_digit()), "{version}");
        }
    }
}
