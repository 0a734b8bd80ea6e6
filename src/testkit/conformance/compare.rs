//! What two runs differ in, in words.

use std::fmt::{Display, Write};

use crate::testkit::trial::Outcome;

/// What is shown of a text, at most, in characters; and of bytes, before and behind where they differ.
const SHOWN: usize = 200;
const BEFORE: usize = 24;
const BEHIND: usize = 40;

/// What `got` has otherwise than `expected`; `None` if nothing.
pub(super) fn outcomes(expected: &Outcome, got: &Outcome) -> Option<String> {
    if let Some(difference) = bytes(&expected.sent, &got.sent) {
        return Some(format!("it sends something else\n{difference}"));
    }
    if let Some(difference) = notes(&expected.notes, &got.notes) {
        return Some(format!("it notes something else\n{difference}"));
    }
    if expected.close_reason != got.close_reason {
        let difference = two(&expected.close_reason, &got.close_reason);
        return Some(format!("the connection ends for another reason\n{difference}"));
    }
    if expected.half_closed != got.half_closed {
        let in_words = |half_closed| if half_closed { "an end of the stream" } else { "a reset" };
        let difference = two(in_words(expected.half_closed), in_words(got.half_closed));
        return Some(format!("the peer sees another end\n{difference}"));
    }
    None
}

/// Where two outputs part; `None` if they don't.
pub(super) fn bytes(expected: &[u8], got: &[u8]) -> Option<String> {
    if expected == got {
        return None;
    }
    let at = expected.iter().zip(got).take_while(|(one, other)| one == other).count();
    let show = |bytes: &[u8]| {
        let (from, to) = (at.saturating_sub(BEFORE), bytes.len().min(at + BEHIND));
        let (before, behind) = (if from > 0 { "…" } else { "" }, if to < bytes.len() { "…" } else { "" });
        format!("{} bytes: {before}\"{}\"{behind}", bytes.len(), bytes[from..to].escape_ascii())
    };
    Some(format!("{}\n  they part after byte {at}", two(show(expected), show(got))))
}

/// Where two lists of notes part; `None` if they don't.
pub(super) fn notes(expected: &[String], got: &[String]) -> Option<String> {
    if expected == got {
        return None;
    }
    let at = expected.iter().zip(got).take_while(|(one, other)| one == other).count();
    let show = |notes: &[String]| {
        let note = notes.get(at).map_or("nothing more".to_owned(), |note| format!("{:?}", shorten(note)));
        format!("{} notes, of which number {}: {note}", notes.len(), at + 1)
    };
    Some(two(show(expected), show(got)))
}

fn two(expected: impl Display, got: impl Display) -> String {
    format!("  expected: {expected}\n  got:      {got}")
}

fn shorten(text: &str) -> String {
    let mut shown = text.chars().take(SHOWN).collect::<String>();
    if shown.len() < text.len() {
        let _ = write!(shown, "… ({} bytes)", text.len());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_shown_short_and_with_its_place() {
        assert_eq!(bytes(b"same", b"same"), None);
        let long = [b'a'; 500];
        let mut other = long;
        other[100] = b'b';
        let shown = bytes(&long, &other).expect("they differ");
        assert!(shown.contains("expected: 500 bytes: …\"aaa") && shown.contains("they part after byte 100"), "{shown}");
        assert!(shown.len() < 300, "{shown}");
        let shown = bytes(b"ab", b"a").expect("one is shorter");
        assert!(shown.contains("got:      1 bytes: \"a\"\n  they part after byte 1"), "{shown}");
    }

    #[test]
    fn of_notes_the_first_that_differs_is_shown() {
        let list = |notes: &[&str]| notes.iter().map(|&note| note.to_owned()).collect::<Vec<_>>();
        assert_eq!(notes(&list(&["1"]), &list(&["1"])), None);
        let shown = notes(&list(&["1", "2"]), &list(&["1"])).expect("one is missing");
        assert_eq!(
            shown,
            "  expected: 2 notes, of which number 2: \"2\"\n  got:      1 notes, of which number 2: nothing more"
        );
    }
}
