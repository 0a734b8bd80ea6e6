//! Negotiation: RFC 7692 §7.1 as tables, and every offer against every setting.

use super::NegotiationError::*;
use super::*;
use crate::extensions;

fn list(value: &str) -> Vec<Extension<'_>> {
    if value.is_empty() { Vec::new() } else { extensions::parse([value.as_bytes()]).unwrap() }
}

fn compression(compressor: Memory, decompressor: Memory, window: u8, peer_window: u8) -> Compression {
    Compression {
        compressor,
        decompressor,
        window_bits: WindowBits::new(window).unwrap(),
        peer_window_bits: WindowBits::new(peer_window).unwrap(),
        ..Compression::default()
    }
}

fn dedicated(window: u8, peer_window: u8) -> Compression {
    compression(Memory::Dedicated, Memory::Dedicated, window, peer_window)
}

#[test]
fn window_bits() {
    for text in ["8", "9", "10", "11", "12", "13", "14", "15"] {
        assert_eq!(WindowBits::parse(text).unwrap().to_string(), text);
    }
    for text in ["", "7", "16", "08", "010", "+8", "-8", "8.0", "0", "1", "99", "255", "256", "264", "a", "1e1", "٨"] {
        assert_eq!(WindowBits::parse(text), None, "{text}");
    }
    assert!(WindowBits::new(7).is_none() && WindowBits::new(16).is_none());
}

/// What a server that has no wishes of its own answers: `None` declines.
#[test]
fn offers() {
    for (offered, answer) in [
        ("", None),
        ("x-other; a=1", None),
        ("permessage-deflate", Some("")),
        ("Permessage-Deflate", None),
        ("x-other, permessage-deflate", Some("")),
        ("permessage-deflate; server_no_context_takeover", Some("; server_no_context_takeover")),
        ("permessage-deflate; client_no_context_takeover", Some("; client_no_context_takeover")),
        ("permessage-deflate; server_max_window_bits=10", Some("; server_max_window_bits=10")),
        ("permessage-deflate; server_max_window_bits=\"10\"", Some("; server_max_window_bits=10")),
        ("permessage-deflate; server_max_window_bits=15", Some("; server_max_window_bits=15")),
        ("permessage-deflate; server_max_window_bits=8", Some("; server_max_window_bits=8")),
        ("permessage-deflate; client_max_window_bits", Some("")),
        ("permessage-deflate; client_max_window_bits=15", Some("")),
        ("permessage-deflate; client_max_window_bits=9", Some("; client_max_window_bits=9")),
        (
            "permessage-deflate; client_max_window_bits=8; server_max_window_bits=9; client_no_context_takeover; \
             server_no_context_takeover",
            Some(
                "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; \
                  client_max_window_bits=8",
            ),
        ),
        // What declines an offer.
        ("permessage-deflate; server_max_window_bits", None),
        ("permessage-deflate; server_max_window_bits=7", None),
        ("permessage-deflate; server_max_window_bits=16", None),
        ("permessage-deflate; server_max_window_bits=08", None),
        ("permessage-deflate; client_max_window_bits=7", None),
        ("permessage-deflate; client_max_window_bits=\"015\"", None),
        ("permessage-deflate; server_no_context_takeover=1", None),
        ("permessage-deflate; client_no_context_takeover=true", None),
        ("permessage-deflate; server_no_context_takeover; server_no_context_takeover", None),
        ("permessage-deflate; client_no_context_takeover; client_no_context_takeover", None),
        ("permessage-deflate; server_max_window_bits=9; server_max_window_bits=9", None),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits=9", None),
        ("permessage-deflate; mystery", None),
        ("permessage-deflate; Server_No_Context_Takeover", None),
        // The first that can be accepted (RFC 7692 §5.2).
        ("permessage-deflate; server_max_window_bits=10, permessage-deflate", Some("; server_max_window_bits=10")),
        (
            "permessage-deflate; mystery, x, permessage-deflate; client_max_window_bits=9",
            Some("; client_max_window_bits=9"),
        ),
    ] {
        let accepted = accept(&list(offered), &dedicated(15, 15)).map(|agreed| agreed.to_string());
        assert_eq!(accepted, answer.map(|answer| NAME.to_owned() + answer), "{offered}");
    }
}

#[test]
fn why_an_offer_is_declined() {
    for (offered, error) in [
        ("permessage-deflate; mystery", UnknownParameter),
        ("permessage-deflate; client_max_window_bits; client_max_window_bits", Duplicate(CLIENT_MAX_WINDOW_BITS)),
        ("permessage-deflate; server_no_context_takeover=0", InvalidValue(SERVER_NO_CONTEXT_TAKEOVER)),
        ("permessage-deflate; server_max_window_bits", InvalidValue(SERVER_MAX_WINDOW_BITS)),
    ] {
        assert_eq!(Offer::parse(&list(offered)[0]), Err(error), "{offered}");
    }
}

/// A client checks what it is answered against what it offered.
#[test]
fn answers() {
    let wishes = compression(Memory::Shared, Memory::Shared, 12, 10);
    let modest = dedicated(15, 15);
    let offer = "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=10; \
                 client_max_window_bits=12";
    assert_eq!(Offer::new(&wishes).to_string(), offer);
    assert_eq!(Offer::new(&modest).to_string(), "permessage-deflate; client_max_window_bits");
    for (compression, answer, expected) in [
        (&modest, "", Ok(false)),
        (&modest, "permessage-deflate", Ok(true)),
        (&modest, "permessage-deflate; server_no_context_takeover; server_max_window_bits=8", Ok(true)),
        (&modest, "permessage-deflate; client_no_context_takeover; client_max_window_bits=\"8\"", Ok(true)),
        (&modest, "x-other", Err(NotOffered)),
        (&modest, "permessage-deflate, x-other", Err(NotOffered)),
        (&modest, "permessage-deflate, permessage-deflate", Err(AcceptedTwice)),
        (&modest, "permessage-deflate; client_max_window_bits", Err(InvalidValue(CLIENT_MAX_WINDOW_BITS))),
        (&modest, "permessage-deflate; server_max_window_bits", Err(InvalidValue(SERVER_MAX_WINDOW_BITS))),
        (&modest, "permessage-deflate; server_max_window_bits=16", Err(InvalidValue(SERVER_MAX_WINDOW_BITS))),
        (&modest, "permessage-deflate; client_no_context_takeover=1", Err(InvalidValue(CLIENT_NO_CONTEXT_TAKEOVER))),
        (&modest, "permessage-deflate; mystery=1", Err(UnknownParameter)),
        (
            &modest,
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            Err(Duplicate(SERVER_NO_CONTEXT_TAKEOVER)),
        ),
        (&wishes, offer, Ok(true)),
        (&wishes, "permessage-deflate; server_no_context_takeover; server_max_window_bits=9", Ok(true)),
        (&wishes, "permessage-deflate; server_max_window_bits=10", Err(Ignored(SERVER_NO_CONTEXT_TAKEOVER))),
        (&wishes, "permessage-deflate; server_no_context_takeover", Err(Ignored(SERVER_MAX_WINDOW_BITS))),
        (
            &wishes,
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=11",
            Err(Ignored(SERVER_MAX_WINDOW_BITS)),
        ),
        (
            &wishes,
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits=13",
            Ok(true), // more than it hinted at
        ),
    ] {
        let checked = Offer::new(compression).check(&list(answer)).map(|agreed| agreed.is_some());
        assert_eq!(checked, expected, "{answer}");
    }
    let mut offer = Offer::new(&modest);
    offer.client_max_window_bits = None;
    let unasked = offer.check(&list("permessage-deflate; client_max_window_bits=9"));
    assert_eq!(unasked, Err(Unasked(CLIENT_MAX_WINDOW_BITS)));
}

/// Each client with each server: what the server answers is what the client accepts, and meets what both asked for.
#[test]
fn everybody_with_everybody() {
    let windows = [8, 9, 12, 15];
    let mut all = Vec::new();
    for compressor in [Memory::Shared, Memory::Dedicated] {
        for decompressor in [Memory::Shared, Memory::Dedicated] {
            for window in windows {
                all.extend(windows.map(|peer_window| compression(compressor, decompressor, window, peer_window)));
            }
        }
    }
    for client in &all {
        for server in &all {
            let offer = Offer::new(client);
            let offered = offer.to_string();
            let agreed = accept(&list(&offered), server).unwrap();
            assert_eq!(offer.check(&list(&agreed.to_string())), Ok(Some(agreed)), "{offered} and {agreed}");
            let forgets = |one: Memory, other: Memory| one == Memory::Shared || other == Memory::Shared;
            assert_eq!(agreed.server_no_context_takeover, forgets(server.compressor, client.decompressor));
            assert_eq!(agreed.client_no_context_takeover, forgets(client.compressor, server.decompressor));
            let server_window = agreed.server_max_window_bits.unwrap_or(WindowBits::MAX);
            assert_eq!(server_window, server.window_bits.min(client.peer_window_bits));
            let client_window = agreed.client_max_window_bits.unwrap_or(WindowBits::MAX);
            assert_eq!(client_window, client.window_bits.min(server.peer_window_bits));
        }
    }
}
