use super::*;

/// What a reader sees of `pieces`: the lines as text, then the error if there is one.
fn read(pieces: &[&[u8]]) -> (Vec<String>, Option<LineError>) {
    let mut unread = Vec::new();
    let mut lines = Vec::new();
    for piece in pieces {
        unread.extend_from_slice(piece);
        loop {
            match Line::parse(&unread) {
                Ok(Some((line, length))) => {
                    lines.push(format!("{line:?}"));
                    unread.drain(..length);
                }
                Ok(None) => break,
                Err(error) => return (lines, Some(error)),
            }
        }
        assert!(unread.len() < LONGEST_LINE, "the unread tail is bounded");
    }
    (lines, None)
}

fn encoded(line: Line<'_>) -> Vec<u8> {
    line.encode(&mut [0; LONGEST_LINE]).to_vec()
}

const SCRIPT: &[u8] = b"PING 0\nPONG 18446744073709551615\nERR no \xff\nPING 10\nPONG 1\nPING 01\nPING 2\n";

#[test]
fn every_split_reads_the_same() {
    let whole = read(&[SCRIPT]);
    assert_eq!(whole.0.len(), 5);
    assert_eq!(whole.1, Some(LineError::Number));
    for first in 0..=SCRIPT.len() {
        for second in first..=SCRIPT.len() {
            let pieces = [&SCRIPT[..first], &SCRIPT[first..second], &SCRIPT[second..]];
            assert_eq!(read(&pieces), whole, "split at {first} and {second}");
        }
    }
    let bytes: Vec<&[u8]> = SCRIPT.chunks(1).collect();
    assert_eq!(read(&bytes), whole, "byte by byte");
}

#[test]
fn numbers_are_read_to_the_edges_of_a_u64() {
    assert_eq!(Line::parse(b"PING 0\n"), Ok(Some((Line::Ping(0), 7))));
    assert_eq!(Line::parse(b"PONG 18446744073709551615\n"), Ok(Some((Line::Pong(u64::MAX), 26))));
    assert_eq!(Line::parse(b"PING 18446744073709551616\n"), Err(LineError::Number));
}

#[test]
fn a_number_has_one_spelling() {
    for number in ["", " ", "00", "01", "+1", "-1", "1 ", " 1", "1\r", "0x1", "1.0", "1_0", "\u{0661}"] {
        for verb in ["PING", "PONG"] {
            let line = format!("{verb} {number}\n");
            assert_eq!(Line::parse(line.as_bytes()), Err(LineError::Number), "{line:?}");
        }
    }
}

#[test]
fn any_other_line_is_refused() {
    for line in [
        "\n",
        "\r\n",
        "PING\n",
        "PONG\n",
        "PING1\n",
        "ping 1\n",
        " PING 1\n",
        "PINGPING 1\n",
        "ERR\n",
        "GET / HTTP/1.1\r\n",
        "\0\n",
    ] {
        assert_eq!(Line::parse(line.as_bytes()), Err(LineError::Unknown), "{line:?}");
    }
    assert_eq!(Line::parse(b"\xff\xfe\n"), Err(LineError::Unknown));
}

#[test]
fn a_line_is_too_long_without_waiting_for_its_end_and_wherever_it_ends() {
    let mut line = vec![b'x'; LONGEST_LINE - 1];
    assert_eq!(Line::parse(&line), Ok(None), "its line feed would just fit");
    line.push(b'\n');
    assert_eq!(Line::parse(&line), Err(LineError::Unknown));
    line.insert(0, b'x');
    assert_eq!(Line::parse(&line), Err(LineError::TooLong));
    line.pop();
    assert_eq!(Line::parse(&line), Err(LineError::TooLong));
}

#[test]
fn an_error_line_too_long_is_cut_and_not_answered() {
    let mut line = b"ERR ".to_vec();
    line.resize(4_000, b'x');
    let cut = &line[4..LONGEST_LINE];
    assert_eq!(Line::parse(&line), Ok(Some((Line::Err(cut), LONGEST_LINE))));
    assert_eq!(Line::parse(&line[..LONGEST_LINE - 1]), Ok(None));
}

#[test]
fn what_is_written_reads_back() {
    for number in [0, 1, 9, 10, u64::from(u32::MAX), u64::MAX] {
        for line in [Line::Ping(number), Line::Pong(number)] {
            let bytes = encoded(line);
            assert_eq!(Line::parse(&bytes), Ok(Some((line, bytes.len()))));
        }
    }
    assert_eq!(encoded(Line::Ping(u64::MAX)).len(), 26);
}

#[test]
fn a_reason_stays_on_one_line_of_bounded_length() {
    assert_eq!(encoded(Line::Err(b"a\nb")), b"ERR a b\n");
    let long = encoded(Line::Err(&[b'\n'; 1_000]));
    assert_eq!(long.len(), LONGEST_LINE);
    assert_eq!(long.iter().filter(|&&byte| byte == b'\n').count(), 1);
    assert!(long.ends_with(b"\n"));
}

#[test]
fn every_reason_fits_a_line() {
    for error in [LineError::Unknown, LineError::Number, LineError::TooLong, LineError::Unfinished] {
        let line = encoded(Line::Err(error.to_string().as_bytes()));
        assert_eq!(line, format!("ERR {error}\n").into_bytes());
    }
}

/// Against the obvious way to say it.
#[test]
fn parsing_agrees_with_a_naive_reader() {
    let alphabet = b"PINGO 0129\n+\r";
    let mut random = 7u64;
    for _ in 0..200_000 {
        let mut bytes = Vec::new();
        if random & (1 << 40) == 0 {
            bytes.extend_from_slice(if random & (1 << 41) == 0 { PING } else { PONG });
        }
        for _ in 0..random % 7 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            bytes.push(alphabet[(random >> 33) as usize % alphabet.len()]);
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let naive = String::from_utf8(bytes.clone()).unwrap().split_once('\n').map(|(text, _)| {
            let value = text.get(5..).and_then(|n| n.parse::<u64>().ok());
            value.filter(|n| text == format!("PING {n}") || text == format!("PONG {n}"))
        });
        let parsed = match Line::parse(&bytes) {
            Ok(None) => None,
            Ok(Some((Line::Ping(n) | Line::Pong(n), _))) => Some(Some(n)),
            Ok(Some((Line::Err(_), _))) | Err(_) => Some(None),
        };
        assert_eq!(parsed, naive, "{bytes:?}");
    }
}
