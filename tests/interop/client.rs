//! This side's client: all that it can offer.

use std::cell::RefCell;
use std::env;
use std::rc::Rc;

use switchboard::{EventLoop, Target};
use switchboard_websocket::deflate::Memory;
use switchboard_websocket::proxy::{ProxyError, Tunnel};
use switchboard_websocket::{Connect, Settings, WebSocket};

use crate::cases::Case;
use crate::driver::{Client, Outcome, Talk, drive};
use crate::script::Script;
use crate::{Other, compression, settings};

/// Runs the cases, through the proxy in `INTEROP_TUNNEL`, if there is one: `USER:PASSWORD@ADDRESS`.
pub(crate) fn run(other: &Other) {
    let proxy = env::var("INTEROP_TUNNEL").ok();
    let offers = [
        ("off", settings(None)),
        ("default", settings(compression(Memory::Shared, 15, 15))),
        ("takeover", settings(compression(Memory::Dedicated, 15, 15))),
        ("windows 11 and 12", settings(compression(Memory::Dedicated, 12, 11))),
    ];
    let offers = offers.map(|(offer, settings)| {
        let (proxy, settings) = (proxy.clone(), Rc::new(settings));
        let talk: Talk = Box::new(move |case, url| talk(proxy.as_deref(), case, url, &settings).0);
        (offer, talk)
    });
    let can = ["client:ping", "client:fragments", "client:empty-close", "client:limit", "client:compress"];
    drive(&Client { name: "switchboard", can: &can, offers: offers.into() }, other);
}

/// One connection from its beginning to its end, on a loop of its own; and why there was no tunnel, if there was none.
fn talk(proxy: Option<&str>, case: &Case, url: &str, settings: &Rc<Settings>) -> (Outcome, Option<ProxyError>) {
    let (script, told) = Script::new(case);
    let mut connect = Connect::to(url).expect("a URL");
    for name in &case.offer {
        connect = connect.subprotocol(name.clone());
    }
    let (host, port) = (connect.url().host().to_owned(), connect.url().port());
    let client = WebSocket::client_with_settings(connect, script, settings);
    let mut event_loop = EventLoop::new().expect("an event loop");
    match proxy.map(|proxy| proxy.rsplit_once('@').unwrap_or(("", proxy))) {
        None => event_loop.connect((host.as_str(), port), client),
        Some((credentials, address)) => {
            let mut tunnel = Tunnel::to(&host, port).expect("a host");
            if let Some((user, password)) = credentials.split_once(':') {
                tunnel = tunnel.credentials(user, password).expect("credentials");
            }
            event_loop.connect(address.parse::<Target>().expect("the proxy's address"), tunnel.around(client))
        }
    };
    event_loop.run().expect("the loop to run");
    let counters = event_loop.counters();
    let (mut outcome, error) = RefCell::take(&told);
    outcome.traffic = Some((counters.bytes_in, counters.bytes_out));
    (outcome, error)
}

/// What a proxy says no to, and how that comes to the handler. The second URL is one where nobody listens.
pub(crate) fn refused_tunnels(other: &Other) {
    println!();
    let proxy = env::var("INTEROP_TUNNEL").expect("a proxy");
    let (credentials, address) = proxy.rsplit_once('@').expect("credentials");
    let case = &Case::all()[0];
    let ask = |proxy: &str, variant: &str| -> (Outcome, Option<ProxyError>) {
        let url = other.urls.iter().find(|(known, _)| known == variant).map(|(_, url)| url.as_str());
        talk(Some(proxy), case, url.expect("a URL"), &Rc::default())
    };
    let status = |error: Option<&ProxyError>| match error {
        Some(ProxyError::Authentication(no) | ProxyError::Refused(no)) => Some(no.status()),
        _ => None,
    };
    let wrong = format!("{credentials}x@{address}");
    let mut failed = 0;
    for (name, proxy, variant, expected) in [
        ("no credentials", address, "plain", 407..=407),
        ("wrong credentials", &wrong, "plain", 401..=407), // tinyproxy's status is 401, a server's
        ("a port where nobody listens", &proxy, "nobody", 500..=599),
        ("a port that the proxy does not allow", &proxy, "forbidden", 403..=403),
    ] {
        let (outcome, error) = ask(proxy, variant);
        let status = status(error.as_ref());
        let told = matches!(error, Some(ProxyError::Authentication(_))) == (status == Some(407));
        if told && outcome.closed.is_none() && status.is_some_and(|status| expected.contains(&status)) {
            println!("ok {name}");
        } else {
            println!("FAIL {name}: {outcome:?}, {error:?}");
            failed += 1;
        }
    }
    assert_eq!(failed, 0, "refusals were not told as such");
}
