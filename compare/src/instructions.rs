//! User-space instructions and system calls a message: what other work on the machine does not change.
//!
//! A server runs twice under a tool, with a different number of messages; the difference of what the tool counted, by
//! the difference of messages, is the cost of a message, free of what starting, connecting and stopping cost.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use load::{Options, Protocol, Workload};
use tempfile::TempDir;

use crate::contenders::{Contender, title};
use crate::lab::{Lab, Server};
use crate::quoted;
use crate::table::{Table, cell, figure};

const CONNECTIONS: usize = 16;
/// Messages of the first run; that many more, at least, are in the second.
const MESSAGES: u64 = 1024;
/// The second run is not to take more instructions than this, where the first one lets one guess.
const INSTRUCTIONS: u64 = 100_000_000;
const SYSTEM_CALLS: [u64; 2] = [1024, 5120];

const WORKLOADS: [(Protocol, &[&str]); 3] = [
    (Protocol::Tcp, &["1x20", "16x20", "1x1024", "16x1024", "1x16384"]),
    (Protocol::Udp, &["1x20", "16x20"]),
    (Protocol::Ws, &["1x20", "16x20", "1x1024:ascii", "16x1024:ascii", "1x16384"]),
];

pub(crate) fn measure(lab: &Lab) -> Result<String> {
    let mut text = String::new();
    for (protocol, usual) in WORKLOADS {
        let workloads = lab.workloads(if lab.quick { &usual[..1] } else { usual })?;
        let mut contenders = lab.contenders(protocol);
        contenders.truncate(if lab.quick { 2 } else { contenders.len() });
        if contenders.is_empty() {
            continue;
        }
        let mut instructions = Table::new(&format!("{}: instructions", title(protocol)), &workloads);
        let mut system_calls = Table::new(&format!("{}: system calls", title(protocol)), &workloads);
        for contender in &contenders {
            let instructions_of = |it: &Workload| {
                shown(instructions_a_message(lab, contender, *it, CONNECTIONS), contender, it, "instructions")
            };
            instructions.row(contender.name, workloads.iter().map(instructions_of));
            let calls_of =
                |it: &Workload| shown(system_calls_a_message(lab, contender, *it), contender, it, "system calls");
            system_calls.row(contender.name, workloads.iter().map(calls_of));
        }
        let (quoted_protocol, quotes) = quoted::INSTRUCTIONS;
        if protocol == quoted_protocol {
            let quoted = |workload: &Workload| {
                let found = quotes.iter().find(|(it, _)| *it == workload.to_string());
                found.map_or_else(String::new, |(_, value)| figure(*value))
            };
            instructions.row(quoted::NAME, workloads.iter().map(quoted));
        }
        text += &format!("{instructions}{system_calls}");
    }
    Ok(text + quoted::NOTE)
}

/// The value's cell, which is told at once; an error is told and leaves a dash.
fn shown(value: Result<f64>, contender: &Contender, workload: &Workload, what: &str) -> String {
    let outcome = match &value {
        Ok(value) => format!("{} {what}", figure(*value)),
        Err(error) => format!("{error:#}"),
    };
    eprintln!("{}, {} {workload}: {outcome}", title(contender.protocol), contender.name);
    cell(value.ok())
}

/// User-space instructions a message, by callgrind.
pub(crate) fn instructions_a_message(
    lab: &Lab,
    contender: &Contender,
    workload: Workload,
    connections: usize,
) -> Result<f64> {
    let batches = (connections * workload.depth) as u64;
    let first = MESSAGES.next_multiple_of(batches);
    let count = |messages| callgrind(lab, contender, workload, connections, messages);
    let before = count(first)?;
    let affordable = INSTRUCTIONS / (before / first).max(1);
    let more = affordable.clamp(first, 16 * MESSAGES.max(batches)).next_multiple_of(batches);
    let after = count(first + more)?;
    Ok((after as f64 - before as f64) / more as f64)
}

fn callgrind(lab: &Lab, contender: &Contender, workload: Workload, connections: usize, messages: u64) -> Result<u64> {
    let directory = TempDir::new()?;
    let file = directory.path().join("callgrind");
    let option: OsString = format!("--callgrind-out-file={}", file.display()).into();
    let server = lab.start_under(contender, &["valgrind".into(), "--tool=callgrind".into(), option])?;
    run(&server, workload, connections, messages)?;
    server.settle()?;
    server.stop()?;
    let text = fs::read_to_string(&file).context("valgrind has written nothing")?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).context("callgrind has no totals")?;
    Ok(total.parse()?)
}

/// System calls a message, by strace.
fn system_calls_a_message(lab: &Lab, contender: &Contender, workload: Workload) -> Result<f64> {
    let [first, second] = SYSTEM_CALLS;
    let count = |messages| strace(lab, contender, workload, messages);
    Ok((count(second)? as f64 - count(first)? as f64) / (second - first) as f64)
}

fn strace(lab: &Lab, contender: &Contender, workload: Workload, messages: u64) -> Result<u64> {
    let directory = TempDir::new()?;
    let file = directory.path().join("strace");
    let tool = ["strace".into(), "-f".into(), "-c".into(), "-o".into(), file.clone().into()];
    let server = lab.start_under(contender, &tool)?;
    run(&server, workload, CONNECTIONS, messages)?;
    server.settle()?;
    server.stop()?;
    total_calls(&file)
}

/// The number of calls in the last line of strace's summary.
fn total_calls(file: &Path) -> Result<u64> {
    let text = fs::read_to_string(file).context("strace has written nothing")?;
    let line = text.lines().find(|line| line.ends_with(" total")).context("strace has no total")?;
    Ok(line.split_whitespace().nth(3).context("strace's total")?.parse()?)
}

fn run(server: &Server, workload: Workload, connections: usize, messages: u64) -> Result<()> {
    let options = Options {
        connections,
        messages: Some(messages),
        spin: false, // the server wants the processor
        ..Options::new(server.protocol, server.address, workload)
    };
    load::run(&options)?;
    Ok(())
}
