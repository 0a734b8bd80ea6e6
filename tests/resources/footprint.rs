//! Bytes on the heap for a connection that does nothing: what was asked for, without what the allocator adds to each block,
//! and with what vectors have grown ahead. The limits are what was reached; who needs more says so here.

use std::rc::Rc;
use std::time::Duration;

use switchboard::{Context, EventLoop, Failure, Input, Protocol};
use switchboard_echo::TcpEcho;
use switchboard_heartbeat::{Config, Heartbeat, IdleTimeout, PingPong};
use switchboard_websocket::deflate::Compression;
use switchboard_websocket::{Settings, WebSocket, message_fn};

use crate::common::{assert_nothing_left, drive, turn_until};
use crate::crowd::{self, Speech};
use crate::gauge::{alone, heap};

const CROWD: usize = 1000;

/// The heap bytes of each of a crowd of TCP connections.
fn footprint<P: Protocol>(protocol: impl FnMut() -> P + 'static) -> i64 {
    footprint_of(Speech::Tcp, protocol)
}

/// The heap bytes of each of a crowd of connections, when all have come and spoken.
fn footprint_of<P: Protocol>(speech: Speech, mut protocol: impl FnMut() -> P + 'static) -> i64 {
    let mut event_loop = EventLoop::new().unwrap();
    let listener = event_loop.listen("127.0.0.1:0", move |_| Some(protocol())).unwrap();
    let address = event_loop.local_addr(listener).unwrap();
    let mut crowd = None;
    let came = heap(|| {
        crowd = Some(drive(&mut event_loop, || crowd::start(speech, address, CROWD)));
        turn_until(&mut event_loop, "all are accepted", |it| it.core().open_connections() == CROWD);
    });
    let left = heap(|| {
        let mut crowd = crowd.take().unwrap();
        drive(&mut event_loop, || crowd.order("vanish"));
        assert_nothing_left(&mut event_loop);
    });
    let remains = came.change + left.change;
    assert!(remains < 20_000, "{remains} bytes remain when all have left"); // lists of a turn, not of a connection
    came.change / CROWD as i64
}

/// What mio keeps beside each descriptor in debug builds, and Rust then rounds up to.
const DEBUG: i64 = if cfg!(debug_assertions) { 16 } else { 0 };

#[test]
fn an_idle_tcp_echo_takes_little() {
    let _alone = alone();
    let each = footprint(|| TcpEcho);
    println!("an idle TCP echo: {each} bytes");
    assert!(each <= 84 + DEBUG, "{each} bytes");
}

#[test]
fn an_idle_web_socket_with_its_timer_armed_takes_little() {
    let _alone = alone();
    let each = footprint_of(Speech::WebSocket, || {
        WebSocket::server(message_fn(|peer, message| {
            peer.send(message);
            Ok(())
        }))
    });
    println!("an idle WebSocket, timer armed: {each} bytes");
    assert!(each <= 209 + DEBUG, "{each} bytes");
}

#[test]
fn an_idle_web_socket_that_compresses_takes_little_more() {
    let _alone = alone();
    let settings = Settings { compression: Some(Compression::default()), ..Settings::default() };
    let settings = Rc::new(settings);
    let each = footprint_of(Speech::Compressing, move || {
        WebSocket::with_settings(
            message_fn(|peer, message| {
                peer.send(message);
                Ok(())
            }),
            &settings,
        )
    });
    println!("an idle WebSocket that compresses: {each} bytes");
    assert!(each <= 409 + DEBUG, "{each} bytes");
}

#[test]
fn an_idle_heartbeat_with_its_timer_armed_takes_little() {
    let _alone = alone();
    let each = footprint(|| Heartbeat::new(Config::default()).around(PingPong::default()));
    println!("an idle heartbeat, timer armed: {each} bytes");
    assert!(each <= 242 + DEBUG, "{each} bytes");
}

#[test]
fn a_layer_and_its_timer_add_little() {
    let _alone = alone();
    let each = footprint(|| IdleTimeout::new(Duration::from_secs(3600)).around(TcpEcho));
    println!("an idle TCP echo in an idle timeout: {each} bytes");
    assert!(each <= 177 + DEBUG, "{each} bytes");
}

#[test]
fn an_outgoing_connection_that_waits_for_its_time_takes_little_and_gives_it_back() {
    let _alone = alone();
    let mut event_loop = EventLoop::new().unwrap();
    let (hour, nobody) = (Duration::from_secs(3600), ("127.0.0.1", 1));
    let mut ids = Vec::with_capacity(CROWD);
    let came = heap(|| {
        ids.extend((0..CROWD).map(|_| event_loop.connect_after(hour, nobody, TcpEcho)));
        event_loop.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(event_loop.core().open_connections(), CROWD);
    });
    let left = heap(|| {
        ids.drain(..).for_each(|id| event_loop.core().close(id));
        event_loop.turn(None).unwrap();
        assert_nothing_left(&mut event_loop);
    });
    let (each, remains) = (came.change / CROWD as i64, came.change + left.change);
    println!("an outgoing connection that waits for its time: {each} bytes");
    assert!(each <= 250 + DEBUG, "{each} bytes");
    assert!(remains < 20_000, "{remains} bytes remain when all were called off");
}

/// Sets five timers.
struct Alarms;

impl Protocol for Alarms {
    fn on_open(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        for hours in 1..=5 {
            cx.set_timer(Duration::from_secs(3600 * hours));
        }
        Ok(())
    }

    fn on_data(&mut self, _: &mut Context<'_>, input: &mut Input<'_>) -> Result<(), Failure> {
        input.take_all();
        Ok(())
    }
}

#[test]
fn a_timer_takes_little() {
    let _alone = alone();
    let each = footprint(|| Alarms);
    println!("an idle connection with five timers: {each} bytes");
    assert!(each <= 314 + DEBUG, "{each} bytes");
}
