//! The echo under every way in which a conversation can reach it.

use std::time::Duration;

use switchboard::Limits;
use switchboard::testkit::{Script, check_conformance};
use switchboard_echo::TcpEcho;

#[test]
fn it_conforms() {
    let input = (0..=255).collect::<Vec<u8>>();
    let script = Script::new().send(&input[..100]).advance(Duration::from_secs(1)).send(&input[100..]);
    println!("{}", check_conformance(|| TcpEcho, &script.expect_sent(&input).eof()));
}

#[test]
fn it_conforms_where_there_is_hardly_any_room() {
    let limits =
        Limits { high_water: 16, low_water: 4, read_budget: 8, loop_memory: 65_536, ..Script::narrow_limits() };
    let script = Script::new().send([1; 60]).limits(limits).shutdown(Duration::from_secs(1));
    println!("{}", check_conformance(|| TcpEcho, &script));
}
