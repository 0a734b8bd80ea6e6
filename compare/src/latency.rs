//! From sending a message until its reply is there.

use anyhow::Result;
use load::{Latency, Options, Protocol};

use crate::contenders::title;
use crate::cpu::{beside_the_first, note, short};
use crate::lab::Lab;
use crate::table::Table;

const CONNECTIONS: [usize; 2] = [1, 64];
const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Ws];

pub(crate) fn measure(lab: &Lab) -> Result<String> {
    let mut waits = Vec::new();
    let text = lab.tables(&PROTOCOLS, |protocol, servers| {
        let mut rows = vec![Vec::new(); servers.len()];
        for connections in CONNECTIONS {
            let results = lab.rounds(servers, &format!("{connections} connections"), |server| {
                let options = Options::new(protocol, server.address, "1x20".parse()?);
                load::run(&Options { connections, ..short(options, lab, server) })
            });
            let quantiles: [fn(&Latency) -> f64; 2] = [|it| it.p50, |it| it.p99];
            for quantile in quantiles {
                let values = |rounds: &Option<Vec<load::Report>>| {
                    rounds.as_ref().map(|it| it.iter().map(|report| quantile(&report.latency)).collect())
                };
                let cells = beside_the_first(&results.iter().map(values).collect::<Vec<_>>());
                rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
            }
            waits.extend(results.iter().flatten().flatten().filter_map(|it| it.server).map(|it| it.waited));
        }
        let heading = format!("{}: microseconds, 1x20", title(protocol));
        let columns = CONNECTIONS.iter().flat_map(|count| [format!("{count}: p50"), format!("{count}: p99")]);
        let mut table = Table::new(&heading, columns);
        for (server, row) in servers.iter().zip(rows) {
            table.row(server.name, row);
        }
        Ok(table)
    })?;
    Ok(format!("{text}{}", note(lab, &waits)))
}
