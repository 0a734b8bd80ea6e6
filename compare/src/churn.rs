//! Connections that come and go: with a processor for the load alone, with a load on each of two, and with the server's for
//! both.
//!
//! A client's end of a connection costs more than the server's, so a load with its own processor sets the pace, and the more
//! a server sleeps since it has done its work, the more often the load pays to wake it. Where a load has the server's
//! processor, too, that one never sleeps, and the pace is what both take together.

use std::thread;

use anyhow::Result;
use load::{Churn, Protocol, Usage};

use crate::contenders::title;
use crate::cpu::{beside_the_first, note};
use crate::lab::{Lab, Server, pin};
use crate::table::Table;

/// Connections at a time, of all loads.
const WIDTH: usize = 64;

/// The processors of the loads; the server's is the first.
const PLACES: [(&str, &[usize]); 3] =
    [("", &[1]), (", a load on each processor", &[0, 1]), (", load and server on one processor", &[0])];

pub(crate) fn measure(lab: &Lab) -> Result<String> {
    let mut text = String::new();
    for (place, processors) in PLACES {
        text += &lab.tables(&[Protocol::Tcp, Protocol::Ws], |protocol, servers| {
            let results = lab.rounds(servers, "churn", |server| come_and_go(lab, server, processors));
            let column = |value: fn(&(f64, f64)) -> f64| {
                let values = |rounds: &Option<Vec<_>>| rounds.as_ref().map(|it| it.iter().map(value).collect());
                beside_the_first(&results.iter().map(values).collect::<Vec<_>>())
            };
            let cells = column(|it| it.0).into_iter().zip(column(|it| it.1));
            let heading = format!("{}{place}", title(protocol));
            let mut table = Table::new(&heading, ["connections a second", "CPU microseconds a connection"]);
            for (server, (rate, cost)) in servers.iter().zip(cells) {
                table.row(server.name, [rate, cost]);
            }
            Ok(table)
        })?;
    }
    Ok(text + &note(lab, &[]))
}

/// Connections a second, and the server's microseconds for each.
fn come_and_go(lab: &Lab, server: &Server, processors: &[usize]) -> Result<(f64, f64)> {
    let (protocol, address) = (server.protocol, server.address);
    let churn = &Churn { protocol, address, width: WIDTH / processors.len(), duration: lab.slice, server: None };
    let before = Usage::of(server.pid())?;
    let reports = thread::scope(|scope| {
        let load = |&processor| scope.spawn(move || pin(processor).and_then(|()| load::churn(churn)));
        let loads: Vec<_> = processors.iter().map(load).collect();
        loads.into_iter().map(|load| load.join().expect("a load panicked")).collect::<Result<Vec<_>>>()
    })?;
    let used = Usage::of(server.pid())? - before;
    let connections: u64 = reports.iter().map(|it| it.connections).sum();
    let rate = reports.iter().map(|it| it.rate).sum();
    Ok((rate, used.running as f64 / 1e3 / connections as f64))
}
