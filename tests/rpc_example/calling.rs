//! The client: calls from threads and tasks, over real connections that are lost and come again.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal::SIGKILL;
use serde_json::{Value, json};
use switchboard::Backoff;

use crate::caller::CallError;
use crate::client::{Ask, Client};
use crate::process::served;
use crate::support::{DEADLINE, now};

fn client(target: impl Into<switchboard::Target>) -> Client {
    let backoff = Backoff { first: Duration::from_millis(10), most: Duration::from_millis(100), ..Backoff::default() };
    Client::start(target.into(), backoff).expect("a loop").0
}

fn ask(method: &str, params: Value) -> Ask {
    Ask { method: method.to_owned(), params, timeout: DEADLINE, idempotent: false }
}

/// A server of the test's own.
struct Fake(TcpListener);

impl Fake {
    fn new() -> (Self, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = client(listener.local_addr().unwrap());
        (Self(listener), client)
    }

    fn accept(&self) -> BufReader<TcpStream> {
        let (stream, _) = self.0.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        BufReader::new(stream)
    }
}

/// The next request on a connection.
fn request(stream: &mut BufReader<TcpStream>) -> Value {
    let mut line = String::new();
    stream.read_line(&mut line).expect("a request");
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

fn reply(stream: &mut BufReader<TcpStream>, text: &str) {
    stream.get_mut().write_all(text.as_bytes()).unwrap();
}

#[test]
fn ten_thousand_calls_at_once_from_threads_and_tasks_each_get_their_own_reply() {
    let (_server, address) = served(&[]);
    let client = client(address);
    let numbered = |number: u32| ask("sleep", json!([300 + number % 100, number]));
    let started = now();
    let threads: Vec<_> = (0..10)
        .map(|thread| {
            let client = client.clone();
            thread::spawn(move || {
                let (sender, receiver) = mpsc::channel();
                for number in (0..5_000).skip(thread).step_by(10) {
                    let sender = sender.clone();
                    client.begin(numbered(number), move |result| drop(sender.send((number, result))));
                }
                drop(sender);
                receiver.into_iter().collect::<Vec<_>>()
            })
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut results = runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 5_000..10_000 {
            let client = client.clone();
            tasks.spawn(async move { (number, client.call_async(numbered(number)).await) });
        }
        tasks.join_all().await
    });
    results.extend(threads.into_iter().flat_map(|thread| thread.join().unwrap()));
    println!("10,000 calls of 300 to 400 ms: {:.2?}", started.elapsed());
    for (number, result) in &results {
        assert_eq!(result, &Ok(json!(number)));
    }
    assert_eq!(results.iter().map(|(number, _)| number).collect::<BTreeSet<_>>().len(), 10_000);
    assert!(started.elapsed() < Duration::from_millis(300) * 1_000, "one after the other takes 3,500 s");
}

#[test]
fn replies_find_their_calls_in_any_order() {
    let (fake, client) = Fake::new();
    let other = client.clone();
    let first = thread::spawn(move || other.call(ask("first", Value::Null)));
    let mut stream = fake.accept();
    let first_id = request(&mut stream)["id"].clone();
    let second = thread::spawn(move || client.call(ask("second", Value::Null)));
    let second_id = request(&mut stream)["id"].clone();
    reply(&mut stream, &format!("{{\"id\":{second_id},\"result\":2}}\n{{\"id\":{first_id},\"error\":\"one\"}}\n"));
    assert_eq!(second.join().unwrap(), Ok(json!(2)));
    assert_eq!(first.join().unwrap(), Err(CallError::Failed("one".to_owned())));
}

#[test]
fn a_call_times_out_on_a_thread_and_in_a_task_and_a_late_reply_goes_nowhere() {
    let (fake, client) = Fake::new();
    let quick = Ask { timeout: Duration::from_millis(100), ..ask("slow", Value::Null) };
    assert_eq!(client.call(quick.clone()), Err(CallError::TimedOut));
    let mut stream = fake.accept();
    let late = request(&mut stream)["id"].clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    assert_eq!(runtime.block_on(client.call_async(quick)), Err(CallError::TimedOut));
    request(&mut stream);
    reply(&mut stream, &format!("{{\"id\":{late},\"result\":\"late\"}}\n"));
    let third = thread::spawn(move || client.call(ask("third", Value::Null)));
    let id = request(&mut stream)["id"].clone();
    reply(&mut stream, &format!("{{\"id\":{id},\"result\":3}}\n"));
    assert_eq!(third.join().unwrap(), Ok(json!(3)));
}

#[test]
fn a_call_that_was_sent_is_lost_with_its_connection_unless_it_may_be_sent_again() {
    let (fake, client) = Fake::new();
    let other = client.clone();
    let once = thread::spawn(move || other.call(ask("once", Value::Null)));
    let mut stream = fake.accept();
    assert_eq!(request(&mut stream)["method"], "once");
    let other = client.clone();
    let again = thread::spawn(move || other.call(Ask { idempotent: true, ..ask("again", json!([1])) }));
    assert_eq!(request(&mut stream)["method"], "again");
    drop(stream);
    assert_eq!(once.join().unwrap(), Err(CallError::Lost));
    let mut stream = fake.accept();
    let repeated = request(&mut stream);
    assert_eq!((&repeated["method"], &repeated["params"]), (&json!("again"), &json!([1])));
    reply(&mut stream, &format!("{{\"id\":{},\"result\":\"done\"}}\n", repeated["id"]));
    assert_eq!(again.join().unwrap(), Ok(json!("done")));
    let next = thread::spawn(move || client.call(ask("next", Value::Null)));
    assert_eq!(request(&mut stream)["method"], "next", "nothing else was sent again");
    drop(stream);
    assert_eq!(next.join().unwrap(), Err(CallError::Lost));
}

#[test]
fn a_reply_that_makes_no_sense_loses_the_connection_and_the_next_one_works() {
    let (fake, client) = Fake::new();
    let other = client.clone();
    let lost = thread::spawn(move || other.call(ask("echo", Value::Null)));
    let mut stream = fake.accept();
    request(&mut stream);
    reply(&mut stream, "HTTP/1.1 400 Bad Request\r\n\r\n");
    assert_eq!(lost.join().unwrap(), Err(CallError::Lost));
    let mut stream = fake.accept();
    let next = thread::spawn(move || client.call(ask("echo", Value::Null)));
    let id = request(&mut stream)["id"].clone();
    reply(&mut stream, &format!("{{\"id\":{id},\"result\":null}}\n"));
    assert_eq!(next.join().unwrap(), Ok(Value::Null));
}

#[test]
fn a_server_that_is_killed_and_started_again_is_found_again() {
    let (server, address) = served(&[]);
    let client = client(address);
    assert_eq!(client.call(ask("add", json!([1, 2]))), Ok(json!(3)));
    let other = client.clone();
    let (sender, receiver) = mpsc::channel();
    other.begin(ask("sleep", json!([3_600_000, 0])), move |result| drop(sender.send(result)));
    assert_eq!(client.call(ask("add", json!([2, 2]))), Ok(json!(4)), "the call before is with the server by now");
    server.signal(SIGKILL);
    assert_eq!(receiver.recv_timeout(DEADLINE), Ok(Err(CallError::Lost)));
    drop(server);
    let refused = client.call(ask("add", json!([1])));
    assert!(matches!(refused, Err(CallError::NotSent | CallError::Lost)), "{refused:?}");
    let (_server, _) = served(&["--", &address.to_string()]);
    let end = now() + DEADLINE;
    while client.call(ask("add", json!([3, 2]))) != Ok(json!(5)) {
        assert!(now() < end, "it does not connect again");
    }
    assert_eq!(client.call(ask("add", json!([3, 3]))), Ok(json!(6)));
}

#[test]
fn a_client_that_stops_waits_for_its_replies() {
    let (_server, address) = served(&[]);
    let client = client(address);
    assert_eq!(client.call(ask("echo", Value::Null)), Ok(Value::Null));
    let (sender, receiver) = mpsc::channel();
    client.begin(ask("sleep", json!([100, "there"])), move |result| drop(sender.send(result)));
    client.stop();
    assert_eq!(receiver.recv_timeout(DEADLINE), Ok(Ok(json!("there"))));
    let end = now() + DEADLINE;
    while client.call(ask("echo", Value::Null)) != Err(CallError::NotSent) {
        assert!(now() < end, "it goes on");
    }
}
