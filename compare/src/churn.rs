//! Connections that come and go: with a processor for the load alone, and with the server's for both.
//!
//! A client's end of a connection costs more than the server's, so a load with its own processor sets the pace, and the more
//! a server sleeps since it has done its work, the more often the load pays to wake it. On one processor the pace is what
//! both take together.

use anyhow::Result;
use load::{Churn, ChurnReport, Protocol};

use crate::contenders::title;
use crate::cpu::{beside_the_first, note};
use crate::lab::{Lab, pin};
use crate::table::Table;

/// Connections at a time.
const WIDTH: usize = 64;

pub(crate) fn measure(lab: &Lab) -> Result<String> {
    let tables = |processor, place| {
        lab.tables(&[Protocol::Tcp, Protocol::Ws], |protocol, servers| {
            pin(processor)?;
            let results = lab.rounds(servers, "churn", |server| {
                let (address, duration, server) = (server.address, lab.slice, Some(server.pid()));
                load::churn(&Churn { protocol, address, width: WIDTH, duration, server })
            });
            let column = |value: fn(&ChurnReport) -> f64| {
                let values =
                    |rounds: &Option<Vec<ChurnReport>>| rounds.as_ref().map(|it| it.iter().map(value).collect());
                beside_the_first(&results.iter().map(values).collect::<Vec<_>>())
            };
            let rates = column(|it| it.rate);
            let costs = column(|it| it.server_seconds_a_thousand.unwrap_or(f64::NAN) * 1e3);
            let mut table = Table::new(
                &format!("{}{place}", title(protocol)),
                ["connections a second", "CPU microseconds a connection"],
            );
            for (server, cells) in servers.iter().zip(rates.into_iter().zip(costs)) {
                table.row(server.name, [cells.0, cells.1]);
            }
            Ok(table)
        })
    };
    let (apart, together) = (tables(1, "")?, tables(0, ", load and server on one processor")?);
    Ok(format!("{apart}{together}{}", note(lab, &[])))
}
