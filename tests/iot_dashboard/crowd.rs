//! A thousand devices and twenty browsers: every reading that a subscriber's policy does not drop arrives, in order.

use super::*;

const DEVICES: u64 = 1_000;
const READINGS: u64 = 6;
const SILENT: u64 = 10;

/// What a subscriber got, by device: the latest publication, and how many readings.
type Got = HashMap<u64, (Value, u64)>;

/// Reads until the dashboard says goodbye. Of a subscriber of `all` each reading is checked to follow on the one before.
fn watch(mut client: Client, all: bool) -> Got {
    let snapshot = read_text(&mut client).expect("the snapshot");
    assert_eq!(snapshot["devices"], Value::Array(vec![]), "it came before the devices");
    let mut got = Got::new();
    while let Some(message) = read_text(&mut client) {
        if message["key"].is_null() {
            continue; // a sign of life
        }
        let (new, received) = (number(&message, "number"), number(&message, "received"));
        let (before, count) = got.entry(number(&message, "key")).or_insert((Value::Null, 0));
        let (old, old_received) =
            if before.is_null() { (0, 0) } else { (number(before, "number"), number(before, "received")) };
        assert!(new >= old && received >= old_received, "{before} was overtaken by {message}");
        assert!(!all || received - old_received <= 1, "between {before} and {message} one is missing");
        *count += u64::from(new > old);
        *before = message;
    }
    got
}

#[test]
fn every_reading_of_a_thousand_devices_reaches_twenty_subscribers_in_order() {
    let mut dashboard = Dashboard::start(&["--silent-after", "3s", "--gone-after", "60s"]);
    let mut watching = Vec::new();
    for subscriber in 0..19 {
        let all = subscriber < 14;
        let client = dashboard.open(if all { "/live?all" } else { "/live" }, None).unwrap();
        watching.push((all, thread::spawn(move || watch(client, all))));
    }
    let slow = dashboard.open("/live", None).unwrap(); // reads nothing before the end

    let (readings, silent) = (READINGS.to_string(), SILENT.to_string());
    let mut devices = dashboard.simulate(&[
        "--devices",
        "1000",
        "--every",
        "500ms",
        "--readings",
        &readings,
        "--silent",
        &silent,
        "--silent-from",
        "1500ms",
    ]);
    let settled = dashboard.await_counters("all readings by TCP, and the silence", |counters| {
        number(counters, "silent") == SILENT && number(counters, "readings_tcp") >= (DEVICES - SILENT) / 2 * READINGS
    });
    assert_eq!(number(&settled, "devices"), DEVICES);
    assert_eq!(number(&settled, "online"), DEVICES - SILENT, "signs of life alone keep a device online: {settled}");
    assert_eq!((number(&settled, "subscribers"), number(&settled, "malformed")), (20, 0), "{settled}");

    devices.signal(SIGTERM);
    let Finished { status, stdout, .. } = devices.finish();
    assert_eq!(status.code(), Some(0));
    let sent: Value = serde_json::from_str(&stdout[0]).unwrap();
    assert_eq!((number(&sent, "silent"), number(&sent, "broken"), number(&sent, "refused")), (SILENT, 0, 0), "{sent}");
    dashboard.await_counters("the farewell of all that can speak", |counters| number(counters, "online") == 0);
    dashboard.program.signal(SIGTERM);
    let slow = thread::spawn(move || watch(slow, false));
    let all: Vec<(bool, Got)> = watching.into_iter().map(|(all, thread)| (all, thread.join().unwrap())).collect();
    let slow = slow.join().unwrap();

    let Finished { status, stdout, .. } = dashboard.program.finish();
    assert_eq!(status.code(), Some(0));
    let counted: Value = serde_json::from_str(&stdout[0]).unwrap();
    assert_eq!(number(&counted, "readings_tcp"), number(&sent, "tcp"), "TCP loses nothing");
    let (udp, lost) = (number(&counted, "readings_udp"), number(&counted, "lost"));
    println!("{sent}; {counted}");
    // A busy machine may lose some of UDP's before the dashboard sees them; those at the ends leave no gap.
    assert!(udp + lost <= number(&sent, "udp") && udp * 10 >= number(&sent, "udp") * 9, "{counted}");
    assert_eq!(number(&counted, "late"), 0);
    let taken = number(&counted, "readings_tcp") + number(&counted, "readings_udp");
    for (index, (is_all, got)) in all.iter().enumerate() {
        assert_eq!(got.len() as u64, DEVICES, "subscriber {index}");
        let arrived: u64 = got.values().map(|(_, count)| count).sum();
        assert!(arrived == taken || !is_all, "subscriber {index}: {arrived} of {taken}");
        assert_the_same(&all[0].1, got);
    }
    assert_the_same(&all[0].1, &slow);
}

/// Whatever was dropped on the way: what is known of each device at the end is the same.
fn assert_the_same(one: &Got, other: &Got) {
    for (key, (device, _)) in one {
        assert_eq!(Some(device), other.get(key).map(|(device, _)| device), "device {key}");
    }
}

#[test]
fn a_device_that_falls_silent_is_marked_in_time_and_given_up_later() {
    let dashboard = Dashboard::start(&["--silent-after", "1s", "--gone-after", "3s"]);
    let mut client = dashboard.open("/live?all", None).unwrap();
    let _devices =
        dashboard.simulate(&["--devices", "4", "--every", "100ms", "--silent", "2", "--silent-from", "500ms"]);
    let mut silent: HashMap<u64, (u64, u64)> = HashMap::new(); // when the last reading came, and the mark
    let (mut gone, mut clock) = (Vec::new(), 0);
    while gone.len() < 2 {
        let message = read_text(&mut client).unwrap();
        if message["key"].is_null() {
            continue;
        }
        let (key, at) = (number(&message, "key"), number(&message, "at_ms"));
        clock = clock.max(at); // readings of the others tell the time
        match message["state"].as_str().unwrap() {
            "silent" => drop(silent.insert(key, (at, clock))),
            "gone" => gone.push(key),
            _ => assert!(!silent.contains_key(&key), "{message}"),
        }
    }
    for key in gone {
        let (last, marked) = silent[&key];
        let after = marked - last;
        // A second after the last sign of life, which may be an answer to a ping later than the last reading.
        assert!((500..3_000).contains(&after), "device {key} was marked after {after} ms");
    }
    assert_eq!(silent.len(), 2, "{silent:?}");
}

#[test]
fn what_is_lost_on_the_way_shows_as_loss() {
    let dashboard = Dashboard::start(&[]);
    let arguments = ["--devices", "40", "--every", "20ms", "--readings", "100", "--lossy", "0.2"];
    let mut devices = dashboard.simulate(&arguments);
    dashboard.await_counters("2,000 readings over TCP, and 2,000 over UDP less those lost", |counters| {
        let udp = number(counters, "readings_udp") + number(counters, "lost");
        number(counters, "readings_tcp") == 2_000 && udp > 1_950
    });
    devices.signal(SIGTERM);
    let sent: Value = serde_json::from_str(&devices.finish().stdout[0]).unwrap();
    let counters = dashboard.await_counters("their farewell", |counters| number(counters, "gone") == 40);
    assert_eq!(number(&counters, "readings_udp"), number(&sent, "udp"));
    let (lost, counted) = (number(&sent, "lost"), number(&counters, "lost"));
    // The first or last ones of a device can't be missed by anybody who only sees the others.
    assert!(
        (300..500).contains(&lost) && counted <= lost && counted + 40 > lost,
        "{lost} were lost, {counted} counted"
    );
}

#[test]
fn devices_come_back_to_a_dashboard_that_has_restarted() {
    let mut dashboard = Dashboard::start(&[]);
    let mut devices = dashboard.simulate(&["--devices", "20", "--every", "100ms"]);
    dashboard.await_counters("all devices", |counters| number(counters, "online") == 20);
    dashboard.program.signal(SIGKILL);
    assert_eq!(dashboard.program.finish().status.code(), None);
    let addresses = dashboard.addresses.map(|address| address.to_string());
    let dashboard = Dashboard::start_on([0, 1, 2].map(|i| addresses[i].as_str()), &[]);
    let counters = dashboard.await_counters("all devices again", |counters| {
        number(counters, "online") == 20 && number(counters, "readings_udp") > 100
    });
    assert_eq!(number(&counters, "lost"), 0, "what came before it was there is no loss: {counters}");
    devices.signal(SIGTERM);
    let sent: Value = serde_json::from_str(&devices.finish().stdout[0]).unwrap();
    assert!(number(&sent, "broken") >= 10, "TCP's end, and ICMP's word: {sent}");
}
