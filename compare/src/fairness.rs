//! What one connection that sends as fast as it can does to the others.

use anyhow::Result;
use load::{Options, Protocol, Report};

use crate::contenders::title;
use crate::cpu::short;
use crate::lab::Lab;
use crate::table::{Table, cell, median};

const CONNECTIONS: usize = 63;

pub(crate) fn measure(lab: &Lab) -> Result<String> {
    let text = lab.tables(&[Protocol::Tcp, Protocol::Ws], |protocol, servers| {
        let results = lab.rounds(servers, "fairness", |server| {
            let run = |flood| {
                let options = Options::new(protocol, server.address, "1x20".parse()?);
                load::run(&Options { connections: CONNECTIONS, flood, ..short(options, lab, server) })
            };
            Ok((run(false)?, run(true)?))
        });
        let columns = ["p99 alone, µs", "p99 beside the flood, µs", "times", "the flood's echo, MB/s"];
        let mut table = Table::new(title(protocol), columns);
        for (server, rounds) in servers.iter().zip(&results) {
            let of = |value: fn(&Report, &Report) -> f64| {
                rounds.as_ref().and_then(|it| median(it.iter().map(|(alone, beside)| value(alone, beside))))
            };
            let cells = [
                of(|alone, _| alone.latency.p99),
                of(|_, beside| beside.latency.p99),
                of(|alone, beside| beside.latency.p99 / alone.latency.p99),
                of(|_, beside| beside.flooded as f64 / 1e6 / beside.seconds),
            ];
            table.row(server.name, cells.map(cell));
        }
        Ok(table)
    })?;
    Ok(format!("{text}Medians of {} rounds of {} ms.\n", lab.rounds, lab.slice.as_millis()))
}
