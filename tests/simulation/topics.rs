//! Devices on lines of TCP and on datagrams publish, WebSockets hold the subscriptions: on a network with faults.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use switchboard::testkit::{Conditions, Simulation, check_seeds};
use switchboard::{
    Context, Datagram, DatagramContext, DatagramProtocol, Failure, Input, Limits, Protocol, Slow, TimerId,
    TopicCounters,
};
use switchboard_websocket::{Connect, Handler, Message, Peer, Settings, WebSocket};

const DEVICES: u64 = 8;
const READINGS: u64 = 50;

/// Sends a reading now and then; then closes.
struct Device {
    name: u64,
    sent: u64,
}

impl Protocol for Device {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.set_timer(Duration::from_millis(200));
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut Context<'_>, _: TimerId) -> Result<(), Failure> {
        self.sent += 1;
        cx.send(format!("{} {}\n", self.name, self.sent).as_bytes());
        if self.sent == READINGS {
            cx.close();
        } else {
            let pause = Duration::from_millis(u64::from(cx.random_u32() % 20));
            cx.set_timer(pause);
        }
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take_all();
        Ok(())
    }
}

/// The same, in datagrams: they may be lost, come twice, or in another order.
struct Beacon {
    name: u64,
    sent: u64,
    server: std::net::SocketAddr,
}

impl DatagramProtocol for Beacon {
    fn on_open(&mut self, cx: &mut DatagramContext<'_>) -> Result<(), Failure> {
        cx.set_timer(Duration::from_millis(200));
        Ok(())
    }

    fn on_timer(&mut self, cx: &mut DatagramContext<'_>, _: TimerId) -> Result<(), Failure> {
        self.sent += 1;
        cx.send_to(self.server, format!("{} {}", self.name, self.sent).as_bytes());
        if self.sent == READINGS {
            cx.close();
        } else {
            let pause = Duration::from_millis(u64::from(cx.random_u32() % 20));
            cx.set_timer(pause);
        }
        Ok(())
    }

    fn on_datagram(&mut self, _: &mut DatagramContext<'_>, _: Datagram<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

/// What was published, by device.
type Published = Rc<RefCell<BTreeMap<u64, Vec<u64>>>>;

fn parse(reading: &str) -> (u64, u64) {
    let (device, number) = reading.trim_end().split_once(' ').unwrap();
    (device.parse().unwrap(), number.parse().unwrap())
}

/// The server's side of the devices, on either transport.
struct Gateway(Published);

impl Gateway {
    fn publish(&self, core: &mut switchboard::Core, reading: &str) {
        let (device, number) = parse(reading);
        self.0.borrow_mut().entry(device).or_default().push(number);
        core.publish_keyed("readings", device, reading.to_owned());
    }
}

impl Protocol for Gateway {
    fn on_data(&mut self, cx: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        while let Some(end) = input.iter().position(|&byte| byte == b'\n') {
            let line = String::from_utf8(input.take(end + 1).to_vec())?;
            self.publish(cx, &line);
        }
        Ok(())
    }
}

impl DatagramProtocol for Gateway {
    fn on_datagram(&mut self, cx: &mut DatagramContext<'_>, datagram: Datagram<'_>) -> Result<(), Failure> {
        self.publish(cx, std::str::from_utf8(datagram.payload)?);
        Ok(())
    }
}

/// The server's side of a viewer.
struct Viewer(Slow);

impl Handler for Viewer {
    fn on_open(&mut self, peer: &mut Peer<'_, '_>) -> Result<(), Failure> {
        Ok(peer.subscribe("readings", self.0)?)
    }

    fn on_message(&mut self, _: &mut Peer<'_, '_>, _: Message<'_>) -> Result<(), Failure> {
        Ok(())
    }
}

/// A viewer: what it sees, by device.
#[derive(Clone, Default)]
struct Screen(Rc<RefCell<BTreeMap<u64, Vec<u64>>>>);

impl Handler for Screen {
    fn on_message(&mut self, _: &mut Peer<'_, '_>, message: Message<'_>) -> Result<(), Failure> {
        let Message::Text(reading) = message else { return Err(Failure::peer("a reading is text")) };
        let (device, number) = parse(reading);
        self.0.borrow_mut().entry(device).or_default().push(number);
        Ok(())
    }
}

/// The policies of the viewers; the first misses nothing.
const POLICIES: [Slow; 4] = [
    Slow::DropNewest { waiting: 10_000 },
    Slow::DropOldest { waiting: 20 },
    Slow::KeepLatest { waiting: 8 },
    Slow::DropNewest { waiting: 20 },
];

struct Outcome {
    digest: u64,
    counters: TopicCounters,
}

fn run(seed: u64) -> Outcome {
    let mut sim = Simulation::new(seed);
    sim.set_conditions(Conditions { send_buffer: 200, receive_buffer: 200, ..Conditions::rough() });
    let limits = Limits { high_water: 200, low_water: 50, ..Limits::default() };
    let (server, field, office) = (sim.add_host_with("server", limits), sim.add_host("field"), sim.add_host("office"));
    let published = Published::default();
    let (lines, datagrams) = (sim.address(server, 7000), sim.address(server, 7001));
    let gateway = Rc::clone(&published);
    sim.event_loop(server).listen(lines, move |_| Some(Gateway(Rc::clone(&gateway)))).unwrap();
    sim.event_loop(server).bind_udp(datagrams, Gateway(Rc::clone(&published))).unwrap();
    let settings = Rc::new(Settings { heartbeat: None, max_message: 100, ..Settings::default() });
    let screens: Vec<Screen> = (8000..)
        .zip(POLICIES)
        .map(|(port, policy)| {
            let (address, settings) = (sim.address(server, port), Rc::clone(&settings));
            let viewer = move |_: &_| Some(WebSocket::with_settings(Viewer(policy), &settings));
            sim.event_loop(server).listen(address, viewer).unwrap();
            let screen = Screen::default();
            let connect = Connect::to(&format!("ws://{address}/")).unwrap();
            sim.event_loop(office).connect(address, WebSocket::client(connect, screen.clone()));
            screen
        })
        .collect();
    let subscribed = |sim: &mut Simulation| {
        let counters = sim.event_loop(server).core().topic_counters("readings");
        counters.is_some_and(|counters| counters.subscribers == POLICIES.len())
    };
    assert!(sim.run_until(Duration::from_secs(60), subscribed));
    for name in 0..DEVICES / 2 {
        sim.event_loop(field).connect(lines, Device { name, sent: 0 });
        let name = name + DEVICES / 2;
        sim.event_loop(field).bind_udp("0.0.0.0:0", Beacon { name, sent: 0, server: datagrams }).unwrap();
    }
    sim.run_for(Duration::from_millis(700));
    sim.stall(office, Duration::from_millis(1500));
    sim.run_for(Duration::from_secs(120));
    judge(&published.borrow(), &screens);
    let core = sim.event_loop(server).core();
    assert_eq!(core.waiting_messages(), 0);
    let counters = core.topic_counters("readings").unwrap();
    let count = published.borrow().values().map(|numbers| numbers.len() as u64).sum::<u64>();
    assert_eq!(counters.published, count);
    assert_eq!(counters.delivered + counters.dropped, count * POLICIES.len() as u64);
    let seen: usize =
        screens.iter().flat_map(|screen| screen.0.borrow().values().map(Vec::len).collect::<Vec<_>>()).sum();
    assert_eq!(counters.delivered, seen as u64, "what was handed over has arrived");
    Outcome { digest: sim.digest(), counters }
}

fn judge(published: &BTreeMap<u64, Vec<u64>>, screens: &[Screen]) {
    assert_eq!(*screens[0].0.borrow(), *published, "who may have everything wait misses nothing");
    for (screen, policy) in screens.iter().zip(POLICIES) {
        for (device, seen) in &*screen.0.borrow() {
            let mut all = published[device].iter();
            assert!(seen.iter().all(|number| all.any(|it| it == number)), "{policy:?}: {seen:?} of {published:?}");
            if matches!(policy, Slow::KeepLatest { .. }) {
                assert_eq!(seen.last(), published[device].last(), "the latest of each device is seen in the end");
            }
        }
    }
}

#[test]
fn readings_of_devices_reach_web_sockets_as_their_policies_say() {
    let mut dropped = 0;
    check_seeds(0..30, |seed| dropped += run(seed).counters.dropped);
    assert!(dropped > 0, "nobody was ever slow");
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..3 {
        let (one, other) = (run(seed), run(seed));
        assert_eq!((one.digest, one.counters), (other.digest, other.counters), "seed {seed}");
    }
}
