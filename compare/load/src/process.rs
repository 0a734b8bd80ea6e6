//! What a process has used, by `/proc`.

use std::fs;
use std::ops::Sub;

use anyhow::{Context, Result};

/// The processor time of all threads of a process, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Spent on a processor.
    pub running: u64,
    /// Spent waiting for one, ready to run: somebody else had it.
    pub waiting: u64,
}

impl Usage {
    /// Of the process `pid`, up to now.
    pub fn of(pid: u32) -> Result<Self> {
        let mut usage = Self::default();
        for task in fs::read_dir(format!("/proc/{pid}/task")).with_context(|| format!("process {pid}"))? {
            let path = task?.path().join("schedstat");
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let mut figures = text.split_whitespace().map_while(|figure| figure.parse::<u64>().ok());
            usage.running += figures.next().with_context(|| path.display().to_string())?;
            usage.waiting += figures.next().with_context(|| path.display().to_string())?;
        }
        Ok(usage)
    }
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self { running: self.running - earlier.running, waiting: self.waiting - earlier.waiting }
    }
}

/// Bytes of memory that process `pid` holds (`VmRSS`).
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kibibytes: u64 = line.trim().trim_end_matches("kB").trim_end().parse()?;
    Ok(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        let pid = std::process::id();
        let memory = vec![1_u8; 64 << 20];
        assert!(resident_bytes(pid).unwrap() > memory.len() as u64);
        assert!(Usage::of(pid).unwrap().running > 0);
    }
}
