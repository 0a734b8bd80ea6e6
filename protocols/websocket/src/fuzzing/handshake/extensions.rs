//! `Sec-WebSocket-Extensions` as RFC 6455 §9.1 and RFC 9110 §5.6.1 would be read aloud: cut into words, then looked at.

use super::is_token;

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Word,
    Quoted,
    Symbol(u8),
}

/// Whether the values of these fields are a list of extensions, all together; no field is one, too.
pub(super) fn are_well_formed(values: &[&[u8]]) -> bool {
    let mut extensions = 0;
    for value in values {
        let Some(parts) = parts(value) else { return false };
        for element in parts.split(|part| *part == Part::Symbol(b',')).filter(|element| !element.is_empty()) {
            if !is_extension(element) {
                return false;
            }
            extensions += 1;
        }
    }
    values.is_empty() || extensions > 0
}

/// Words, symbols and quoted strings whose content is a word; `None` if there is something else.
fn parts(mut value: &[u8]) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    while let [first, rest @ ..] = value {
        let word = value.iter().take_while(|byte| is_token(&[**byte])).count();
        (value, parts) = match first {
            b' ' | b'\t' => (rest, parts),
            b',' | b';' | b'=' => (rest, [parts, vec![Part::Symbol(*first)]].concat()),
            b'"' => (unquoted(rest)?, [parts, vec![Part::Quoted]].concat()),
            _ if word > 0 => (&value[word..], [parts, vec![Part::Word]].concat()),
            _ => return None,
        };
    }
    Some(parts)
}

/// What is behind the end of a quoted string.
fn unquoted(value: &[u8]) -> Option<&[u8]> {
    let (mut content, mut at) = (Vec::new(), 0);
    while *value.get(at)? != b'"' {
        at += usize::from(value[at] == b'\\' && at + 1 < value.len());
        content.push(value[at]);
        at += 1;
    }
    is_token(&content).then_some(&value[at + 1..])
}

/// `token *( ";" token [ "=" ( token | quoted-string ) ] )`
fn is_extension(parts: &[Part]) -> bool {
    use Part::{Quoted, Symbol, Word};
    let mut pieces = parts.split(|part| *part == Symbol(b';'));
    let is_parameter =
        |piece: &[Part]| matches!(piece, [Word] | [Word, Symbol(b'='), Word] | [Word, Symbol(b'='), Quoted]);
    pieces.next() == Some(&[Word]) && pieces.all(is_parameter)
}
