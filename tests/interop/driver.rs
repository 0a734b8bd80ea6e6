//! Runs the cases on a client, this side's or another of Rust, and judges what it was told.

use std::cell::Cell;
use std::collections::HashMap;
use std::env;

use serde_json::{Value, json};

use crate::Other;
use crate::cases::{Case, agrees};

/// Variants of a server's in the order of `agreed.json`.
const ORDER: [&str; 4] = ["plain", "shared", "takeover", "windows"];

/// What a client was told of one connection.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) subprotocol: Option<String>,
    pub(crate) extensions: Option<String>,
    /// The code and reason; none if the WebSocket never stood.
    pub(crate) closed: Option<(u16, String)>,
    /// The status, of a server that refused.
    pub(crate) status: Option<u16>,
    /// What went wrong, or in other words than the status what failed.
    pub(crate) trouble: Option<String>,
    /// A text that came where nothing in particular was expected.
    pub(crate) heard: Option<String>,
    /// Bytes received and sent, if that is known.
    pub(crate) traffic: Option<(u64, u64)>,
}

/// A client: by which name `agreed.json` has it, what it can, and by what it offers how it does what a case wants at a URL.
pub(crate) struct Client<'a> {
    pub(crate) name: &'a str,
    pub(crate) can: &'a [&'a str],
    pub(crate) offers: Vec<(&'static str, Talk)>,
}

pub(crate) type Talk = Box<dyn Fn(&Case, &str) -> Outcome>;

/// Runs all cases that both sides can, prints a line for each, and panics at the end if any has failed.
pub(crate) fn drive(client: &Client<'_>, other: &Other) {
    println!();
    let (only_offer, only_cases) = (env::var("INTEROP_OFFERS").ok(), env::var("INTEROP_CASES").unwrap_or_default());
    let can = |need: &String| client.can.contains(&need.as_str()) || other.can.contains(need);
    let mut cases = Case::all();
    cases.retain(|case| case.name.contains(&only_cases) && case.needs.iter().all(can));
    let agreed = agreed(client.name, &other.name);
    let (mut failed, mut uncompressed) = (0, false);
    for (offer, talk) in client.offers.iter().filter(|(offer, _)| only_offer.as_ref().is_none_or(|only| only == offer))
    {
        for (variant, url) in &other.urls {
            // Variants beyond those in the table don't compress. What is not compressed is run once, whatever was offered.
            let index = ORDER.iter().position(|known| known == variant);
            let agreed = index.and_then(|index| agreed[*offer].get(index)).map_or("none", String::as_str);
            let count = if agreed == "none" && uncompressed { 1 } else { cases.len() };
            uncompressed |= agreed == "none";
            for case in &cases[..count] {
                let verdict = judge(case, url, talk, agreed);
                failed += usize::from(verdict.is_err());
                match verdict {
                    Ok(()) => println!("ok {offer} to {variant}: {}", case.name),
                    Err(trouble) => println!("FAIL {offer} to {variant}: {}: {trouble}", case.name),
                }
            }
        }
    }
    assert_eq!(failed, 0, "cases have failed");
}

/// What comes of each offer with each of a server's variants.
fn agreed(client: &str, server: &str) -> HashMap<String, Vec<String>> {
    let mut all: HashMap<String, HashMap<String, Vec<String>>> =
        serde_json::from_str(include_str!("agreed.json")).expect("agreed.json");
    all.remove(&format!("{client} to {server}")).or_else(|| all.remove(client)).expect("what is agreed on")
}

/// One case, and how the server has seen it end.
fn judge(case: &Case, url: &str, talk: &Talk, agreed: &str) -> Result<(), String> {
    thread_local!(static TALKS: Cell<u64> = const { Cell::new(0) });
    let id = TALKS.replace(TALKS.get() + 1);
    let id = format!("{}-{id}", std::process::id());
    let outcome = talk(case, &format!("{url}{}?id={id}", case.path()));
    if let Some(status) = case.status {
        return same("the status", &outcome.status, &Some(status));
    }
    outcome.trouble.map_or(Ok(()), Err)?;
    let (code, reason) = outcome.closed.ok_or("it did not open")?;
    same("the subprotocol", &outcome.subprotocol, &case.subprotocol)?;
    same("the compression", &*short(outcome.extensions.as_deref()), agreed)?;
    if !agrees((code, &reason), &case.closed()) {
        return Err(format!("the client was told {code} {reason:?}"));
    }
    if let Some((received, sent)) = outcome.traffic.filter(|_| case.compressible) {
        let (is_small, compressed) = (|bytes| bytes < 100_000, agreed != "none");
        same("whether the server compressed", &is_small(received), &compressed)?;
        same("whether the client compressed", &is_small(sent), &compressed)?;
    }
    let ask: Case = serde_json::from_value(json!({ "name": "seen", "close": null })).expect("a case");
    let outcome = talk(&ask, &format!("{url}/seen?id={id}"));
    let heard = outcome.heard.ok_or_else(|| format!("the server did not tell how it ended: {:?}", outcome.trouble))?;
    let seen: Value = serde_json::from_str(&heard).map_err(|error| error.to_string())?;
    let code = seen["code"].as_u64().and_then(|code| u16::try_from(code).ok()).ok_or("no code")?;
    let reason = seen["reason"].as_str().unwrap_or_default();
    if agrees((code, reason), &case.seen()) { Ok(()) } else { Err(format!("the server was told {code} {reason:?}")) }
}

fn same<T: PartialEq + std::fmt::Debug + ?Sized>(what: &str, actual: &T, expected: &T) -> Result<(), String> {
    if actual == expected { Ok(()) } else { Err(format!("{what}: {actual:?}, not {expected:?}")) }
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
