//! Runs this program under callgrind, and reads the counts from its dumps.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::comparison::Counts;

/// The counts, and the processor that they are for. A count is the least of several: the others waited or polled once more.
pub(crate) struct Measured {
    pub(crate) counts: Counts,
    /// The first line of the program.
    pub(crate) cpu: String,
}

/// The option that has the URL of a database.
pub(crate) const POSTGRES: &str = "--postgres=";

/// Counts the operations whose name contains `filter`, and those of PostgreSQL if there is the URL of a database.
///
/// # Panics
/// If the program fails, or callgrind's files are not as expected.
pub(crate) fn count(filter: &str, postgres: Option<&str>) -> Measured {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dump");
    let program = std::env::current_exe().unwrap();
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", "--separate-threads=yes"])
        .args(["--dump-line=no", "--dump-before=*instructions_dump_point*"])
        .arg(format!("--callgrind-out-file={}", file.display()))
        // The lengths of the arguments and of the environment change the addresses of the stack.
        .current_dir(program.parent().unwrap())
        .arg(Path::new(".").join(program.file_name().unwrap()))
        .args(["--measure", filter])
        .args(postgres.map(|url| format!("{POSTGRES}{url}")))
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stderr(Stdio::inherit())
        .output()
        .expect("valgrind is installed");
    assert!(
        output.status.success(),
        "the program failed: {}",
        output.status
    );
    let dumps = dumps(dir.path());
    let output = String::from_utf8(output.stdout).unwrap();
    let (cpu, parts) = output.split_once('\n').expect("several lines");
    // Of each operation and sample, the sum of the threads.
    let mut samples = BTreeMap::<&str, BTreeMap<&str, u64>>::new();
    // The first dump has number 1. The work of the program after the last line is in another dump.
    for (number, line) in (1..).zip(parts.lines()) {
        if let [name, sample, repeats] = line.split(' ').collect::<Vec<_>>()[..] {
            let count = dumps[&number] / repeats.parse::<u64>().unwrap();
            *samples.entry(name).or_default().entry(sample).or_default() += count;
        }
    }
    Measured {
        counts: samples
            .into_iter()
            .map(|(name, samples)| (name.to_owned(), samples.into_values().min().unwrap()))
            .collect(),
        cpu: cpu.to_owned(),
    }
}

/// Reads the number of the dump and the sum of instructions from each file.
fn dumps(dir: &Path) -> BTreeMap<u64, u64> {
    let mut dumps = BTreeMap::new();
    for file in std::fs::read_dir(dir).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().parse::<u64>().ok())
        };
        if let (Some(part), Some(count)) = (field("part:"), field("totals:")) {
            dumps.insert(part, count);
        }
    }
    dumps
}
