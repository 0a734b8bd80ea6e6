//! Memory of a WebSocket connection, by the server's resident set.

use std::thread;
use std::time::Duration;

use anyhow::Result;
use load::{Held, Protocol, resident_bytes};

use crate::contenders::{Contender, EXAMPLE};
use crate::lab::Lab;
use crate::quoted;
use crate::table::{Table, cell, figure};

const CONNECTIONS: usize = 10_000;
/// Those that have a message echoed first; if the server keeps much of it, few others have.
const SOME: usize = 100;
const FEW: usize = 1_000;
const MUCH: f64 = 64.0 * 1024.0;
/// What a server keeps for longer after its last message, it keeps.
const REST: Duration = Duration::from_secs(2);

pub(crate) fn measure(lab: &Lab) -> Result<String> {
    let mut table = Table::new("bytes of a WebSocket connection", ["idle", "after an echo of 1 MiB"]);
    let mut contenders = lab.contenders(Protocol::Ws);
    if !contenders.is_empty() {
        contenders.insert(1, EXAMPLE);
    }
    for contender in &contenders {
        match one(lab, contender) {
            Ok((idle, after)) => table.row(contender.name, [figure(idle), figure(after)]),
            Err(error) => {
                eprintln!("{}: {error:#}", contender.name);
                table.row(contender.name, [cell(None), cell(None)]);
            }
        }
    }
    table.row(quoted::NAME, quoted::MEMORY.map(figure));
    Ok(format!("{table}{}", quoted::NOTE))
}

fn one(lab: &Lab, contender: &Contender) -> Result<(f64, f64)> {
    let count = if lab.quick { 10 * SOME } else { CONNECTIONS };
    let server = lab.start(contender)?;
    let resident = || {
        server.settle()?;
        thread::sleep(REST);
        anyhow::Ok(resident_bytes(server.pid())? as f64)
    };
    // What is built with the first connection is the server's own.
    Held::open(server.protocol, server.address, 1)?.echo(1, "1x20".parse()?)?;
    let empty = resident()?;
    let mut held = Held::open(server.protocol, server.address, count)?;
    let idle = resident()?;
    let message = "1x1048576".parse()?;
    held.echo(SOME, message)?;
    let kept = (resident()? - idle) / SOME as f64;
    let echoed = if kept > MUCH { FEW.min(count) } else { count };
    held.echo(echoed, message)?;
    let after = resident()?;
    let idle_each = (idle - empty) / count as f64;
    eprintln!("{}: {idle_each:.0} bytes", contender.name);
    Ok((idle_each, idle_each + (after - idle) / echoed as f64))
}
