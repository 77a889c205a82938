//! Separates what is counted from what is not, and names it for the program that reads the counts.

use std::hint::black_box;

use tokio::runtime::Handle;

use crate::comparison::is_reference;

/// How often an operation that other threads take part in is counted. The least count is compared.
const SAMPLES: usize = 5;
/// How often an operation of this thread alone is repeated in one count.
const REPEATS: u32 = 64;

/// Counts the operations whose name contains a text.
pub(crate) struct Meter {
    filter: String,
    samples: usize,
    repeats: u32,
}

/// A thread that takes part, and the part of the name under which its instructions are reported.
#[derive(Clone, Copy)]
pub(crate) struct Side<'a>(pub(crate) &'static str, pub(crate) Thread<'a>);

/// A thread.
#[derive(Clone, Copy)]
pub(crate) enum Thread<'a> {
    Main,
    /// The thread of this runtime.
    Of(&'a Handle),
    /// The thread in which this runtime makes blocking calls.
    BlockingOf(&'a Handle),
}

/// The main thread alone.
const ALONE: &[Side<'_>] = &[Side("", Thread::Main)];

impl Meter {
    /// Without `is_counting` each operation runs once, to check that it works.
    pub(crate) fn new(filter: &str, is_counting: bool) -> Self {
        println!("{}", cpu());
        let (samples, repeats) = match is_counting {
            true => (SAMPLES, REPEATS),
            false => (1, 1),
        };
        Self {
            filter: filter.to_owned(),
            samples,
            repeats,
        }
    }

    /// Whether an operation with this name, or with a name that starts with it, is counted. The references always are.
    pub(crate) fn selects(&self, name: &str) -> bool {
        name.contains(&self.filter) || self.filter.starts_with(name) || is_reference(name)
    }

    /// Counts an operation of this thread alone. It is called often, the first time before the counts.
    pub(crate) fn count<T>(&self, name: &str, mut operation: impl FnMut() -> T) {
        if self.selects(name) {
            black_box(operation());
            for number in 1..=self.samples {
                self.part(name, ALONE, (number, self.repeats), || {
                    for _ in 0..self.repeats {
                        black_box(operation());
                    }
                });
            }
        }
    }

    /// Counts an operation several times that consists of `repeats` equal ones, one of which is reported. Its argument is different
    /// each time. It is called with 0 first, before the counts.
    pub(crate) fn sample(
        &self,
        name: &str,
        sides: &[Side<'_>],
        repeats: u32,
        mut operation: impl FnMut(usize),
    ) {
        if self.selects(name) {
            operation(0);
            for number in 1..=self.samples {
                self.part(name, sides, (number, repeats), || operation(number));
            }
        }
    }

    /// `valgrind` reads these lines: one for each dump that callgrind makes, in this order.
    fn part(
        &self,
        name: &str,
        sides: &[Side<'_>],
        (sample, repeats): (usize, u32),
        operation: impl FnOnce(),
    ) {
        for Side(_, thread) in sides {
            thread.dump();
            println!("-");
        }
        operation();
        for Side(side, thread) in sides {
            thread.dump();
            println!("{name}{side} {sample} {repeats}");
        }
    }
}

impl Thread<'_> {
    /// Callgrind dumps only the thread that calls the function.
    fn dump(self) {
        let (sender, receiver) = std::sync::mpsc::channel();
        let dump = move || {
            instructions_dump_point();
            let _ = sender.send(());
        };
        match self {
            Self::Main => dump(),
            Self::Of(runtime) => drop(runtime.spawn(async move { dump() })),
            Self::BlockingOf(runtime) => drop(runtime.spawn_blocking(dump)),
        }
        receiver.recv().unwrap();
    }
}

/// Callgrind makes a dump before each call, and starts to count from zero: `valgrind` passes the name of this function.
#[inline(never)]
fn instructions_dump_point() {
    black_box(());
}

/// The extensions of the processor that rustls' and other cryptography select at run time.
fn cpu() -> String {
    #[cfg(target_arch = "x86_64")]
    let found = [
        ("aes", is_x86_feature_detected!("aes")),
        ("pclmulqdq", is_x86_feature_detected!("pclmulqdq")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("bmi2", is_x86_feature_detected!("bmi2")),
        ("adx", is_x86_feature_detected!("adx")),
        ("sha", is_x86_feature_detected!("sha")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let found = [("", false)];
    let found = found.into_iter().filter(|(_, is_found)| *is_found);
    let names: Vec<&str> = found.map(|(name, _)| name).collect();
    format!("{} {}", std::env::consts::ARCH, names.join(" "))
        .trim()
        .to_owned()
}
