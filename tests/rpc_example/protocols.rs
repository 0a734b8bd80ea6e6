//! Both sides of the connection, without sockets: every way in which bytes can come, and a network at its worst.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use serde_json::{Value, json};
use switchboard::testkit::{Conditions, Harness, Host, Script, Simulation, check_conformance, note};
use switchboard::{Backoff, CloseReason, Limits, Message, Reconnect, Reconnecting, Time};

use crate::caller::{Again, Call, CallError, Caller};
use crate::service::Service;
use crate::wire::LONGEST;

fn service() -> Service {
    Service::new(2)
}

#[test]
fn the_service_conforms() {
    let script = Script::new()
        .send("{\"id\":1,\"method\":\"sleep\",\"params\":[5000,\"late\"]}\n{\"id\":2,\"method\":\"add\",\"params\":[2,3]}\n")
        .expect_sent("{\"id\":2,\"result\":5}\n")
        .send("{\"id\":3,\"method\":\"echo\",\"params\":{\"a\":[1]}}\n{\"id\":4,\"method\":\"fail\",\"params\":\"so\"}\n")
        .expect_sent("{\"id\":3,\"result\":{\"a\":[1]}}\n{\"id\":4,\"error\":\"so\"}\n")
        .advance(Duration::from_secs(5))
        .expect_sent("{\"id\":1,\"result\":\"late\"}\n")
        .send("{\"id\":5,\"method\":\"nothing\"}\n")
        .expect_sent("{\"id\":5,\"error\":\"there is no method \\\"nothing\\\"\"}\n");
    println!("{}", check_conformance(service, &script));
}

#[test]
fn the_service_conforms_where_what_it_is_asked_makes_no_sense() {
    for line in ["nonsense\n", "{\"id\":1}\n", "{\"id\":-1,\"method\":\"add\"}\n", "[[[[\n", "\n", "\u{ff}\n"] {
        check_conformance(service, &Script::new().send("{\"id\":1,\"method\":\"echo\"}\n").send(line));
    }
}

/// What the service answers to one line.
fn answer(line: &str) -> Value {
    let mut harness = Harness::new(service());
    harness.feed(format!("{line}\n").as_bytes());
    serde_json::from_slice(&harness.take_sent()).unwrap()
}

#[test]
fn the_methods_do_what_they_say() {
    for (params, sum) in [("[]", 0), ("[1]", 1), ("[1,-2,3]", 2), ("[9223372036854775807]", i64::MAX)] {
        let line = format!("{{\"id\":1,\"method\":\"add\",\"params\":{params}}}");
        assert_eq!(answer(&line), json!({ "id": 1, "result": sum }));
    }
    for params in ["[9223372036854775807,1]", "[1.5]", "\"1\"", "null", "[1e999]"] {
        let answer = answer(&format!("{{\"id\":1,\"method\":\"add\",\"params\":{params}}}"));
        assert!(answer["error"].is_string(), "{params}: {answer}");
    }
}

#[test]
fn requests_under_way_are_limited() {
    let mut harness = Harness::new(service());
    for id in 0..3 {
        harness.feed(format!("{{\"id\":{id},\"method\":\"sleep\",\"params\":[1000,{id}]}}\n").as_bytes());
    }
    assert_eq!(harness.take_sent(), b"{\"id\":2,\"error\":\"too many requests are under way\"}\n");
    harness.advance(Duration::from_secs(1));
    assert_eq!(harness.take_sent(), b"{\"id\":0,\"result\":0}\n{\"id\":1,\"result\":1}\n");
}

#[test]
fn answers_that_wait_count_against_the_loop_s_memory() {
    let mut harness = Harness::with_limits(Service::new(16_384), Limits { loop_memory: 1 << 20, ..Limits::default() });
    let sleep = |id: u32, text: &str| format!("{{\"id\":{id},\"method\":\"sleep\",\"params\":[1000,\"{text}\"]}}\n");
    let text = "x".repeat(60_000);
    harness.feed(sleep(0, &text).as_bytes());
    assert!((60_000..120_000).contains(&harness.core().held_bytes()), "{} held", harness.core().held_bytes());
    harness.advance(Duration::from_secs(1));
    assert!(harness.take_sent().len() > 60_000 && harness.core().held_bytes() == 0);
    (0..20).for_each(|id| harness.feed(sleep(id, &text).as_bytes()));
    assert!(matches!(harness.close_reason(), Some(CloseReason::Failure(_) | CloseReason::Limit(_))));
    assert_eq!(harness.core().held_bytes(), 0);
}

#[test]
fn a_line_as_long_as_allowed_is_understood_and_a_longer_one_ends_the_connection() {
    let line = |len: usize| {
        let frame = "{\"id\":1,\"method\":\"echo\",\"params\":\"\"}";
        frame.replace("s\":\"\"", &format!("s\":\"{}\"", "x".repeat(len - frame.len())))
    };
    assert!(answer(&line(LONGEST))["result"].is_string());
    let mut harness = Harness::new(service());
    harness.feed(line(LONGEST + 1).as_bytes()); // its end need not have come
    assert!(matches!(harness.close_reason(), Some(CloseReason::Failure(_))));
    let said: Value = serde_json::from_slice(&harness.take_sent()).unwrap();
    assert_eq!((&said["id"], said["error"].is_string()), (&Value::Null, true));
}

#[test]
fn the_drain_waits_for_what_is_under_way_and_begins_nothing_else() {
    let mut harness = Harness::new(service());
    harness.feed(b"{\"id\":1,\"method\":\"sleep\",\"params\":[1000,1]}\n");
    harness.shutdown(Duration::from_secs(10));
    harness.feed(b"{\"id\":2,\"method\":\"echo\"}\n");
    assert!(harness.take_sent().is_empty() && harness.is_open());
    harness.advance(Duration::from_secs(1));
    assert_eq!(harness.take_sent(), b"{\"id\":1,\"result\":1}\n");
    assert!(matches!(harness.close_reason(), Some(CloseReason::Local)));
}

#[test]
fn a_service_whose_answers_are_not_taken_reads_no_more() {
    let limits = Limits { high_water: 4_096, low_water: 1_024, ..Limits::default() };
    let mut harness = Harness::with_limits(service(), limits);
    harness.set_window(0);
    let line = b"{\"id\":1,\"method\":\"echo\",\"params\":\"some text that comes back\"}\n";
    for _ in 0..10_000 {
        harness.feed(line);
    }
    assert!(harness.core().held_bytes() < 1 << 20, "{} bytes held", harness.core().held_bytes());
    let mut answered = 0;
    loop {
        harness.set_window(1_000);
        let sent = harness.take_sent();
        if sent.is_empty() {
            break;
        }
        answered += sent.iter().filter(|&&byte| byte == b'\n').count();
    }
    assert_eq!(answered, 10_000);
}

/// A call of `echo` with its number; what becomes of it is noted.
fn noted(number: u32, idempotent: bool) -> Message {
    let then = Box::new(move |result| note(format_args!("{number}: {result:?}")));
    let mut call = Call::new("echo".to_owned(), json!(number), idempotent, then);
    call.deadline = Time::ZERO + Duration::from_secs(60);
    Message::user(call)
}

#[test]
fn the_caller_conforms() {
    let again = Again::default();
    let script = Script::new()
        .post(|| noted(1, false))
        .post(|| noted(2, true))
        .expect_sent("{\"id\":1,\"method\":\"echo\",\"params\":1}\n{\"id\":2,\"method\":\"echo\",\"params\":2}\n")
        .send("{\"id\":2,\"result\":2}\n{\"id\":7,\"result\":0}\n{\"id\":1,\"error\":\"no\"}\n")
        .post(|| noted(3, false))
        .expect_sent("{\"id\":3,\"method\":\"echo\",\"params\":3}\n")
        .advance(Duration::from_secs(120));
    let caller = || {
        again.take(); // another run's
        Caller::new(10, &again)
    };
    println!("{}", check_conformance(caller, &script));
}

#[test]
fn a_reply_that_makes_no_sense_ends_the_connection_and_the_call_is_lost() {
    for line in ["nonsense\n", "{\"id\":1}\n", "{\"id\":null,\"error\":\"what?\"}\n", "{\"result\":1}\n"] {
        let mut harness = Harness::new(Caller::new(10, &Again::default()));
        let (sender, receiver) = channel();
        post(&mut harness, 1, &sender);
        harness.feed(line.as_bytes());
        assert!(matches!(harness.close_reason(), Some(CloseReason::Failure(_))), "{line}");
        assert_eq!(receiver.try_recv(), Ok((1, Err(CallError::Lost))), "{line}");
    }
}

#[test]
fn a_reply_ends_its_call_and_that_calls_timer() {
    let mut harness = Harness::new(Caller::new(10, &Again::default()));
    let (sender, receiver) = channel();
    post(&mut harness, 1, &sender);
    assert_eq!(harness.timers().len(), 1);
    harness.feed(b"{\"id\":1,\"result\":1}\n");
    assert_eq!(receiver.try_recv(), Ok((1, Ok(json!(1)))));
    assert!(harness.timers().is_empty());
}

#[test]
fn calls_under_way_and_their_length_are_limited() {
    let mut harness = Harness::new(Caller::new(2, &Again::default()));
    let (sender, receiver) = channel();
    for number in 0..3 {
        post(&mut harness, number, &sender);
    }
    assert_eq!(receiver.try_recv(), Ok((2, Err(CallError::NotSent))));
    let mut harness = Harness::new(Caller::new(2, &Again::default()));
    let then = Box::new(move |result| drop(sender.send((9, result))));
    let call = Call::new("echo".to_owned(), json!("x".repeat(LONGEST)), false, then);
    harness.post(Message::user(call)).unwrap();
    assert_eq!(receiver.try_recv(), Ok((9, Err(CallError::TooLong))));
    assert!(harness.take_sent().is_empty() && harness.is_open());
}

type Result = std::result::Result<Value, CallError>;

fn call(number: u32, deadline: Time, sender: &Sender<(u32, Result)>) -> Message {
    let sender = sender.clone();
    let then = Box::new(move |result| drop(sender.send((number, result))));
    let (method, params) =
        if number.is_multiple_of(3) { ("sleep", json!([number % 50, number])) } else { ("echo", json!(number)) };
    let mut call = Call::new(method.to_owned(), params, number.is_multiple_of(2), then);
    call.deadline = deadline;
    Message::user(call)
}

fn post(harness: &mut Harness, number: u32, sender: &Sender<(u32, Result)>) {
    harness.post(call(number, Time::ZERO + Duration::from_secs(60), sender)).unwrap();
}

/// A server, and a client that connects again.
fn both_sides(simulation: &mut Simulation) -> (Host, Host, Reconnecting) {
    let (server, client) = (simulation.add_host("server"), simulation.add_host("client"));
    let address = simulation.address(server, 80);
    simulation.event_loop(server).listen(address, |_| Some(Service::new(1000))).unwrap();
    let again = Again::default();
    let backoff = Backoff { first: Duration::from_millis(100), most: Duration::from_secs(1), ..Backoff::default() };
    let peer = Reconnect::new(address, move |_| Caller::new(1000, &again)).backoff(backoff);
    (server, client, peer.start(simulation.event_loop(client).core()))
}

/// Two thousand calls, one each 5 ms, by a client that connects again, over a network of this kind: what became of
/// each, in the order in which it was known.
fn over(conditions: Conditions, seed: u64, timeout: Duration) -> Vec<(u32, Result)> {
    let mut simulation = Simulation::new(seed);
    simulation.set_conditions(conditions);
    let (_, client, peer) = both_sides(&mut simulation);
    let (sender, receiver) = channel();
    for number in 0..2_000 {
        simulation.run_for(Duration::from_millis(5));
        let core = simulation.event_loop(client).core();
        let call = call(number, core.now() + timeout, &sender);
        let _ = peer.post(core, call); // one that is handed back is told, too
    }
    simulation.run_for(Duration::from_secs(60));
    peer.stop(simulation.event_loop(client).core());
    assert!(simulation.run_to_rest(Duration::from_secs(600)));
    assert_eq!(simulation.event_loop(client).core().armed_timers(), 0);
    drop(sender);
    ended(&receiver)
}

/// Each call ended, once; a result is the call's own.
fn ended(receiver: &Receiver<(u32, Result)>) -> Vec<(u32, Result)> {
    let results: Vec<_> = receiver.try_iter().collect();
    let mut numbers: Vec<u32> = results.iter().map(|(number, _)| *number).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..2_000), "each call has one end");
    for (number, result) in &results {
        assert!(result.as_ref().is_ok_and(|value| value == &json!(number)) || result.is_err(), "{number}: {result:?}");
    }
    results
}

fn count(results: &[(u32, Result)], of: impl Fn(&Result) -> bool) -> usize {
    results.iter().filter(|(_, result)| of(result)).count()
}

#[test]
fn with_loss_and_latency_every_call_gets_its_own_reply_out_of_order() {
    for seed in 0..5 {
        let results = over(Conditions { loss: 0.05, ..Conditions::rough() }, seed, Duration::from_secs(30));
        assert_eq!(count(&results, |result| result.is_ok()), 2_000, "seed {seed}");
        assert!(!results.is_sorted_by_key(|(number, _)| *number), "seed {seed}: in order");
    }
}

#[test]
fn where_connections_break_no_call_is_without_an_end_and_only_idempotent_ones_are_made_again() {
    let mut lost = 0;
    for seed in 0..5 {
        let conditions = Conditions { resets: 0.01, ..Conditions::hostile() };
        let results = over(conditions, seed, Duration::from_secs(30));
        assert!(
            results.iter().all(|(number, result)| number % 2 != 0 || *result != Err(CallError::Lost)),
            "seed {seed}"
        );
        assert!(count(&results, |result| result.is_ok()) > 1_000, "seed {seed}");
        lost += count(&results, |result| *result == Err(CallError::Lost));
    }
    assert!(lost > 10, "connections did break: {lost} calls lost");
}

#[test]
fn a_call_that_is_to_be_made_again_ends_in_time_though_no_connection_comes() {
    let mut simulation = Simulation::new(1);
    let latency = Duration::from_millis(100)..=Duration::from_millis(100);
    simulation.set_conditions(Conditions { latency, ..Conditions::default() });
    let (server, client, peer) = both_sides(&mut simulation);
    simulation.run_for(Duration::from_secs(1));
    let (sender, receiver) = channel();
    let core = simulation.event_loop(client).core();
    let call = call(0, core.now() + Duration::from_secs(5), &sender);
    assert!(peer.post(core, call).is_ok());
    simulation.run_for(Duration::from_millis(50));
    simulation.event_loop(server).core().shutdown(Duration::ZERO);
    simulation.run_for(Duration::from_secs(4));
    assert_eq!(receiver.try_recv().ok(), None, "it may still be made");
    simulation.run_for(Duration::from_secs(3));
    assert_eq!(receiver.try_recv(), Ok((0, Err(CallError::TimedOut))));
}

#[test]
fn calls_whose_time_is_too_short_time_out() {
    let latency = Duration::from_millis(100)..=Duration::from_millis(100);
    let results = over(Conditions { latency, ..Conditions::default() }, 1, Duration::from_millis(150));
    assert!(count(&results, |result| *result == Err(CallError::TimedOut)) > 1_990);
}
