//! Connections that come and go.

use anyhow::Result;
use load::{Churn, ChurnReport, Protocol};

use crate::contenders::title;
use crate::cpu::{beside_the_first, note};
use crate::lab::Lab;
use crate::table::Table;

/// Connections at a time.
const WIDTH: usize = 64;

pub(crate) fn measure(lab: &Lab) -> Result<String> {
    let mut text = String::new();
    for protocol in [Protocol::Tcp, Protocol::Ws] {
        let contenders = lab.contenders(protocol);
        if contenders.is_empty() {
            continue;
        }
        let servers = contenders.iter().map(|it| lab.start(it)).collect::<Result<Vec<_>>>()?;
        let results = lab.rounds(&servers, "churn", |server| {
            let (address, duration, server) = (server.address, lab.slice, Some(server.pid()));
            load::churn(&Churn { protocol, address, width: WIDTH, duration, server })
        });
        let column = |value: fn(&ChurnReport) -> f64| {
            let values = |rounds: &Option<Vec<ChurnReport>>| rounds.as_ref().map(|it| it.iter().map(value).collect());
            beside_the_first(&results.iter().map(values).collect::<Vec<_>>())
        };
        let rates = column(|it| it.rate);
        let costs = column(|it| it.server_seconds_a_thousand.unwrap_or(f64::NAN) * 1e3);
        let mut table = Table::new(title(protocol), ["connections a second", "CPU microseconds a connection"]);
        for (server, cells) in servers.iter().zip(rates.into_iter().zip(costs)) {
            table.row(server.name, [cells.0, cells.1]);
        }
        text += &table.to_string();
    }
    Ok(format!("{text}{}", note(lab, &[])))
}
