//! Faults as JSON: an accepted document is written so that it is read as the same fault. The pattern of a device matches as a
//! plain implementation does.
#![no_main]

use dps_emulator::fault::{Effect, Fault, Step};
use libfuzzer_sys::fuzz_target;

/// The longest pattern and id that are compared, in bytes.
const MOST: usize = 200;

fuzz_target!(|text: &str| {
    if let Ok(fault) = serde_json::from_str::<Fault>(text) {
        let document = serde_json::to_string(&fault).expect("JSON");
        let read: Fault = serde_json::from_str(&document).expect("a fault");
        assert_eq!(read, fault, "{document}");
    }

    let (pattern, id) = text.split_once('\n').unwrap_or((text, "dev-1"));
    if pattern.len() > MOST || id.len() > MOST {
        return;
    }
    let fault = Fault::new(Step::Register, Effect::Drop).device(pattern);
    assert_eq!(
        fault.is_for(Step::Register, Some(id)),
        matches(pattern, id),
        "{pattern:?} {id:?}"
    );
});

/// For each prefix of the text, whether the pattern so far matches it.
fn matches(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for letter in pattern.chars() {
        let mut next = vec![false; text.len() + 1];
        for end in 0..=text.len() {
            next[end] = match letter {
                '*' => reached[end] || (end > 0 && next[end - 1]),
                '?' => end > 0 && reached[end - 1],
                _ => end > 0 && reached[end - 1] && letter.eq_ignore_ascii_case(&text[end - 1]),
            };
        }
        reached = next;
    }
    reached[text.len()]
}
