//! The opening handshake: the scanner, the request, the answer, and a whole connection up to there.

mod extensions;
mod naive;
mod talk;

use std::rc::Rc;

use super::octets::Octets;
use crate::handshake::{self, HandshakeError, Scanner};
use crate::{Request, Settings};
pub(super) use naive::{Verdict, accept, end_of_head, is_token, judge, lines, too_large, trim};
use talk::{Ending, Talk};

/// Takes `data` as the limits and how the connection ends (the first byte), the sizes of the chunks (the next three,
/// by turns) and what arrives, and checks what becomes of it against a naive reading of the RFCs: by the pure parts, and
/// on a connection; whole, and in chunks.
///
/// # Panics
/// If the crate and the naive reading disagree, if chunks make a difference, if a byte of the head is looked at twice, or
/// if the answer is not HTTP.
pub fn handshake(data: &[u8]) {
    let mut input = Octets::new(data);
    let choices = input.choice();
    let settings = Rc::new(Settings {
        max_handshake: [16_384, 512, 128, 40][usize::from(choices & 3)],
        max_headers: [100, 8, 3, 1][usize::from(choices >> 2 & 3)],
        max_message: 4096,
        heartbeat: None,
        ..Settings::default()
    });
    let ending = Ending::ALL[usize::from(choices >> 4 & 3)];
    let sizes: [usize; 3] = [(); 3].map(|()| 1 + usize::from(input.choice()));
    let bytes = input.rest();

    let end = scan(bytes, settings.max_handshake, sizes);
    let whole = Talk::of(&settings, &[bytes], ending);
    let parts = Talk::of(&settings, &chunks(bytes, sizes), ending);
    assert_eq!(parts, whole, "chunks of {sizes:?} make a difference");
    match end {
        // Half a request has no method.
        Ok(None) if ending == Ending::Time && !bytes.is_empty() => whole.check_answer(b"", &[408]),
        Ok(None) => assert!(whole.sent.is_empty(), "an answer to half a request: {whole:?}"),
        Err(error) => {
            let seen = &bytes[..bytes.len().min(settings.max_handshake)];
            let status = if error.status() == 431 { too_large(seen) } else { error.status() };
            whole.check_answer(seen, &[status]);
        }
        Ok(Some(end)) => match read(&bytes[..end], &settings) {
            Verdict::Refused(statuses) => whole.check_answer(&bytes[..end], &statuses),
            Verdict::Plain => whole.check_answer(&bytes[..end], &[426]),
            Verdict::WebSocket(accept) => {
                // What stands behind the head in the same read is the WebSocket's.
                let behind = [&bytes[..end], b"\x81\x82key!\x03\x0c"].concat();
                let greeted = Talk::of(&settings, &[&behind], ending);
                assert!(greeted.check_switch(&accept).starts_with(b"\x81\x02hi"), "{greeted:?}");
                whole.check_switch(&accept);
            }
        },
    }
}

/// `bytes` cut into pieces of these sizes, by turns.
fn chunks(bytes: &[u8], sizes: [usize; 3]) -> Vec<&[u8]> {
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    for size in sizes.into_iter().cycle() {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        pieces.push(piece);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    pieces
}

/// The scanner's finding, which is the naive one, and the same in chunks; at every byte once: what was scanned before is
/// overwritten by what no head may have, and nobody takes offence.
fn scan(bytes: &[u8], limit: usize, sizes: [usize; 3]) -> Result<Option<usize>, HandshakeError> {
    let found = Scanner::default().scan(bytes, limit);
    assert_eq!(found.map_err(HandshakeError::status), end_of_head(bytes, limit));
    if let Ok(Some(end)) = found {
        assert_eq!(Scanner::default().scan(&bytes[..end], limit), found, "it depends on what is behind the head");
    }
    let (mut scanner, mut copy, mut seen) = (Scanner::default(), bytes.to_vec(), 0);
    for piece in chunks(bytes, sizes) {
        copy[..seen].fill(0);
        seen += piece.len();
        let here = scanner.scan(&copy[..seen], limit);
        if here != Ok(None) {
            assert_eq!(here, found, "after {seen} bytes in chunks of {sizes:?}");
            return found;
        }
    }
    assert_eq!(found, Ok(None), "not found in chunks of {sizes:?}");
    found
}

/// What is to be made of a whole head, on which the naive reading agrees.
fn read(head: &[u8], settings: &Settings) -> Verdict {
    let verdict = judge(head, settings.max_headers);
    let examined = Request::parse(head, settings.max_headers).and_then(|request| handshake::examine(&request));
    match (&verdict, examined) {
        (Verdict::WebSocket(accept), Ok(Some(key))) => assert_eq!(key.as_bytes(), accept.as_bytes()),
        (Verdict::Plain, Ok(None)) => {}
        (Verdict::Refused(statuses), Err(error)) => {
            assert!(statuses.contains(&error.status()), "{error}, but {statuses:?}");
        }
        (_, examined) => panic!("{examined:?}, but {verdict:?}"),
    }
    verdict
}
