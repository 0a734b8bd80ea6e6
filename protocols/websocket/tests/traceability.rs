//! The tables of requirements in `docs` name tests that there are, and leave out no requirement.
#![allow(clippy::unwrap_used, reason = "what must not fail in a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// How often MUST, MUST NOT, SHOULD, SHOULD NOT and RECOMMENDED stand in each section of RFC 6455 as key words (RFC
/// 2119); section 2, which defines them, and sections that call themselves non-normative have none.
const RFC_6455: [(&str, usize); 40] = [
    ("3", 2),
    ("4.1", 42),
    ("4.2.1", 2),
    ("4.2.2", 10),
    ("4.3", 1),
    ("4.4", 1),
    ("5.1", 4),
    ("5.2", 10),
    ("5.3", 4),
    ("5.4", 10),
    ("5.5", 2),
    ("5.5.1", 8),
    ("5.5.2", 2),
    ("5.6", 1),
    ("5.8", 1),
    ("6.1", 8),
    ("6.2", 5),
    ("7.1.1", 4),
    ("7.1.2", 2),
    ("7.1.7", 6),
    ("7.2.1", 3),
    ("7.2.2", 1),
    ("7.2.3", 3),
    ("7.3", 1),
    ("7.4.1", 4),
    ("8.1", 1),
    ("9", 2),
    ("9.1", 5),
    ("10.2", 2),
    ("10.3", 1),
    ("10.4", 2),
    ("10.6", 2),
    ("10.7", 3),
    ("11.1.1", 2),
    ("11.1.2", 2),
    ("11.3.1", 1),
    ("11.3.2", 1),
    ("11.3.3", 1),
    ("11.3.4", 1),
    ("11.3.5", 1),
];

/// The same of RFC 7692.
const RFC_7692: [(&str, usize); 12] = [
    ("4", 2),
    ("5", 11),
    ("6.1", 4),
    ("6.2", 2),
    ("7", 2),
    ("7.1.1.1", 1),
    ("7.1.1.2", 1),
    ("7.1.2.1", 2),
    ("7.1.2.2", 3),
    ("7.2.1", 7),
    ("7.2.2", 6),
    ("7.3", 1),
];

/// The key words, and what else a row may have in their place.
const KEY_WORDS: [&str; 5] = ["MUST", "MUST NOT", "SHOULD", "SHOULD NOT", "RECOMMENDED"];
const OTHERS: [&str; 2] = ["step", "defined"];

/// What a cell without a test begins with.
const REASONS: [&str; 3] = ["application: ", "not ours: ", "not yet: "];

/// One requirement.
struct Row {
    line: String,
    section: String,
    level: String,
    role: String,
    shown_by: String,
}

impl Row {
    /// The tests it names: the file and the function.
    fn tests(&self) -> impl Iterator<Item = (&str, &str)> {
        self.shown_by.split('`').skip(1).step_by(2).filter_map(|code| code.split_once(".rs::"))
    }
}

/// The rows of the tables in `docs/{name}`.
fn rows(name: &str) -> Vec<Row> {
    let document = fs::read_to_string(folder().join("docs").join(name)).unwrap();
    let lines =
        document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| where") && !line.contains("---"));
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [place, level, role, what, shown_by] = cells[..] else { panic!("not five cells: {line}") };
        assert!(!what.is_empty(), "says nothing: {line}");
        let section = place.split(' ').next().unwrap().to_owned();
        Row { line: line.to_owned(), section, level: level.into(), role: role.into(), shown_by: shown_by.into() }
    };
    lines.map(row).collect()
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The names of all functions of a file that `#[test]` stands before, and no `#[ignore]`.
fn tests_of(path: &Path) -> BTreeSet<String> {
    let source = fs::read_to_string(path).unwrap_or_default(); // a file that is not there has none
    let mut tests = BTreeSet::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if let Some((name, _)) = line.strip_prefix("fn ").and_then(|rest| rest.split_once('(')) {
            if is_test {
                tests.insert(name.to_owned());
            }
            is_test = false;
        }
        is_test |= line == "#[test]";
        is_test &= !line.starts_with("#[ignore");
    }
    tests
}

/// `least` is how many requirements were found in the RFC, those without a key word of their own included.
fn check(name: &str, enumerated: &[(&str, usize)], least: usize) {
    let rows = rows(name);
    assert!(rows.len() >= least, "{} requirements of {least}", rows.len());
    let mut counted = BTreeMap::<String, usize>::new();
    let mut files = BTreeMap::new();
    let mut wrong = Vec::new();
    for row in rows {
        if KEY_WORDS.contains(&&*row.level) {
            *counted.entry(row.section.clone()).or_default() += 1;
        } else if !OTHERS.contains(&&*row.level) {
            wrong.push(format!("another level: {}", row.line));
        }
        if !["client", "server", "both", "nobody"].contains(&&*row.role) {
            wrong.push(format!("another role: {}", row.line));
        }
        let reason = REASONS.iter().find_map(|word| row.shown_by.strip_prefix(word));
        if reason.is_some_and(|reason| reason.len() < 20) || reason.is_none() && row.tests().next().is_none() {
            wrong.push(format!("neither a test nor a reason: {}", row.line));
        }
        for (file, test) in row.tests() {
            let tests = files.entry(file.to_owned()).or_insert_with(|| tests_of(&folder().join(format!("{file}.rs"))));
            if !tests.contains(test) {
                wrong.push(format!("no test `{file}.rs::{test}`: {}", row.line));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let enumerated = enumerated.iter().map(|(section, count)| ((*section).to_owned(), *count));
    assert_eq!(counted, enumerated.collect(), "key words of each section");
}

#[test]
fn every_requirement_of_rfc_6455_has_a_test_or_a_reason() {
    check("rfc6455.md", &RFC_6455, 199);
}

#[test]
fn every_requirement_of_rfc_7692_has_a_test_or_a_reason() {
    check("rfc7692.md", &RFC_7692, 66);
}

/// A test that no row names shows no requirement, or one that is missing.
#[test]
fn the_tests_for_requirements_are_all_named() {
    let named: BTreeSet<String> = ["rfc6455.md", "rfc7692.md"]
        .into_iter()
        .flat_map(rows)
        .flat_map(|row| row.tests().map(|(file, test)| format!("{file}::{test}")).collect::<Vec<_>>())
        .collect();
    for file in ["rfc_closing", "rfc_deflate", "rfc_framing", "rfc_opening", "rfc_pieces"] {
        let file = format!("tests/{file}");
        for test in tests_of(&folder().join(format!("{file}.rs"))) {
            assert!(named.contains(&format!("{file}::{test}")), "no row names {file}.rs::{test}");
        }
    }
}
