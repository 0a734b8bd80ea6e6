//! Devices on a simulated network: when the silent are marked, what loss does, who takes over from whom.

use std::cell::RefCell;
use std::rc::Rc;

use switchboard::testkit::{Conditions, Host, Simulation};
use switchboard::{Context, Failure, Input, Message, Protocol, SessionOptions, Slow, Time, protocol_fn};
use switchboard_heartbeat::Config;

use super::*;
use crate::device::Device;
use crate::fleet::{DEVICES, Fleet};
use crate::simulated::{Plan, Simulated};

const SILENT_AFTER: Duration = Duration::from_secs(5);
const GONE_AFTER: Duration = Duration::from_secs(15);

/// Notes all that is published of the devices, and when.
struct Watcher(Rc<RefCell<Vec<(Time, Value)>>>);

impl Protocol for Watcher {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.subscribe(DEVICES, Slow::Close { waiting: 65_536 })?;
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take_all();
        Ok(())
    }

    fn on_message(&mut self, cx: &mut Context<'_>, message: Message) -> Result<(), Failure> {
        if let Message::Published(publication) = message {
            self.0.borrow_mut().push((cx.now(), serde_json::from_slice(publication.payload())?));
        }
        Ok(())
    }
}

struct Field {
    sim: Simulation,
    dashboard: Host,
    devices: Host,
    fleet: Rc<Fleet>,
    told: Rc<RefCell<Vec<(Time, Value)>>>,
}

impl Field {
    /// A dashboard with a watcher, and a host for devices.
    fn new(seed: u64) -> Self {
        let mut sim = Simulation::new(seed);
        let (dashboard, devices, browser) =
            (sim.add_host("dashboard"), sim.add_host("devices"), sim.add_host("browser"));
        let fleet = Rc::new(Fleet::new(1_000, SILENT_AFTER));
        let heartbeat = Config::new(SILENT_AFTER / 4, GONE_AFTER).and_then(|timing| timing.with_jitter(Duration::ZERO));
        let heartbeat = heartbeat.expect("a timing");
        let (tcp, web) = (sim.address(dashboard, 7100), sim.address(dashboard, 8081));
        let told = Rc::default();
        let event_loop = sim.event_loop(dashboard);
        let shared = Rc::clone(&fleet);
        event_loop.listen(tcp, move |_| Some(Device::new(&shared, heartbeat))).expect("a port");
        let (shared, options) = (Rc::clone(&fleet), SessionOptions::default());
        event_loop.bind_sessions_with(tcp, &options, move |_| Some(Device::new(&shared, heartbeat))).expect("a port");
        let notes = Rc::clone(&told);
        event_loop.listen(web, move |_| Some(Watcher(Rc::clone(&notes)))).expect("a port");
        sim.event_loop(browser).connect(web, protocol_fn(|_, _| Ok(())));
        sim.run_for(Duration::from_millis(100));
        Self { sim, dashboard, devices, fleet, told }
    }

    fn simulate(&mut self, count: usize, plan: impl FnOnce(Plan) -> Plan) -> Rc<Plan> {
        let address = self.sim.address(self.dashboard, 7100);
        let plan = Rc::new(plan(Plan {
            tcp: address,
            udp: address,
            interval: Duration::from_secs(1),
            readings: u64::MAX,
            silent_from: Duration::MAX,
            lossy: 0.0,
            sent: RefCell::default(),
        }));
        for index in 0..count {
            Simulated::start(self.sim.event_loop(self.devices).core(), &plan, index, false);
        }
        plan
    }

    fn report(&mut self) -> Value {
        serde_json::from_str(&self.fleet.report(self.sim.event_loop(self.dashboard).core())).expect("JSON")
    }

    /// When the device of that name was first told to be in that state.
    fn when(&self, name: &str, state: &str) -> Option<Time> {
        let told = self.told.borrow();
        told.iter().find(|(_, device)| device["name"] == name && device["state"] == state).map(|(when, _)| *when)
    }
}

/// Says something once, and nothing ever again.
struct Once(String);

impl Protocol for Once {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        cx.send(self.0.as_bytes());
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take_all();
        Ok(())
    }
}

#[test]
fn a_device_that_falls_silent_is_marked_after_just_its_timeout_on_either_transport() {
    let mut field = Field::new(1);
    let address = field.sim.address(field.dashboard, 7100);
    let event_loop = field.sim.event_loop(field.devices);
    event_loop.connect(address, Once("HELLO wired C 1\nREADING 1 20\n".to_owned()));
    event_loop.core().connect_udp(address, Once("HELLO wireless C 1\nREADING 1 20\n".to_owned()));
    field.sim.run_for(Duration::from_secs(60));
    for name in ["wired", "wireless"] {
        let heard = field.when(name, "online").unwrap_or_else(|| panic!("{name} never came"));
        for (state, timeout) in [("silent", SILENT_AFTER), ("gone", GONE_AFTER)] {
            let after =
                field.when(name, state).unwrap_or_else(|| panic!("{name}: never {state}")).saturating_since(heard);
            let late = after.checked_sub(timeout).unwrap_or_else(|| panic!("{name}: {state} after {after:?} already"));
            assert!(late <= Duration::from_millis(2), "{name}: {state} after {after:?}");
        }
    }
}

#[test]
fn loss_makes_nobody_silent_and_is_counted_and_what_arrives_is_in_order() {
    let mut field = Field::new(2);
    let latency = Duration::from_millis(5)..=Duration::from_millis(50);
    let bad = Conditions { loss: 0.2, duplicated: 0.1, reordered: 0.1, latency, ..Conditions::default() };
    field.sim.set_conditions_between(field.dashboard, field.devices, bad);
    let plan = field.simulate(40, |plan| Plan { interval: Duration::from_millis(200), readings: 500, ..plan });
    field.sim.run_for(Duration::from_secs(101));
    let report = field.report();
    assert_eq!((number(&report, "online"), number(&report, "malformed")), (40, 0), "{report}");
    let sent = plan.sent.borrow();
    // Some connected late, since the first packets were lost, and what was sent last may be on its way.
    assert!(sent.tcp > 9_900 && sent.tcp - number(&report, "readings_tcp") < 20, "{} sent: {report}", sent.tcp);
    let (taken, lost) = (number(&report, "readings_udp"), number(&report, "lost"));
    assert_eq!(sent.udp, 10_000);
    // A fifth is lost. What is overtaken comes too late, and counts as lost; the ends of a run can't be missed.
    assert!((1_800..2_800).contains(&lost) && taken + lost > 9_900, "{taken} taken, {lost} lost: {report}");
    assert!(number(&report, "late") > 500, "{report}");
    let mut latest: HashMap<u64, (u64, u64)> = HashMap::new();
    for (_, device) in field.told.borrow().iter() {
        let (new, received) = (number(device, "number"), number(device, "received"));
        let (old, old_received) = latest.insert(number(device, "key"), (new, received)).unwrap_or_default();
        assert!(new > old && received == old_received + 1 || new == old && received == old_received, "{device}");
        // TCP may well stand still for longer: what it sends again and again is lost again and again.
        assert!(device["transport"] == "tcp" || device["state"] == "online", "{device}");
    }
}

#[test]
fn a_device_that_starts_anew_takes_its_place_over_and_the_one_before_is_told() {
    let mut field = Field::new(3);
    let address = field.sim.address(field.dashboard, 7100);
    let event_loop = field.sim.event_loop(field.devices);
    event_loop.connect(address, Once("HELLO a C 1\nREADING 1 20\nREADING 2 20\n".to_owned()));
    field.sim.run_for(Duration::from_secs(1));
    let event_loop = field.sim.event_loop(field.devices);
    event_loop.core().connect_udp(address, Once("HELLO a C 2\nREADING 1 30\n".to_owned()));
    field.sim.run_for(Duration::from_secs(1));
    let report = field.report();
    assert_eq!(
        (number(&report, "devices"), number(&report, "online"), number(&report, "taken_over")),
        (1, 1, 1),
        "{report}"
    );
    assert_eq!(field.when("a", "gone"), None, "its end does not concern the device any more");
    let told = field.told.borrow();
    let (_, last) = told.last().unwrap();
    assert_eq!((&last["transport"], number(last, "starts"), number(last, "number")), (&"udp".into(), 2, 1), "{last}");
    assert_eq!(field.sim.event_loop(field.devices).core().open_connections(), 1, "the other connection was closed");
}

#[test]
fn numbers_of_readings_that_no_device_can_have_reached_overflow_no_count() {
    let mut field = Field::new(5);
    let address = field.sim.address(field.dashboard, 7100);
    let event_loop = field.sim.event_loop(field.devices);
    for hello in ["HELLO a C 1", "HELLO b C 1"] {
        event_loop.connect(address, Once(hello.to_owned() + "\nREADING 1 1\nREADING 18446744073709551615 1\n"));
    }
    field.sim.run_for(Duration::from_secs(1));
    let event_loop = field.sim.event_loop(field.devices);
    event_loop.connect(address, Once("HELLO a C 2\nREADING 1 1\nREADING 18446744073709551615 1\n".to_owned()));
    field.sim.run_for(Duration::from_secs(1));
    let report = field.report();
    assert_eq!((number(&report, "online"), number(&report, "lost")), (2, u64::MAX), "{report}");
}

#[test]
fn who_was_taken_over_is_not_heard_any_more_even_before_it_is_told() {
    let mut field = Field::new(6);
    let address = field.sim.address(field.dashboard, 7100);
    let ids = [(); 2].map(|()| field.sim.event_loop(field.devices).connect(address, Once(String::new())));
    let fleet = Rc::clone(&field.fleet);
    let core = field.sim.event_loop(field.dashboard).core();
    let key = ids.map(|id| fleet.welcome(core, id, "tcp", ("a", "C", 1)).expect("room").0)[0];
    fleet.take(core, ids[1], key, 1, 30.0);
    fleet.take(core, ids[0], key, 2, 20.0);
    let report = field.report();
    assert_eq!((number(&report, "readings_tcp"), number(&report, "late")), (1, 1), "{report}");
}

#[test]
fn a_partition_silences_all_and_its_end_brings_them_back() {
    let mut field = Field::new(4);
    field.simulate(10, |plan| plan);
    field.sim.run_for(Duration::from_secs(5));
    assert_eq!(number(&field.report(), "online"), 10);
    field.sim.partition(field.dashboard, field.devices);
    field.sim.run_for(SILENT_AFTER + Duration::from_secs(1));
    assert_eq!(number(&field.report(), "silent"), 10);
    field.sim.heal(field.dashboard, field.devices);
    field.sim.run_for(Duration::from_secs(2));
    assert_eq!(number(&field.report(), "online"), 10, "{}", field.report());
    field.sim.partition(field.dashboard, field.devices);
    field.sim.run_for(GONE_AFTER * 2);
    assert_eq!(number(&field.report(), "gone"), 10, "{}", field.report());
    field.sim.heal(field.dashboard, field.devices);
    field.sim.run_for(Duration::from_secs(60));
    assert_eq!(number(&field.report(), "online"), 10, "{}", field.report());
}
