//! The file of the budgets: compares counts with it, or writes them to it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, ExitCode};

use serde::Deserialize;

use crate::comparison::{Comparison, Counts, HANDSHAKE, Mode};
use crate::references::HTTPS;
use crate::valgrind::{Measured, count};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/budgets.toml");
const HEADER: &str = "\
# Instructions of single operations, counted by callgrind (benches/README.md). `scripts/budgets` fails if one is more than 3 %
# and 300 instructions above its number here. `scripts/budgets --bless` writes this file.
";
/// The aim for a registration with a symmetric key, relative to a TLS handshake alone: both sides together.
const HANDSHAKES: f64 = 1.15;

/// How often all operations are counted again, in another process, if a count is above its budget: the state of the heap differs
/// between processes, and the least count is compared.
const REPEATS: usize = 2;

/// The operations that need a server. Without one they are not counted.
const POSTGRES: &str = "store/postgres/";

/// The content of the file.
#[derive(Debug, Deserialize)]
struct Budgets {
    environment: Environment,
    instructions: Counts,
}

/// The causes of different counts, apart from the sources and the lock file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Environment {
    rustc: String,
    valgrind: String,
    /// The extensions that libraries select at run time, as valgrind emulates them.
    cpu: String,
}

/// Counts, and compares the counts with the file. With `bless`, writes them to the file.
pub(crate) fn check(filter: &str, bless: bool) -> ExitCode {
    let mut budgets = read();
    let postgres = std::env::var("DPS_BENCH_POSTGRES").ok();
    let mut uncounted = Counts::new();
    if postgres.is_none() {
        println!(
            "NOT COUNTED: {POSTGRES}*, because DPS_BENCH_POSTGRES does not have the URL of a database."
        );
        uncounted = budgets.instructions.clone();
        uncounted.retain(|name, _| name.starts_with(POSTGRES));
        budgets
            .instructions
            .retain(|name, _| !name.starts_with(POSTGRES));
    }
    let Measured { mut counts, cpu } = count(filter, postgres.as_deref());
    let environment = Environment {
        rustc: version("rustc"),
        valgrind: version("valgrind"),
        cpu,
    };
    let mode = match budgets.environment == environment {
        true => Mode::Direct,
        false => Mode::Relative,
    };
    let compare = |counts: &Counts| Comparison::new(counts, &budgets.instructions, filter, mode);
    let mut comparison = compare(&counts);
    for _ in 0..REPEATS {
        if !comparison.is_above && !bless {
            break;
        }
        let again = count(filter, postgres.as_deref()).counts;
        for (name, count) in again {
            counts
                .entry(name)
                .and_modify(|least| *least = count.min(*least));
        }
        comparison = compare(&counts);
    }
    print!("{}", comparison.table);
    print_handshakes(&counts);
    if bless {
        return write(&environment, budgets, uncounted, counts, filter);
    }
    if mode == Mode::Relative {
        println!(
            "COMPARED RELATIVE TO REFERENCES: the budgets are for {:?}, and these counts for {environment:?}. A budget changes as \
             much as its reference, which is the same kind of work without our code, and the limit is {:.0} %.",
            budgets.environment,
            mode.limit() * 100.0
        );
    }
    report(&comparison, counts.len())
}

fn report(comparison: &Comparison, counted: usize) -> ExitCode {
    for line in &comparison.lower {
        println!("lower: {line}");
    }
    for line in &comparison.errors {
        println!("error: {line}");
    }
    if !comparison.lower.is_empty() {
        println!("Counts are below their budgets: keep the gain with `scripts/budgets --bless`.");
    }
    if comparison.errors.is_empty() {
        println!("{counted} operations are within their budgets.");
        return ExitCode::SUCCESS;
    }
    println!(
        "Find the cause with `valgrind --tool=callgrind` (benches/README.md). If the change is worth its cost, accept it with \
         `scripts/budgets --bless` and commit benches/budgets.toml with the reason."
    );
    ExitCode::FAILURE
}

/// Prints the instructions of each registration, relative to a TLS handshake.
fn print_handshakes(counts: &Counts) {
    let Some(&handshake) = counts.get(HANDSHAKE) else {
        return;
    };
    let mut sums = BTreeMap::<&str, u64>::new();
    for (name, count) in counts {
        if let Some((registration, _)) = name.rsplit_once('/')
            && (registration.starts_with("registration/") || registration == HTTPS)
        {
            *sums.entry(registration).or_default() += count;
        }
    }
    println!(
        "\nrelative to a TLS handshake alone, both sides together (aim for a symmetric key: {HANDSHAKES})"
    );
    for (name, sum) in sums {
        println!("{name:50}{:12.2}", sum as f64 / handshake as f64);
    }
    println!();
}

fn read() -> Budgets {
    let text = std::fs::read_to_string(FILE).expect("the file of the budgets can be read");
    toml::from_str(&text).expect("the file of the budgets is valid")
}

/// Writes the counts. The budgets that a filter excludes and those that cannot be counted here stay, so they must be for the same
/// tools.
fn write(
    environment: &Environment,
    budgets: Budgets,
    uncounted: Counts,
    counts: Counts,
    filter: &str,
) -> ExitCode {
    let number = counts.len();
    let mut blessed = uncounted;
    if !filter.is_empty() {
        blessed.extend(budgets.instructions);
    }
    if !blessed.is_empty() && budgets.environment != *environment {
        println!(
            "error: the other budgets are for {:?}: write all of them, without a filter and with PostgreSQL",
            budgets.environment
        );
        return ExitCode::FAILURE;
    }
    blessed.extend(counts);
    let Environment {
        rustc,
        valgrind,
        cpu,
    } = environment;
    let mut text = format!(
        "{HEADER}\n[environment]\nrustc = \"{rustc}\"\nvalgrind = \"{valgrind}\"\ncpu = \"{cpu}\"\n\n[instructions]\n"
    );
    for (name, count) in blessed {
        let _ = writeln!(text, "\"{name}\" = {count}");
    }
    std::fs::write(FILE, text).unwrap();
    println!("{number} budgets are written to {FILE}");
    ExitCode::SUCCESS
}

/// The version that a program prints, without its name and what follows.
fn version(program: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let version = text.trim().trim_start_matches(program);
    let version = version.trim_start_matches([' ', '-']);
    version.split(' ').next().unwrap_or_default().to_owned()
}
