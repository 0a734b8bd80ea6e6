//! The client: runs the cases with everything that it can offer, on every server of the other side.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::env;
use std::net::SocketAddr;
use std::rc::Rc;

use serde_json::Value;
use switchboard::{Counters, EventLoop, Limits};
use switchboard_websocket::deflate::Memory;
use switchboard_websocket::proxy::{ProxyError, Tunnel};
use switchboard_websocket::{Connect, Settings, WebSocket};

use crate::cases::{Case, agrees};
use crate::script::{Outcome, Script};
use crate::{Other, compression, settings};

/// What this client can.
const CAN: [&str; 5] = ["client:ping", "client:fragments", "client:empty-close", "client:limit", "client:compress"];

/// Variants of a server's in the order of `agreed.json`.
const ORDER: [&str; 4] = ["plain", "shared", "takeover", "windows"];

/// What comes of an offer with each of a server's variants.
type Agreed = HashMap<String, [Option<String>; 4]>;

fn offers() -> [(&'static str, Settings); 4] {
    [
        ("off", settings(None)),
        ("default", settings(compression(Memory::Shared, 15, 15))),
        ("takeover", settings(compression(Memory::Dedicated, 15, 15))),
        ("windows 11 and 12", settings(compression(Memory::Dedicated, 12, 11))),
    ]
}

/// Runs all cases that the other side can, prints a line for each, and panics at the end if any has failed.
pub(crate) fn run(other: &Other) {
    println!();
    let mut agreed: HashMap<String, Agreed> = serde_json::from_str(include_str!("agreed.json")).expect("agreed.json");
    let agreed = agreed.remove(&format!("switchboard to {}", other.name)).or_else(|| agreed.remove("switchboard"));
    let agreed = agreed.expect("what is agreed on");
    let can = |need: &String| CAN.contains(&need.as_str()) || other.can.contains(need);
    let mut failed = 0;
    let only = |name| env::var(name).unwrap_or_default();
    let (only_offer, only_cases) = (only("INTEROP_OFFERS"), only("INTEROP_CASES"));
    for (offer, settings) in offers().into_iter().filter(|(offer, _)| only_offer.is_empty() || only_offer == *offer) {
        let settings = Rc::new(settings);
        for (variant, url) in &other.urls {
            // Variants beyond those in the table don't compress.
            let index = ORDER.iter().position(|known| known == variant);
            let agreed = index.map_or(Some("none"), |index| agreed[offer][index].as_deref());
            let is_wanted = |case: &Case| case.name.contains(&only_cases) && case.needs.iter().all(can);
            for case in Case::all().into_iter().filter(is_wanted) {
                let name = format!("{offer} to {variant}: {}", case.name);
                let verdict = judge(&case, url, &settings, agreed);
                failed += usize::from(verdict.is_err());
                match verdict {
                    Ok(()) => println!("ok {name}"),
                    Err(trouble) => println!("FAIL {name}: {trouble}"),
                }
            }
        }
    }
    assert_eq!(failed, 0, "cases have failed");
}

/// One case, and how the server has seen it end.
fn judge(case: &Case, url: &str, settings: &Rc<Settings>, agreed: Option<&str>) -> Result<(), String> {
    thread_local!(static TALKS: Cell<u64> = const { Cell::new(0) });
    let id = TALKS.replace(TALKS.get() + 1);
    let id = format!("{}-{id}", std::process::id());
    let (outcome, counters) = talk(case, &format!("{url}{}?id={id}", case.path()), settings);
    if let Some(status) = case.status {
        return same("the status", &outcome.status, &Some(status));
    }
    outcome.trouble.map_or(Ok(()), Err)?;
    let (code, reason) = outcome.closed.ok_or("it did not open")?;
    same("the subprotocol", &outcome.subprotocol, &case.subprotocol)?;
    same("the compression", &Some(&*short(outcome.extensions.as_deref())), &agreed)?;
    if !agrees((code, &reason), &case.closed()) {
        return Err(format!("the client was told {code} {reason:?}"));
    }
    if case.compressible {
        let is_small = |bytes| bytes < 100_000;
        let compressed = agreed != Some("none");
        same("whether the server compressed", &is_small(counters.bytes_in), &compressed)?;
        same("whether the client compressed", &is_small(counters.bytes_out), &compressed)?;
    }
    let ask: Case = serde_json::from_value(serde_json::json!({ "name": "seen", "close": null })).expect("a case");
    let (outcome, _) = talk(&ask, &format!("{url}/seen?id={id}"), settings);
    let heard = outcome.heard.ok_or_else(|| format!("the server did not tell how it ended: {:?}", outcome.trouble))?;
    let seen: Value = serde_json::from_str(&heard).map_err(|error| error.to_string())?;
    let code = seen["code"].as_u64().and_then(|code| u16::try_from(code).ok()).ok_or("no code")?;
    let reason = seen["reason"].as_str().unwrap_or_default();
    if agrees((code, reason), &case.seen()) { Ok(()) } else { Err(format!("the server was told {code} {reason:?}")) }
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, actual: &T, expected: &T) -> Result<(), String> {
    if actual == expected { Ok(()) } else { Err(format!("{what}: {actual:?}, not {expected:?}")) }
}

/// One connection from its beginning to its end, on a loop of its own, with what that loop has counted. It goes through
/// the proxy in `INTEROP_TUNNEL`, if there is one: `USER:PASSWORD@ADDRESS`.
fn talk(case: &Case, url: &str, settings: &Rc<Settings>) -> (Outcome, Counters) {
    let tunnel = env::var("INTEROP_TUNNEL").ok();
    talk_through(tunnel.as_deref(), case, url, settings)
}

fn talk_through(proxy: Option<&str>, case: &Case, url: &str, settings: &Rc<Settings>) -> (Outcome, Counters) {
    let (script, outcome) = Script::new(case);
    let mut connect = Connect::to(url).expect("a URL");
    for name in &case.offer {
        connect = connect.subprotocol(name.clone());
    }
    let (host, port) = (connect.url().host().to_owned(), connect.url().port());
    let client = WebSocket::client_with_settings(connect, script, settings);
    let mut event_loop = EventLoop::with_limits(Limits::default()).expect("an event loop");
    match proxy.map(|proxy| proxy.rsplit_once('@').unwrap_or(("", proxy))) {
        None => event_loop.connect(SocketAddr::new(host.parse().expect("an address"), port), client),
        Some((credentials, address)) => {
            let mut tunnel = Tunnel::to(&host, port).expect("a host");
            if let Some((user, password)) = credentials.split_once(':') {
                tunnel = tunnel.credentials(user, password).expect("credentials");
            }
            event_loop.connect(address.parse().expect("the proxy's address"), tunnel.around(client))
        }
    };
    event_loop.run().expect("the loop to run");
    let counters = event_loop.counters();
    (RefCell::take(&outcome), counters)
}

/// `Sec-WebSocket-Extensions` in brief: none, or deflate with s and c for whose context is not taken over, S and C for
/// windows.
fn short(extensions: Option<&str>) -> String {
    let Some(extensions) = extensions else { return "none".to_owned() };
    let mut parts: Vec<_> = extensions.split(';').map(str::trim).collect();
    let rank = ["permessage-deflate", "server_no", "client_no", "server_max", "client_max"];
    parts.sort_by_key(|part| rank.iter().position(|name| part.starts_with(name)));
    let short = parts.join(" ").replace("permessage-deflate", "deflate");
    let short = short.replace("server_no_context_takeover", "s").replace("client_no_context_takeover", "c");
    short.replace("server_max_window_bits=", "S").replace("client_max_window_bits=", "C")
}

/// What a proxy says no to, and how that comes to the handler. The second URL is one where nobody listens.
pub(crate) fn refused_tunnels(other: &Other) {
    println!();
    let proxy = env::var("INTEROP_TUNNEL").expect("a proxy");
    let (credentials, address) = proxy.rsplit_once('@').expect("credentials");
    let case = &Case::all()[0];
    let ask = |proxy: &str, variant: &str| {
        let url = other.urls.iter().find(|(known, _)| known == variant).map(|(_, url)| url.as_str());
        talk_through(Some(proxy), case, url.expect("a URL"), &Rc::default()).0
    };
    let status = |outcome: &Outcome| match &outcome.tunnel {
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
        let outcome = ask(proxy, variant);
        let told = matches!(outcome.tunnel, Some(ProxyError::Authentication(_))) == (status(&outcome) == Some(407));
        if told && outcome.closed.is_none() && status(&outcome).is_some_and(|status| expected.contains(&status)) {
            println!("ok {name}");
        } else {
            println!("FAIL {name}: {outcome:?}");
            failed += 1;
        }
    }
    assert_eq!(failed, 0, "refusals were not told as such");
}
