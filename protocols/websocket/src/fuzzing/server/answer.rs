//! RFC 6455 §4.1 as one would read it aloud: what a client is to make of a server's answer.

use crate::deflate::{Offer, Parameters};
use crate::extensions;
use crate::fuzzing::handshake::{is_token, lines, trim};

/// What is to be made of an answer.
pub(super) enum Judged {
    /// Another one follows.
    Interim,
    /// It opens the WebSocket, with this agreed on.
    Open(Option<Parameters>),
    /// It does not, and says so by this status.
    Refused(u16),
    /// It breaks a rule.
    Broken,
}

/// Judges a whole head, empty line included, of an answer to a request that offers this much.
pub(super) fn judge(head: &[u8], max_headers: usize, accept: &str, offer: Option<&Offer>) -> Judged {
    let mut lines: Vec<&[u8]> = lines(head).into_iter().filter(|line| !line.is_empty()).collect();
    let Some((version, status)) = read_status(lines.remove(0)) else { return Judged::Broken };
    let field = |line: &&[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let value = String::from_utf8_lossy(trim(&line[colon + 1..])).into_owned();
        is_token(&line[..colon]).then(|| (String::from_utf8_lossy(&line[..colon]).to_lowercase(), value))
    };
    let Some(fields) = lines.iter().map(field).collect::<Option<Vec<_>>>() else { return Judged::Broken };
    if fields.len() > max_headers {
        return Judged::Broken;
    }
    let values = |name: &str| fields.iter().filter(move |field| field.0 == name).map(|field| &*field.1).collect();
    let list = |name: &str| {
        let values: Vec<&str> = values(name);
        let elements = values.into_iter().flat_map(|value| value.split(','));
        elements.map(|element| element.trim().to_lowercase()).filter(|element| !element.is_empty()).collect()
    };
    let (upgrade, connection): (Vec<String>, Vec<String>) = (list("upgrade"), list("connection"));
    let (accepts, subprotocols): (Vec<&str>, Vec<&str>) =
        (values("sec-websocket-accept"), values("sec-websocket-protocol"));
    // How the words are read, and what they come to, has a target of its own.
    let chosen: Vec<&str> = values("sec-websocket-extensions");
    let chosen = extensions::parse(chosen.iter().map(|value| value.as_bytes())).ok();
    let agreed = match (chosen, offer) {
        (Some(chosen), Some(offer)) => offer.check(&chosen).ok(),
        (Some(chosen), None) if chosen.is_empty() => Some(None),
        _ => None,
    };
    let opens = version == b'1'
        && upgrade == ["websocket"]
        && connection.iter().any(|option| option == "upgrade")
        && accepts == [accept]
        && subprotocols.is_empty();
    match (status, agreed) {
        (101, Some(agreed)) if opens => Judged::Open(agreed),
        (101, _) => Judged::Broken,
        (100..200, _) => Judged::Interim,
        (200..600, _) => Judged::Refused(status),
        _ => Judged::Broken,
    }
}

/// The minor version's digit and the status (RFC 9112 §4).
fn read_status(line: &[u8]) -> Option<(u8, u16)> {
    let [b'H', b'T', b'T', b'P', b'/', b'1', b'.', minor @ (b'0' | b'1'), b' ', digits @ ..] = line else {
        return None;
    };
    let (digits, reason) = digits.split_first_chunk::<3>()?;
    let status = digits
        .iter()
        .try_fold(0, |status, digit| digit.is_ascii_digit().then(|| 10 * status + u16::from(digit - b'0')))?;
    (reason.is_empty() || reason[0] == b' ').then_some((*minor, status))
}
