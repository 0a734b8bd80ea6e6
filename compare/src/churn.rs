//! Connections that come and go: with a processor for the load alone, with a load on each of two, and with the server's for
//! both.
//!
//! A client's end of a connection costs more than the server's, so a load with its own processor sets the pace, and the more
//! a server sleeps since it has done its work, the more often the load pays to wake it. Where a load has the server's
//! processor, too, that one never sleeps, and the pace is what both take together.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use load::{Churn, Protocol, Usage};

use crate::contenders::title;
use crate::cpu::{beside_the_first, note};
use crate::lab::{Lab, Server, pin};
use crate::table::Table;

/// Connections at a time, of all loads.
const WIDTH: usize = 64;

/// The processor of the servers.
const SERVERS: usize = 0;

/// The processors of the loads.
const PLACES: [(&str, &[usize]); 3] =
    [("", &[1]), (", a load on each processor", &[SERVERS, 1]), (", load and server on one processor", &[SERVERS])];

/// Slices of time until the system keeps as many in TIME_WAIT as it keeps at most: each connection costs a little more then.
const WARM_UP: u32 = 13;

struct Rate {
    connections_a_second: f64,
    /// The server's microseconds for each.
    cost: f64,
    /// The part of its time for which the server waited for its processor.
    waited: f64,
}

pub(crate) fn measure(lab: &Lab) -> Result<String> {
    let (mut text, mut waits) = (String::new(), Vec::new());
    for (place, processors) in PLACES {
        text += &lab.tables(&[Protocol::Tcp, Protocol::Ws], |protocol, servers| {
            come_and_go(&servers[0], processors, WARM_UP * lab.slice)?;
            let results = lab.rounds(servers, "churn", |server| come_and_go(server, processors, lab.slice));
            let column = |value: fn(&Rate) -> f64| {
                let values = |rounds: &Option<Vec<_>>| rounds.as_ref().map(|it| it.iter().map(value).collect());
                beside_the_first(&results.iter().map(values).collect::<Vec<_>>())
            };
            let cells = column(|it| it.connections_a_second).into_iter().zip(column(|it| it.cost));
            let heading = format!("{}{place}", title(protocol));
            let mut table = Table::new(&heading, ["connections a second", "CPU microseconds a connection"]);
            for (server, (rate, cost)) in servers.iter().zip(cells) {
                table.row(server.name, [rate, cost]);
            }
            if !processors.contains(&SERVERS) {
                waits.extend(results.iter().flatten().flatten().map(|it| it.waited));
            }
            Ok(table)
        })?;
    }
    Ok(text + &note(lab, &waits))
}

fn come_and_go(server: &Server, processors: &[usize], duration: Duration) -> Result<Rate> {
    let (protocol, address) = (server.protocol, server.address);
    let churn = &Churn { protocol, address, width: WIDTH / processors.len(), duration, server: None };
    let before = Usage::of(server.pid())?;
    let reports = thread::scope(|scope| {
        let load = |&processor| scope.spawn(move || pin(processor).and_then(|()| load::churn(churn)));
        let loads: Vec<_> = processors.iter().map(load).collect();
        loads.into_iter().map(|load| load.join().expect("a load panicked")).collect::<Result<Vec<_>>>()
    })?;
    let used = Usage::of(server.pid())? - before;
    let connections: u64 = reports.iter().map(|it| it.connections).sum();
    Ok(Rate {
        connections_a_second: reports.iter().map(|it| it.rate).sum(),
        cost: used.running as f64 / 1e3 / connections as f64,
        waited: used.waiting as f64 / 1e9 / duration.as_secs_f64(),
    })
}
