//! Two hundred players at sixty moves a second, without and with a flood of forged addresses.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::*;

const PLAYERS: u64 = 200;
/// Reports of a second each that are added up.
const SECONDS: u64 = 3;
/// Datagrams of the flood in one go, and the pause after them: some thousands a second, each from an address of its own.
const BURST: u32 = if cfg!(debug_assertions) { 15 } else { 50 };
const PAUSE: Duration = Duration::from_millis(5);

/// What the bots saw in some seconds, and what the server counted meanwhile.
struct Served {
    snapshots: u64,
    missing: u64,
    moves: u64,
    lost: u64,
    refused: u64,
    worst_p99_gap: Duration,
}

fn serve(server: &Server, bots: &Program) -> Served {
    let before = server.counters();
    let reports: Vec<Value> = (0..SECONDS).map(|_| serde_json::from_str(&bots.line()).expect("JSON")).collect();
    let after = server.counters();
    let sum = |field| reports.iter().map(|report| number(report, field)).sum();
    let grown = |field| number(&after, field) - number(&before, field);
    for report in &reports {
        assert_eq!((number(report, "playing"), number(report, "broken")), (PLAYERS, 0), "{report}");
    }
    Served {
        snapshots: sum("snapshots"),
        missing: sum("missing"),
        moves: grown("moves"),
        lost: grown("lost"),
        refused: grown("sessions_refused"),
        worst_p99_gap: Duration::from_micros(
            reports.iter().map(|report| number(report, "gap_p99_us")).max().unwrap_or(0),
        ),
    }
}

/// Sends datagrams from 127.x.y.z until it is told to stop: noise, and moves with tokens that it made up.
fn flood(target: SocketAddr, stop: &AtomicBool) -> u64 {
    let mut sent = 0;
    let mut random = 1_u64;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..BURST {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let [_, _, _, _, a, b, c, kind] = random.to_le_bytes();
            let Ok(socket) = UdpSocket::bind((Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254)), 0)) else { continue };
            let mut payload = Vec::new();
            match kind % 3 {
                0 => payload.extend(random.to_le_bytes().repeat(usize::from(c))),
                _ => datagrams::Move { token: random, number: 1, wanted: (1, 1) }.encode(&mut payload),
            }
            sent += u64::from(socket.send_to(&payload, target).is_ok());
        }
        thread::sleep(PAUSE); // a bounded load, not a wait
    }
    sent
}

#[test]
fn two_hundred_players_are_served_each_tick_and_a_flood_of_forged_addresses_disturbs_none() {
    let mut server = Server::start(&["--report", "1s", "--new-per-second", "100"]);
    let mut bots = server.bots(200);
    server.await_counters("two hundred players", |counters| {
        number(counters, "players") == PLAYERS && number(counters, "sessions") == PLAYERS
    });
    while number(&serde_json::from_str(&bots.line()).expect("JSON"), "playing") < PLAYERS {}
    let calm = serve(&server, &bots);

    let (stop, udp) = (AtomicBool::new(false), server.addresses[1]);
    let (stormy, sent) = thread::scope(|scope| {
        let flood = scope.spawn(|| flood(udp, &stop));
        bots.line(); // the second in which it begins
        let stormy = serve(&server, &bots);
        stop.store(true, Ordering::Relaxed);
        (stormy, flood.join().expect("the flood ends"))
    });

    let due = PLAYERS * SECONDS * 60;
    for (name, served) in [("calm", &calm), ("stormy", &stormy)] {
        let Served { snapshots, missing, moves, lost, worst_p99_gap, .. } = served;
        println!(
            "{name}: {snapshots} of {due} snapshots, {missing} missing, {moves} moves, {lost} lost, p99 gap {worst_p99_gap:?}"
        );
        assert!(missing * 100 < *snapshots && lost * 100 < *moves, "{name}: {missing} missing, {lost} lost");
        // How often and how soon is the machine's to say: a debug build beside other tests ticks less often.
        let (least, longest) = if cfg!(debug_assertions) { (due / 10, 1_000) } else { (due * 8 / 10, 200) };
        assert!(*snapshots > least, "{name}: {snapshots} of {due} snapshots");
        assert!(*worst_p99_gap < Duration::from_millis(longest), "{name}: {worst_p99_gap:?} between two snapshots");
    }
    let least = calm.snapshots * if cfg!(debug_assertions) { 20 } else { 80 } / 100;
    assert!(stormy.snapshots > least, "{} after {}", stormy.snapshots, calm.snapshots);
    assert_eq!(calm.refused, 0);
    assert!(sent > 1_000 && stormy.refused > sent / 2, "{} of {sent} were refused", stormy.refused);

    let counters = server.counters();
    println!("{sent} forged datagrams; {counters}");
    assert!(number(&counters, "sessions") <= 2 * PLAYERS, "{counters}");
    assert!(number(&counters, "held_bytes") < 1 << 20, "{counters}");
    // By the clock on the wall, beside two hundred bots.
    let p99 = Duration::from_micros(number(&counters, "turn_p99_us"));
    assert!(p99 < Duration::from_millis(if cfg!(debug_assertions) { 500 } else { 2 }), "{counters}");

    bots.signal(SIGTERM);
    assert_eq!(bots.finish().status.code(), Some(0));
    server.await_counters("their farewell", |counters| number(counters, "players") == 0);
    server.program.signal(SIGTERM);
    let Finished { status, stdout, .. } = server.program.finish();
    assert_eq!(status.code(), Some(0));
    let told = |start: &str| stdout.iter().any(|line| line.starts_with(start));
    assert!(told("200 players, ") && told("in all ") && told("stopped: "), "{stdout:?}");
}
