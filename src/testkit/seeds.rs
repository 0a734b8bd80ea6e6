//! Many runs, each from a seed, and how to see one of them again.

use std::any::Any;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, thread};

/// Replays one seed.
const SEED: &str = "SWITCHBOARD_SEED";
/// Runs this many fresh seeds instead of those that the test names.
const SEEDS: &str = "SWITCHBOARD_SEEDS";

/// Runs `run` once for each seed. If it panics, the seed is printed with the command that replays
/// just that run, and the panic goes on.
///
/// The environment may say otherwise: `SWITCHBOARD_SEED=0x2a` (or decimal) runs that one seed, and
/// `SWITCHBOARD_SEEDS=500` as many fresh ones, from a random base (of [`RandomState`]'s) that is
/// printed.
///
/// ```
/// use std::time::Duration;
/// use switchboard::testkit::{Conditions, Simulation, check_seeds};
///
/// check_seeds(0..20, |seed| {
///     let mut sim = Simulation::new(seed);
///     sim.set_conditions(Conditions::hostile());
///     // … hosts, protocols, and what must hold of them …
///     assert!(sim.run_to_rest(Duration::from_secs(60)));
/// });
/// ```
///
/// # Panics
///
/// As `run` does; and if the environment's variables are no numbers.
pub fn check_seeds(seeds: impl IntoIterator<Item = u64>, mut run: impl FnMut(u64)) {
    let test = test_name();
    for seed in chosen(seeds) {
        if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| run(seed))) {
            fail(seed, test.as_deref(), payload);
        }
    }
}

/// As [`check_seeds`], on several threads at once; each run stays on one. After the first that
/// panics no further ones are begun.
///
/// ```
/// use std::time::Duration;
/// use switchboard::testkit::{Simulation, check_seeds_on};
///
/// check_seeds_on(2, 0..20, |seed| assert!(Simulation::new(seed).run_to_rest(Duration::ZERO)));
/// ```
///
/// # Panics
///
/// As [`check_seeds`].
pub fn check_seeds_on(threads: usize, seeds: impl IntoIterator<Item = u64>, run: impl Fn(u64) + Sync) {
    let test = test_name();
    let seeds = chosen(seeds);
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(None);
    let work = || {
        while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(payload) = panic::catch_unwind(AssertUnwindSafe(|| run(seed))) {
                next.store(seeds.len(), Ordering::Relaxed);
                if let Ok(mut failed) = failed.lock() {
                    failed.get_or_insert((seed, payload));
                }
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    if let Ok(Some((seed, payload))) = failed.into_inner() {
        fail(seed, test.as_deref(), payload);
    }
}

/// The seeds to run: the environment's, or else the test's.
fn chosen(seeds: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let number = |name| {
        let text = env::var(name).ok()?;
        match parse(&text) {
            Some(number) => Some(number),
            None => panic!("{name} must be a number, decimal or 0x and hexadecimal, and is {text:?}"),
        }
    };
    if let Some(seed) = number(SEED) {
        return vec![seed];
    }
    let Some(count) = number(SEEDS) else { return seeds.into_iter().collect() };
    // Each `RandomState` has keys of its own, from the system's randomness.
    let base = RandomState::new().build_hasher().finish();
    eprintln!("{count} fresh seeds from {base:#x}");
    (0..count).map(|seed| base.wrapping_add(seed)).collect()
}

fn parse(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cold]
fn fail(seed: u64, test: Option<&str>, payload: Box<dyn Any + Send>) -> ! {
    let executable = env::current_exe().ok();
    let package = env::var("CARGO_PKG_NAME").ok();
    let folder = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let command = command(seed, executable.as_deref(), package.as_deref(), folder.as_deref(), test);
    eprintln!("failed with seed {seed:#x}; to see just that run again:\n    {command}");
    panic::resume_unwind(payload);
}

/// The test that runs: libtest names its threads so, but for the main one.
fn test_name() -> Option<String> {
    thread::current().name().filter(|&name| name != "main").map(str::to_owned)
}

/// The command that replays a seed. Cargo names executables of tests after them, with a hash behind,
/// and tells a test the package it belongs to, and the package's folder.
fn command(
    seed: u64,
    executable: Option<&Path>,
    package: Option<&str>,
    folder: Option<&Path>,
    test: Option<&str>,
) -> String {
    let mut command = format!("{SEED}={seed:#x} cargo test");
    if !cfg!(debug_assertions) {
        command += " --release";
    }
    if let Some(package) = package {
        command += &format!(" -p {package}");
    }
    // Only a test in a file of its own can be told from all others by that; the rest, by its name.
    let stem = executable.and_then(Path::file_stem).and_then(|stem| stem.to_str());
    if let Some(stem) = stem {
        let target = stem.rsplit_once('-').map_or(stem, |(target, _)| target);
        let tests = folder.unwrap_or(Path::new(".")).join("tests").join(target);
        if tests.join("main.rs").exists() || tests.with_extension("rs").exists() {
            command += &format!(" --test {target}");
        }
    }
    command += " --";
    if let Some(test) = test {
        command += &format!(" --exact {test}");
    }
    command + " --nocapture"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_names_package_target_and_test() {
        let release = if cfg!(debug_assertions) { "" } else { " --release" };
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let simulation = Path::new("/target/debug/deps/simulation-0123456789abcdef");
        assert_eq!(
            command(42, Some(simulation), Some("switchboard"), Some(here), Some("echo::under_everything")),
            format!(
                "SWITCHBOARD_SEED=0x2a cargo test{release} -p switchboard --test simulation \
                 -- --exact echo::under_everything --nocapture"
            )
        );
    }

    #[test]
    fn a_test_inside_the_sources_is_found_by_its_name() {
        let sources = Path::new("/target/debug/deps/switchboard-0123456789abcdef");
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let command = command(1, Some(sources), Some("switchboard"), Some(here), Some("timer::tests::wheel"));
        assert!(command.ends_with(" -p switchboard -- --exact timer::tests::wheel --nocapture"), "{command}");
    }

    #[test]
    fn seeds_are_decimal_or_hexadecimal() {
        assert_eq!(parse("42"), Some(42));
        assert_eq!(parse("0x2a"), Some(42));
        assert_eq!(parse("2a"), None);
    }

    #[test]
    fn the_panic_of_a_run_goes_on() {
        let result = panic::catch_unwind(|| check_seeds_on(2, 0..100, |seed| assert_ne!(seed, 57, "not this one")));
        let payload = result.unwrap_err();
        assert!(payload.downcast_ref::<String>().is_some_and(|text| text.contains("not this one")));
    }
}
