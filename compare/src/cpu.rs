//! Processor seconds of the server for a million messages.

use anyhow::{Context, Result};
use load::{Options, Protocol, Report};

use crate::contenders::title;
use crate::lab::{Lab, Server};
use crate::table::{Table, median, ratio_cell};

const WORKLOADS: [(Protocol, usize, &[&str]); 4] = [
    (Protocol::Tcp, 64, &["1x20", "16x20", "1x1024", "16x1024", "1x16384", "1x262144"]),
    // What is on its way is not to be more than a socket's buffer holds.
    (Protocol::Udp, 16, &["1x20", "16x20", "1x1024"]),
    (Protocol::Ws, 64, &["1x20", "16x20", "1x1024:ascii", "16x1024:ascii", "1x1024:mixed", "1x16384", "1x262144"]),
    (Protocol::Wsz, 64, &["1x1024:json", "8x1024:json"]),
];

pub(crate) fn measure(lab: &Lab) -> Result<String> {
    let mut waits = Vec::new();
    let text = lab.tables(&WORKLOADS.map(|(protocol, ..)| protocol), |protocol, servers| {
        let of_protocol = WORKLOADS.iter().find(|(it, ..)| *it == protocol).context("workloads")?;
        let (_, connections, usual) = *of_protocol;
        let workloads = lab.workloads(usual)?;
        let mut rows = vec![Vec::new(); servers.len()];
        for workload in &workloads {
            let results = lab.rounds(servers, &workload.to_string(), |server| {
                let options = Options::new(protocol, server.address, *workload);
                load::run(&Options { connections, ..short(options, lab, server) })
            });
            let costs = results.iter().map(|rounds| rounds.as_deref().map(|it| it.iter().filter_map(cost).collect()));
            for (row, cell) in rows.iter_mut().zip(beside_the_first(&costs.collect::<Vec<_>>())) {
                row.push(cell);
            }
            waits.extend(results.iter().flatten().flatten().filter_map(|it| it.server).map(|it| it.waited));
            eprintln!("{} {workload}: {}", title(protocol), rows[0].last().map_or("", String::as_str));
        }
        let heading = format!("{}: CPU seconds a million messages", title(protocol));
        let mut table = Table::new(&heading, &workloads);
        for (server, row) in servers.iter().zip(rows) {
            table.row(server.name, row);
        }
        Ok(table)
    })?;
    Ok(format!("{text}{}", note(lab, &waits)))
}

fn cost(report: &Report) -> Option<f64> {
    report.server.map(|it| it.seconds_a_million)
}

/// A load of one round.
pub(crate) fn short(options: Options, lab: &Lab, server: &Server) -> Options {
    Options { warm_up: lab.slice / 3, duration: lab.slice, server: Some(server.pid()), ..options }
}

/// The median of each server's rounds; with the median of its ratios to the first server's, round by round.
pub(crate) fn beside_the_first(costs: &[Option<Vec<f64>>]) -> Vec<String> {
    let first = costs.first().and_then(Option::as_deref);
    let cell = |(index, rounds): (usize, &Option<Vec<f64>>)| {
        let Some(rounds) = rounds else { return ratio_cell(None, None) };
        let ratio = first.filter(|_| index > 0).and_then(|first| median(rounds.iter().zip(first).map(|(a, b)| a / b)));
        ratio_cell(median(rounds.iter().copied()), ratio)
    };
    costs.iter().enumerate().map(cell).collect()
}

/// How it was taken, and how much the machine was disturbed, where that was measured.
pub(crate) fn note(lab: &Lab, waits: &[f64]) -> String {
    let waited = median(waits.iter().copied()).map_or_else(String::new, |middle| {
        let most = waits.iter().copied().fold(0.0, f64::max);
        let (middle, most) = (middle * 100.0, most * 100.0);
        format!(" The servers waited for their processor {middle:.1} % of the time (at most {most:.0} %).")
    });
    format!(
        "Medians of {} rounds of {} ms; in parentheses the median of the ratios to Switchboard's, round by \
         round.{waited}\n",
        lab.rounds,
        lab.slice.as_millis(),
    )
}
