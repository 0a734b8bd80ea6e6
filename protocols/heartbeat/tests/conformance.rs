//! The line protocol, and the layers, under every way in which a conversation can reach them.

use std::time::Duration;

use switchboard::testkit::{Script, check_conformance, check_layer};
use switchboard::{Context, Failure, protocol_fn};
use switchboard_heartbeat::{Config, Heartbeat, IdleTimeout, PingPong, Probe};

/// 5 s and 15 s without jitter.
fn heartbeat() -> Heartbeat {
    Heartbeat::new(Config::default().with_jitter(Duration::ZERO).expect("no jitter is allowed"))
}

#[test]
fn ping_pong_conforms() {
    let script = Script::new()
        .send("PING 1\nPING 18446744073709551615\nPONG 7\n")
        .expect_sent("PONG 1\nPONG 18446744073709551615\n")
        .send("PING 2\nPING 01\nPING 3\n");
    println!("{}", check_conformance(PingPong::default, &script));
    println!("{}", check_conformance(PingPong::default, &Script::new().send("PING 1\nERR no\nPING 2\n")));
    println!("{}", check_conformance(PingPong::default, &Script::new().send("PING 1\nPING").eof()));
}

#[test]
fn a_heartbeat_conforms() {
    let script = Script::new()
        .send("PING 1\n")
        .advance(Duration::from_secs(5))
        .expect_sent("PONG 1\nPING 1\n")
        .send("PONG 1\nPING 2\n")
        .advance(Duration::from_secs(6))
        .expect_sent("PONG 2\nPING 2\n")
        .send("PONG 2\n")
        .advance(Duration::from_secs(20));
    println!("{}", check_conformance(|| heartbeat().around(PingPong::default()), &script));
}

#[test]
fn an_idle_timeout_conforms() {
    let script = Script::new()
        .send("hello")
        .advance(Duration::from_secs(59))
        .send(" and goodbye")
        .advance(Duration::from_secs(61))
        .expect_sent("hello and goodbye");
    let echo = || {
        protocol_fn(|cx, input| {
            cx.send(input.take_all());
            cx.has_room();
            Ok(())
        })
    };
    println!("{}", check_conformance(|| IdleTimeout::new(Duration::from_secs(60)).around(echo()), &script));
}

switchboard::layer_probe!(
    /// What the heartbeat beats for here.
    struct Probing
);

impl Probe for Probing {
    fn probe(&mut self, cx: &mut Context<'_>, number: u32) -> Result<(), Failure> {
        cx.send(format!("probe {number}\n").as_bytes());
        Ok(())
    }
}

#[test]
fn a_heartbeat_lets_everything_through() {
    println!("{}", check_layer(|probe| heartbeat().around(Probing(probe)), &Script::new()));
}

#[test]
fn an_idle_timeout_lets_everything_through() {
    println!("{}", check_layer(|probe| IdleTimeout::new(Duration::from_secs(60)).around(probe), &Script::new()));
}

#[test]
fn an_idle_timeout_around_a_heartbeat_lets_everything_through() {
    let layered = |probe| IdleTimeout::new(Duration::from_secs(60)).around(heartbeat().around(Probing(probe)));
    println!("{}", check_layer(layered, &Script::new()));
}
