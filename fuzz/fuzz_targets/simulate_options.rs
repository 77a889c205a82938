//! The options of `dps simulate`, one on each line: no text makes a plan panic, and a plan admits each device once.
#![no_main]

use std::time::Duration;

use dps_cli::fuzzing;
use libfuzzer_sys::fuzz_target;

/// Two years.
const LONGEST: Duration = Duration::from_secs(730 * 24 * 60 * 60);

fuzz_target!(|text: &str| {
    if let Some(time) = fuzzing::duration(text) {
        assert!(time <= LONGEST);
    }
    let options: Vec<&str> = text.lines().collect();
    if let Some((devices, Some(admitted))) = fuzzing::simulate(&options) {
        assert_eq!(devices, admitted);
    }
});
