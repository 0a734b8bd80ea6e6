//! RFC 9112 and RFC 6455 §4.2.1 as one would read them aloud: no state, no short cuts, lists of lines and words.

use std::collections::BTreeSet;

use super::extensions;

/// What is to be made of a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// An opening handshake, with the value of `Sec-WebSocket-Accept`.
    WebSocket(String),
    /// Plain HTTP.
    Plain,
    /// To be refused with one of these statuses: where several rules are broken, any may be told.
    Refused(Vec<u16>),
}

/// Where a head ends in `bytes`: at the empty line behind a line that is not; or the status to refuse it with.
pub(crate) fn end_of_head(bytes: &[u8], limit: usize) -> Result<Option<usize>, u16> {
    let seen = &bytes[..bytes.len().min(limit)];
    let mut start = 0;
    while seen[start..].starts_with(b"\r\n") {
        start += 2;
    }
    let end = seen[start..].windows(4).position(|four| four == b"\r\n\r\n").map(|at| start + at + 4);
    let allowed = |at: usize| match (seen[at], at.checked_sub(1).map(|before| seen[before])) {
        (b'\n', before) => before == Some(b'\r'),
        (_, Some(b'\r')) => false,
        (byte, _) => byte == b'\r' || byte == b'\t' || !byte.is_ascii_control(),
    };
    match end {
        _ if !(0..end.unwrap_or(seen.len())).all(allowed) => Err(400),
        Some(end) => Ok(Some(end)),
        None if bytes.len() >= limit => Err(431),
        None => Ok(None),
    }
}

/// The status for a head that does not end within its limit, which was reached: the first line's fault, or that of what
/// is behind it.
pub(crate) fn too_large(seen: &[u8]) -> u16 {
    let first = lines(seen).iter().take_while(|line| line.is_empty()).count();
    let begun = &seen[2 * first..];
    if begun.is_empty() || begun == b"\r" || begun.windows(2).any(|pair| pair == b"\r\n") { 431 } else { 414 }
}

/// A request, word by word.
struct Naive<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: &'a [u8],
    fields: Vec<(String, &'a [u8])>,
}

/// Judges a whole head, empty line included.
pub(crate) fn judge(head: &[u8], max_headers: usize) -> Verdict {
    let request = match read(head, max_headers) {
        Ok(request) => request,
        Err(statuses) => return Verdict::Refused(statuses),
    };
    let broken = request.broken();
    if !broken.is_empty() {
        return Verdict::Refused(broken);
    }
    let upgrade = request.list("upgrade").any(|protocol| protocol.eq_ignore_ascii_case(b"websocket"));
    let meant = request.values("sec-websocket-key").chain(request.values("sec-websocket-version")).next().is_some();
    match (upgrade, meant) {
        (false, false) => Verdict::Plain,
        (false, true) => Verdict::Refused(vec![400]),
        (true, false) if request.version == b"HTTP/1.0" => Verdict::Plain, // RFC 9110 §7.8: to be ignored
        (true, _) => request.opening(),
    }
}

/// The grammar of RFC 9112 §2.1, §3, §5, without what it lets a server be lenient about.
fn read(head: &[u8], max_headers: usize) -> Result<Naive<'_>, Vec<u16>> {
    let mut lines: Vec<&[u8]> = lines(head);
    lines.drain(..lines.iter().take_while(|line| line.is_empty()).count());
    lines.retain(|line| !line.is_empty()); // the last line, and what is behind its end
    let mut statuses = Vec::new();
    let words: Vec<&[u8]> = lines.remove(0).split(|byte| *byte == b' ').collect();
    let (method, target, version) = match words[..] {
        [method, target, version] if is_token(method) && !target.is_empty() => (method, target, version),
        // Whether what stands where a version should is one is anybody's guess.
        _ => (&b""[..], &b""[..], &b"?"[..]),
    };
    match version {
        b"HTTP/1.0" | b"HTTP/1.1" => {}
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
            statuses.push(505);
        }
        _ => statuses.extend([400, 505]),
    }
    if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
        statuses.push(400);
    }
    if lines.len() > max_headers {
        statuses.push(431);
    }
    let mut fields = Vec::new();
    for line in lines {
        match line.iter().position(|byte| *byte == b':') {
            Some(colon) if is_token(&line[..colon]) => {
                fields.push((String::from_utf8_lossy(&line[..colon]).to_lowercase(), trim(&line[colon + 1..])));
            }
            _ => statuses.push(400),
        }
    }
    if statuses.is_empty() { Ok(Naive { method, target, version, fields }) } else { Err(statuses) }
}

impl<'a> Naive<'a> {
    fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |(known, _)| known == name).map(|(_, value)| *value)
    }

    fn list(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let elements = self.values(name).flat_map(|value| value.split(|byte| *byte == b','));
        elements.map(trim).filter(|element| !element.is_empty())
    }

    /// What is wrong with it as a request.
    fn broken(&self) -> Vec<u16> {
        let mut statuses = Vec::new();
        let target = String::from_utf8_lossy(self.target);
        let absolute = |(scheme, rest): (&str, &str)| {
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            ["http", "https", "ws", "wss"].contains(&&*scheme.to_lowercase()) && is_authority(authority.as_bytes())
        };
        let asterisk = target == "*" && self.method == b"OPTIONS";
        let names_something = target.starts_with('/') || asterisk || target.split_once("://").is_some_and(absolute);
        if self.method == b"CONNECT" || !names_something {
            statuses.push(400);
        }
        let hosts: Vec<&[u8]> = self.values("host").collect();
        if hosts.len() > 1 || (hosts.is_empty() && self.version == b"HTTP/1.1") || !hosts.into_iter().all(is_authority)
        {
            statuses.push(400);
        }
        let lengths: Vec<&[u8]> = self.values("content-length").collect();
        let coded = self.values("transfer-encoding").next().is_some();
        let is_number = |length: &[u8]| !length.is_empty() && length.iter().all(u8::is_ascii_digit);
        match lengths[..] {
            [] if coded => statuses.push(413),
            [] => {}
            [length] if !coded && is_number(length) => {
                if length.iter().any(|digit| *digit != b'0') {
                    statuses.push(413);
                }
            }
            _ => statuses.push(400),
        }
        statuses
    }

    /// RFC 6455 §4.2.1, number by number.
    fn opening(&self) -> Verdict {
        let mut statuses = Vec::new();
        let mut demand = |held: bool, status| {
            if !held {
                statuses.push(status);
            }
        };
        let keys: Vec<&[u8]> = self.values("sec-websocket-key").collect();
        let offered: Vec<&[u8]> = self.list("sec-websocket-protocol").collect();
        let distinct: BTreeSet<&[u8]> = offered.iter().copied().collect();
        demand(self.method == b"GET", 405);
        demand(self.version == b"HTTP/1.1", 505);
        demand(self.list("connection").any(|option| option.eq_ignore_ascii_case(b"upgrade")), 400);
        demand(keys.len() == 1 && keys.iter().all(|key| is_key(key)), 400);
        demand(self.values("sec-websocket-version").collect::<Vec<_>>() == [b"13"], 426);
        demand(distinct.len() == offered.len() && offered.iter().all(|name| is_token(name)), 400);
        demand(!offered.is_empty() || self.values("sec-websocket-protocol").next().is_none(), 400);
        demand(extensions::are_well_formed(&self.values("sec-websocket-extensions").collect::<Vec<_>>()), 400);
        match keys.first() {
            Some(key) if statuses.is_empty() => Verdict::WebSocket(accept(key)),
            _ => Verdict::Refused(statuses),
        }
    }
}

/// The lines of `head`, without their ends.
pub(crate) fn lines(head: &[u8]) -> Vec<&[u8]> {
    let mut lines = Vec::new();
    let mut rest = head;
    while let Some(at) = rest.windows(2).position(|pair| pair == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines
}

pub(crate) fn trim(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = value.iter().take_while(|byte| blank(byte)).count();
    let end = value[start..].iter().rev().take_while(|byte| blank(byte)).count();
    &value[start..value.len() - end]
}

pub(crate) fn is_token(word: &[u8]) -> bool {
    !word.is_empty() && word.iter().all(|byte| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte))
}

/// RFC 6454 §4 and §5, between the page that an `Origin` names and the host that a request asks for: both written out in
/// full, and then compared.
pub(super) fn is_same_origin(origin: &str, host: &str) -> bool {
    let (scheme, page) = match origin.split_once("://") {
        Some((scheme, page)) => (scheme.to_lowercase(), page),
        None => return false,
    };
    let default = match &*scheme {
        "http" => "80",
        "https" => "443",
        _ => return false,
    };
    let in_full = |authority: &str| {
        let (host, port) = match authority.rfind(':') {
            Some(colon) if !authority.ends_with(']') => (&authority[..colon], &authority[colon + 1..]),
            _ => (authority, ""),
        };
        let port = if port.is_empty() { default } else { port };
        let address = host.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>();
        let host = address.map_or(host.to_lowercase(), |address| format!("{:x?}", address.octets()));
        (host, port.trim_start_matches('0').to_owned())
    };
    is_authority(page.as_bytes()) && is_authority(host.as_bytes()) && in_full(page) == in_full(host)
}

/// `host [":" port]` of RFC 3986 §3.2.2 and §3.2.3, with a host that is not empty and a port that can be one.
fn is_authority(word: &[u8]) -> bool {
    let Ok(word) = std::str::from_utf8(word) else { return false };
    let (host, port) = match word.rfind(':') {
        Some(colon) if !word.ends_with(']') => (&word[..colon], &word[colon + 1..]),
        _ => (word, ""),
    };
    let is_port = port.bytes().all(|digit| digit.is_ascii_digit())
        && port.bytes().fold(0_u32, |port, digit| (10 * port + u32::from(digit - b'0')).min(99_999)) <= 65_535;
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_name = !host.is_empty()
        && host.split('%').skip(1).all(|coded| coded.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2)
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte));
    is_port && address.map_or(is_name, |address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

/// 16 bytes in base64: 22 digits (the last one's low bits say nothing) and two of padding.
fn is_key(value: &[u8]) -> bool {
    let digit = |byte: &u8| DIGITS.contains(byte);
    matches!(value.split_last_chunk(), Some((digits, b"==")) if digits.len() == 22 && digits.iter().all(digit))
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 6455 §4.2.2, number 5.4.
pub(crate) fn accept(key: &[u8]) -> String {
    let digest = sha1(&[key, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat());
    let mut text = String::new();
    for three in digest.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | three.get(at).map_or(0, |byte| usize::from(*byte)));
        for place in 0..4 {
            let digit = char::from(DIGITS[bits >> (18 - 6 * place) & 63]);
            text.push(if place > three.len() { '=' } else { digit });
        }
    }
    text
}

/// RFC 3174 §6.1.
fn sha1(message: &[u8]) -> Vec<u8> {
    let mut padded = [message, &[0x80]].concat();
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend((8 * message.len() as u64).to_be_bytes());
    let mut hash: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.chunks(64) {
        let mut words: Vec<u32> = block.as_chunks().0.iter().map(|word| u32::from_be_bytes(*word)).collect();
        for at in 16..80 {
            words.push((words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16]).rotate_left(1));
        }
        let [mut a, mut b, mut c, mut d, mut e] = hash;
        for (at, word) in words.into_iter().enumerate() {
            let (mix, constant) = match at / 20 {
                0 => (b & c | !b & d, 0x5a82_7999),
                1 => (b ^ c ^ d, 0x6ed9_eba1),
                2 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let sum = [mix, e, constant, word].into_iter().fold(a.rotate_left(5), u32::wrapping_add);
            (a, b, c, d, e) = (sum, a, b.rotate_left(30), c, d);
        }
        for (total, word) in hash.iter_mut().zip([a, b, c, d, e]) {
            *total = total.wrapping_add(word);
        }
    }
    hash.into_iter().flat_map(u32::to_be_bytes).collect()
}
