//! Compares what the hot paths cost with `limits.json`: see `benches/run`, which installs what this needs.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

use clap::{Parser, ValueEnum};
use serde_json::{Deserializer, Value};
use switchboard_benches::ROUNDS;

/// A bench may cost this much more than its limit says before that is a regression.
const TOLERANCE: f64 = 0.10;

/// From here on a limit is told to be too high.
const SLACK: f64 = 0.03;

/// The bench that all others are told as a ratio to.
const REFERENCE: &str = "reference";

/// Counts the instructions of the hot paths under valgrind, and fails if one has become more than 10 % dearer than
/// benches/limits.json says, as a ratio to a reference loop of the same run.
#[derive(Parser)]
#[command(name = "benches")]
struct Options {
    /// Write benches/limits.json: limits that can be lower, and those of new benches; none at all if a bench has become
    /// more than 10 % dearer. With `=dearer` write whatever was counted
    #[arg(long, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "cheaper")]
    bless: Option<Bless>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bless {
    Cheaper,
    Dearer,
}

type Counts = BTreeMap<String, u64>;
type Limits = BTreeMap<String, f64>;

fn main() -> ExitCode {
    let options = Options::parse();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("limits.json");
    match check(&path, &options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn check(path: &Path, options: &Options) -> Result<bool, Box<dyn Error>> {
    let mut counts = counts(&measured()?)?;
    let reference = counts.remove(REFERENCE).ok_or("the reference was not counted")?;
    let limits: Limits = match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| format!("{}: {error}", path.display()))?,
        Err(_) if options.bless.is_some() => Limits::new(),
        Err(error) => return Err(format!("{}: {error}", path.display()).into()),
    };
    let report = compare(&counts, reference, &limits);
    println!("{}", report.table);
    report.dearer.iter().for_each(|fault| println!("{fault}"));
    match options.bless {
        None => {
            report.misnamed.iter().for_each(|fault| println!("{fault}"));
            let faults = report.dearer.len() + report.misnamed.len();
            println!("benches: {}, faults: {faults}", counts.len());
            Ok(faults == 0)
        }
        Some(Bless::Cheaper) if !report.dearer.is_empty() => {
            println!("nothing is written: if that has to be so, --bless=dearer, and say why in the commit");
            Ok(false)
        }
        Some(bless) => {
            fs::write(path, serde_json::to_string_pretty(&blessed(&counts, reference, &limits, bless))? + "\n")?;
            println!("written to {}", path.display());
            Ok(true)
        }
    }
}

/// The new limits. Unless dearer ones are asked for none is higher than before: ten times a little more is a lot.
fn blessed(counts: &Counts, reference: u64, limits: &Limits, bless: Bless) -> Limits {
    let limit = |(name, count): (&String, &u64)| {
        let (now, before) = (rounded(*count, reference), limits.get(name).copied().unwrap_or(f64::INFINITY));
        (name.clone(), if bless == Bless::Dearer { now } else { now.min(before) })
    };
    counts.iter().map(limit).collect()
}

/// Runs the benches, and gives what they print: a JSON object each.
fn measured() -> Result<Vec<u8>, Box<dyn Error>> {
    // Before valgrind starts: its guests can't raise it. One bench has a crowd.
    let allowed = rlimit::increase_nofile_limit(4096)?;
    if allowed < 4096 {
        return Err(format!("only {allowed} descriptors are allowed, 4096 are needed (`ulimit -Hn`)").into());
    }
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["bench", "--quiet", "--package", env!("CARGO_PKG_NAME"), "--bench", "instructions", "--"])
        .args(["--output-format=json", "--parallel=2"])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("the benches did not run (benches/run installs what they need)".into());
    }
    Ok(output.stdout)
}

/// The instructions of each bench, by `function/id`.
fn counts(json: &[u8]) -> Result<Counts, Box<dyn Error>> {
    let benches = Deserializer::from_slice(json).into_iter::<Value>();
    benches.map(|bench| one_count(&bench?)).collect()
}

fn one_count(bench: &Value) -> Result<(String, u64), Box<dyn Error>> {
    let function = bench["function_name"].as_str().ok_or("a bench without a name")?;
    let name = match bench["id"].as_str() {
        Some(id) if function != REFERENCE => format!("{function}/{id}"),
        _ => function.to_owned(),
    };
    let count = instructions(bench).ok_or_else(|| format!("{name}: no count of instructions in {bench}"))?;
    Ok((name, count))
}

/// The total of the only profile.
fn instructions(bench: &Value) -> Option<u64> {
    bench["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"]["new"].as_u64()
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn ratio(count: u64, reference: u64) -> f64 {
    count as f64 / reference as f64
}

/// To five digits, as the file has it.
fn rounded(count: u64, reference: u64) -> f64 {
    let text = format!("{:.4e}", ratio(count, reference));
    text.parse().unwrap_or(f64::INFINITY)
}

struct Report {
    table: String,
    /// Benches that cost too much.
    dearer: Vec<String>,
    /// Benches without a limit, and limits without a bench.
    misnamed: Vec<String>,
}

fn compare(counts: &Counts, reference: u64, limits: &Limits) -> Report {
    let row =
        |cells: [&str; 5]| format!("{:<34}{:>14}{:>12}{:>12}{:>9}\n", cells[0], cells[1], cells[2], cells[3], cells[4]);
    let mut table = row(["bench", "instructions", "ratio", "limit", "change"]);
    let (mut dearer, mut misnamed) = (Vec::new(), Vec::new());
    for (name, count) in counts {
        let ratio = ratio(*count, reference);
        let each = format!("{:.1}", self::ratio(*count, ROUNDS as u64));
        let Some(limit) = limits.get(name) else {
            table += &row([name, &each, &format!("{ratio:.5}"), "-", "-"]);
            misnamed.push(format!("{name} has no limit: --bless"));
            continue;
        };
        let change = ratio / limit - 1.0;
        table +=
            &row([name, &each, &format!("{ratio:.5}"), &format!("{limit:.5}"), &format!("{:+.1} %", change * 100.0)]);
        if change > TOLERANCE {
            dearer.push(format!("{name} costs {:.1} % more than its limit", change * 100.0));
        } else if change < -SLACK {
            table += "    its limit can be lowered: --bless\n";
        }
    }
    for name in limits.keys().filter(|name| !counts.contains_key(*name)) {
        misnamed.push(format!("{name} has a limit but is no bench: --bless"));
    }
    Report { table, dearer, misnamed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(counts: &[(&str, u64)]) -> Counts {
        counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    fn limited(limits: &[(&str, f64)]) -> Limits {
        limits.iter().map(|(name, limit)| ((*name).to_owned(), *limit)).collect()
    }

    fn faults(counts: &[(&str, u64)], limits: &[(&str, f64)]) -> (String, Vec<String>) {
        let Report { table, dearer, misnamed } = compare(&counted(counts), 1000, &limited(limits));
        (table, [dearer, misnamed].concat())
    }

    #[test]
    fn counts_are_found_in_what_the_runner_prints() {
        let bench = |function: &str, id: &str, count: u64| {
            let values = serde_json::json!({ "new": count, "old": 7 });
            let total = serde_json::json!({ "metrics": { "Ir": { "values": values } } });
            serde_json::json!({ "function_name": function, "id": id, "profiles": [{ "data": { "total": total } }] })
        };
        let printed = format!("{}\n{}\n", bench("reference", "words", 1000), bench("echo", "tcp", 500));
        let counted = counts(printed.as_bytes()).unwrap();
        assert_eq!(counted, Counts::from([("echo/tcp".to_owned(), 500), (REFERENCE.to_owned(), 1000)]));
        assert!(counts(b"{\"function_name\":\"echo\",\"id\":\"tcp\"}").is_err());
        assert!(counts(b"error: no such bench").is_err());
    }

    #[test]
    fn ten_per_cent_more_is_let_through_and_eleven_are_not() {
        assert!(faults(&[("a", 1099), ("b", 500)], &[("a", 1.0), ("b", 0.5)]).1.is_empty());
        let (_, faults) = faults(&[("a", 1110), ("b", 500)], &[("a", 1.0), ("b", 0.5)]);
        assert_eq!(faults, ["a costs 11.0 % more than its limit"]);
    }

    #[test]
    fn a_limit_that_can_be_lowered_is_told_and_no_fault() {
        let (table, faults) = faults(&[("a", 960), ("b", 980)], &[("a", 1.0), ("b", 1.0)]);
        assert!(table.matches("can be lowered").count() == 1 && faults.is_empty(), "{table}");
    }

    #[test]
    fn names_that_differ_are_faults() {
        let (_, faults) = faults(&[("a", 1)], &[("b", 0.001)]);
        assert_eq!(faults, ["a has no limit: --bless", "b has a limit but is no bench: --bless"]);
    }

    #[test]
    fn limits_rise_only_where_that_is_asked_for() {
        let (counts, limits) =
            (counted(&[("a", 1050), ("b", 900), ("new", 7)]), limited(&[("a", 1.0), ("b", 1.0), ("old", 1.0)]));
        let cheaper = blessed(&counts, 1000, &limits, Bless::Cheaper);
        assert_eq!(cheaper, limited(&[("a", 1.0), ("b", 0.9), ("new", 0.007)]));
        let dearer = blessed(&counts, 1000, &limits, Bless::Dearer);
        assert_eq!(dearer, limited(&[("a", 1.05), ("b", 0.9), ("new", 0.007)]));
    }

    #[test]
    fn bless_takes_a_word_or_none() {
        let bless = |arguments: &[&str]| Options::try_parse_from([&["benches"], arguments].concat()).map(|it| it.bless);
        assert!(bless(&[]).is_ok_and(|bless| bless.is_none()));
        assert!(bless(&["--bless"]).is_ok_and(|bless| bless == Some(Bless::Cheaper)));
        assert!(bless(&["--bless=dearer"]).is_ok_and(|bless| bless == Some(Bless::Dearer)));
        assert!(bless(&["--bless=more"]).is_err());
    }

    #[test]
    fn what_is_blessed_is_no_change() {
        for (count, reference) in [(1, 273_588), (122_625_563, 273_588), (7, 3)] {
            assert!((ratio(count, reference) / rounded(count, reference) - 1.0).abs() < 0.0001);
        }
    }
}
