//! The texts of PCR policies, and the key of the authority that approves them. Measured states are also made from the input, because
//! few random texts are valid.
#![no_main]

use dps_device::tpm::{Approval, MeasuredState, PolicyAuthority};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, Vec<(u8, u8, bool)>, &[u8])| {
    let (is_384, values, bytes) = input;
    let bank = if is_384 { "sha384" } else { "sha256" };
    let length = if is_384 { 48 } else { 32 };
    let list: Vec<String> = values
        .iter()
        .map(|(index, byte, is_short)| format!("{index}={}", format!("{byte:02x}").repeat(length - usize::from(*is_short))))
        .collect();
    let text = format!("{bank}:{}", list.join(","));
    let is_unique = (0..values.len()).all(|at| values[..at].iter().all(|(index, ..)| *index != values[at].0));
    let is_valid = !values.is_empty() && is_unique && values.iter().all(|(index, _, is_short)| *index < 24 && !is_short);
    let state = text.parse::<MeasuredState>();
    assert_eq!(state.is_ok(), is_valid, "{text}");
    if let Ok(state) = state {
        check(&state, bytes);
    }

    if let Ok(text) = str::from_utf8(bytes) {
        if let Ok(state) = text.parse::<MeasuredState>() {
            check(&state, bytes);
        }
        if let Ok(approval) = text.parse::<Approval>() {
            let again: Approval = approval.to_string().parse().expect("a written approval");
            assert_eq!(again, approval);
        }
    }
    let _ = PolicyAuthority::from_public_key(bytes);
});

fn check(state: &MeasuredState, signature: &[u8]) {
    let again: MeasuredState = state.to_string().parse().expect("a written state");
    assert_eq!(again, *state);
    assert_eq!(again.message_to_approve(), state.message_to_approve());
    assert!((1..=24).contains(&state.pcrs().count()));
    if let Ok(approval) = Approval::new(state.clone(), signature) {
        assert_eq!(approval.state(), state);
        let again: Approval = approval.to_string().parse().expect("a written approval");
        assert_eq!(again, approval);
    }
}
