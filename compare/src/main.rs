//! Measures Switchboard beside its peers: see `README.md`.

mod build;
mod churn;
mod contenders;
mod cpu;
mod document;
mod environment;
mod fairness;
mod instructions;
mod lab;
mod latency;
mod many;
mod memory;
mod quoted;
mod table;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Args, Parser, ValueEnum};
use load::{Protocol, Workload};

use lab::Lab;

/// Measures Switchboard beside its peers, and prints tables in Markdown.
#[derive(Parser)]
#[command(name = "compare")]
struct Cli {
    /// What to measure
    what: What,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// User-space instructions a message (valgrind's callgrind), and system calls a message (strace)
    Instructions,
    /// Memory of an idle WebSocket connection, and after one echo of 1 MiB
    Memory,
    /// Instructions a message at 64 to 19,000 connections
    Many,
    /// Processor seconds of the server for a million messages
    Cpu,
    /// Latencies at 1 and at 64 connections
    Latency,
    /// Connections a second that come, have a message echoed, and go
    Churn,
    /// Latency of 63 connections beside one that sends as fast as it can
    Fairness,
    /// What holds still while the machine does something else: instructions, memory, many
    Counts,
    /// What wants a machine that does nothing else: cpu, latency, churn, fairness
    Times,
    /// Everything
    Table,
}

#[derive(Args)]
struct Options {
    /// Only to see that it works: few messages, short rounds, few servers under valgrind
    #[arg(long)]
    quick: bool,
    /// Switchboard's bench_server; built if not given
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Only these servers, by what their names in the tables begin with; Switchboard is always there
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
    /// Only this protocol
    #[arg(long)]
    protocol: Option<Protocol>,
    /// Only these, for instructions and cpu: 1x20, or 16x1024:ascii
    #[arg(long, value_name = "DEPTHxSIZE", value_delimiter = ',')]
    workload: Vec<Workload>,
    /// Put each section between its marks in this file, rather than print it
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

const COUNTS: [What; 3] = [What::Instructions, What::Memory, What::Many];
const TIMES: [What; 4] = [What::Cpu, What::Latency, What::Churn, What::Fairness];

fn main() -> Result<()> {
    let Cli { what, options } = Cli::parse();
    let lab = Lab::new(&options)?;
    let sections: &[What] = match what {
        What::Counts => &COUNTS,
        What::Times => &TIMES,
        What::Table => &[COUNTS.as_slice(), &TIMES].concat(),
        one => &[one],
    };
    document::write(options.write.as_deref(), "environment", &environment::describe(&lab)?)?;
    for section in sections {
        let name = section.to_possible_value().context("a section")?.get_name().to_owned();
        let text = match section {
            What::Instructions => instructions::measure(&lab)?,
            What::Memory => memory::measure(&lab)?,
            What::Many => many::measure(&lab)?,
            What::Cpu => cpu::measure(&lab)?,
            What::Latency => latency::measure(&lab)?,
            What::Churn => churn::measure(&lab)?,
            What::Fairness => fairness::measure(&lab)?,
            What::Counts | What::Times | What::Table => continue, // groups, not sections
        };
        document::write(options.write.as_deref(), &name, &text)?;
    }
    Ok(())
}
