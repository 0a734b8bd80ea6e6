//! What is known of every device, and what the pages are told of it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use switchboard::{ConnectionId, Core, Time};
use thiserror::Error;

use crate::counters::{Counts, Report, json};

/// What is published of the devices, keyed by device: each publication is all that a page shows of it.
pub(crate) const DEVICES: &str = "devices";

/// All devices, shared by all protocols of the loop. Callbacks never nest, so a plain cell does.
pub(crate) struct Fleet {
    /// How many devices are kept; beyond that the one that has been gone for longest makes room.
    pub(crate) most: usize,
    /// How long a device may give no sign of life before it is marked as silent.
    pub(crate) silent_after: Duration,
    table: RefCell<Table>,
}

#[derive(Default)]
struct Table {
    devices: Vec<Device>,
    by_name: HashMap<String, usize>,
    counts: Counts,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Online,
    /// Connected, but without a sign of life.
    Silent,
    /// Not connected.
    Gone,
}

/// One device, as the pages are told.
#[derive(Serialize)]
struct Device {
    key: usize,
    name: String,
    unit: String,
    transport: &'static str,
    state: State,
    /// The number of the latest reading of this run.
    number: u64,
    value: Option<f64>,
    received: u64,
    /// Readings that were numbered and never came.
    lost: u64,
    /// How often it has started, as far as anybody saw.
    starts: u32,
    /// When the latest reading came, in milliseconds since the dashboard started.
    at_ms: u64,
    #[serde(skip)]
    run: u32,
    #[serde(skip)]
    connection: ConnectionId,
}

/// Why a device is not let in.
#[derive(Clone, Copy, Debug, Error)]
#[error("there is no room for more than {0} devices")]
pub(crate) struct Full(usize);

impl Fleet {
    pub(crate) fn new(most: usize, silent_after: Duration) -> Self {
        Self { most, silent_after, table: RefCell::default() }
    }

    /// A device says who it is. Gives its key, and the connection that was its own before, if that still stands.
    pub(crate) fn welcome(
        &self,
        core: &mut Core,
        connection: ConnectionId,
        transport: &'static str,
        (name, unit, run): (&str, &str, u32),
    ) -> Result<(usize, Option<ConnectionId>), Full> {
        let mut table = self.table.borrow_mut();
        let key = table.key_for(name, self.most, connection)?;
        let device = &mut table.devices[key];
        let before = (device.state != State::Gone && device.connection != connection).then_some(device.connection);
        if device.starts == 0 || device.run != run {
            device.starts += 1;
            (device.run, device.number) = (run, 0);
        }
        device.unit = unit.to_owned();
        (device.transport, device.connection, device.state) = (transport, connection, State::Online);
        device.publish(core);
        table.counts.taken_over += u64::from(before.is_some());
        Ok((key, before))
    }

    /// A reading has come on a connection, which may not be the device's own any more.
    pub(crate) fn take(&self, core: &mut Core, connection: ConnectionId, key: usize, number: u64, value: f64) {
        let mut table = self.table.borrow_mut();
        let Table { devices, counts, .. } = &mut *table;
        let device = &mut devices[key];
        if number <= device.number || device.connection != connection {
            counts.late += 1;
            return;
        }
        // What came before the first that is seen of a run may have come before the dashboard was there.
        let lost = if device.number == 0 { 0 } else { number - device.number - 1 };
        let of_transport = if device.transport == "tcp" { &mut counts.readings_tcp } else { &mut counts.readings_udp };
        *of_transport += 1;
        // The number may be any: a device can make up what it has lost, but not wrap the sums.
        counts.lost = counts.lost.saturating_add(lost);
        device.lost = device.lost.saturating_add(lost);
        device.received += 1;
        (device.number, device.value, device.state) = (number, Some(value), State::Online);
        device.at_ms = millis(core.now());
        device.publish(core);
    }

    /// A device's connection is in another state now; nothing if it is not the device's own any more.
    pub(crate) fn mark(&self, core: &mut Core, connection: ConnectionId, key: usize, state: State) {
        let device = &mut self.table.borrow_mut().devices[key];
        if device.connection == connection && device.state != state {
            device.state = state;
            device.publish(core);
        }
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.table.borrow_mut().counts);
    }

    /// All devices, for a page that has just opened.
    pub(crate) fn snapshot(&self, core: &Core) -> String {
        #[derive(Serialize)]
        struct Snapshot<'a> {
            now_ms: u64,
            silent_after_ms: u128,
            devices: &'a [Device],
        }
        let (now_ms, silent_after_ms) = (millis(core.now()), self.silent_after.as_millis());
        json(&Snapshot { now_ms, silent_after_ms, devices: &self.table.borrow().devices })
    }

    /// Everything that is counted, as JSON.
    pub(crate) fn report(&self, core: &Core) -> String {
        let table = self.table.borrow();
        let of = |state| table.devices.iter().filter(|device| device.state == state).count();
        let states = [State::Online, State::Silent, State::Gone].map(of);
        json(&Report::new(core, states, table.counts))
    }
}

impl Table {
    /// The key of the device of that name: its own, a new one, or that of one that has gone.
    fn key_for(&mut self, name: &str, most: usize, connection: ConnectionId) -> Result<usize, Full> {
        if let Some(&key) = self.by_name.get(name) {
            return Ok(key);
        }
        let key = if self.devices.len() < most {
            self.devices.len()
        } else {
            let gone = self.devices.iter().filter(|device| device.state == State::Gone);
            let Some(oldest) = gone.min_by_key(|device| device.at_ms) else {
                self.counts.refused += 1;
                return Err(Full(most));
            };
            self.by_name.remove(&oldest.name);
            oldest.key
        };
        self.by_name.insert(name.to_owned(), key);
        let device = Device::new(key, name, connection);
        match self.devices.get_mut(key) {
            Some(gone) => *gone = device,
            None => self.devices.push(device),
        }
        Ok(key)
    }
}

impl Device {
    /// One that was never seen before.
    fn new(key: usize, name: &str, connection: ConnectionId) -> Self {
        let (name, unit, transport, state) = (name.to_owned(), String::new(), "", State::Gone);
        let (number, value, received, lost, starts, at_ms, run) = (0, None, 0, 0, 0, 0, 0);
        Self { key, name, unit, transport, state, number, value, received, lost, starts, at_ms, run, connection }
    }

    /// Tells the pages, if there are any.
    fn publish(&self, core: &mut Core) {
        if core.topic_counters(DEVICES).is_some() {
            core.publish_keyed(DEVICES, self.key as u64, json(self));
        }
    }
}

pub(crate) fn millis(time: Time) -> u64 {
    time.as_nanos() / 1_000_000
}
