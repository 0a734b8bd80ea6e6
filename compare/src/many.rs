//! What a message costs with thousands of connections.

use anyhow::Result;
use load::Protocol;

use crate::contenders::title;
use crate::instructions::instructions_a_message;
use crate::lab::Lab;
use crate::table::{Table, figure, ratio_cell};

const CONNECTIONS: [usize; 4] = [64, 1_000, 10_000, 19_000];
const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Ws];
/// Descriptors that a server has besides its connections.
const OTHERS: usize = 500;

pub(crate) fn measure(lab: &Lab) -> Result<String> {
    let workload = "1x20".parse()?;
    let possible = |count: &usize| *count + OTHERS <= lab.descriptors && (!lab.quick || *count <= 1_000);
    let counts: Vec<usize> = CONNECTIONS.into_iter().filter(possible).collect();
    let headings = counts.iter().map(|count| figure(*count as f64).trim_end_matches(".0").to_owned());
    let mut table = Table::new("instructions a message, 1x20, at so many connections", headings);
    for protocol in PROTOCOLS {
        // The limit beside it shows what the test itself adds; the peers' connections would take minutes.
        for contender in lab.contenders(protocol).iter().take(2) {
            let name = format!("{}: {}", title(protocol), contender.name);
            let mut first = None;
            let mut cells = Vec::new();
            for count in &counts {
                let value = instructions_a_message(lab, contender, workload, *count);
                let value = value.inspect_err(|error| eprintln!("{name}, {count} connections: {error:#}")).ok();
                cells.push(ratio_cell(value, value.zip(first).map(|(value, first): (f64, f64)| value / first)));
                first = first.or(value);
            }
            table.row(name, cells);
        }
    }
    Ok(format!("{table}In parentheses: times the cost at {} connections.\n", CONNECTIONS[0]))
}
