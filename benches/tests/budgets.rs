//! The comparison of instruction counts with their budgets.

#[path = "../benches/instructions/comparison.rs"]
mod comparison;

use comparison::{Comparison, Counts, HANDSHAKE, HMAC, JSON, Mode, is_reference};

fn counts(entries: &[(&str, u64)]) -> Counts {
    let entries = entries.iter();
    entries
        .map(|(name, count)| ((*name).to_owned(), *count))
        .collect()
}

fn errors(counted: &[(&str, u64)], budgets: &[(&str, u64)], mode: Mode) -> Vec<String> {
    Comparison::new(&counts(counted), &counts(budgets), "", mode).errors
}

#[test]
fn a_count_may_be_three_percent_and_300_instructions_above_its_budget() {
    let budgets = [("document/A/parse", 10_000)];
    let none: [&str; 0] = [];
    assert_eq!(
        errors(&[("document/A/parse", 10_600)], &budgets, Mode::Direct),
        none
    );
    assert_eq!(
        errors(&[("document/A/parse", 10_601)], &budgets, Mode::Direct),
        ["document/A/parse: 10601 instructions, the budget is 10000 (+6.0 %)"]
    );
}

#[test]
fn a_count_that_is_lower_by_as_much_is_reported() {
    let budgets = counts(&[("document/A/parse", 10_000)]);
    let lower = |count| {
        let counted = counts(&[("document/A/parse", count)]);
        Comparison::new(&counted, &budgets, "", Mode::Direct).lower
    };
    assert!(lower(9_400).is_empty());
    assert_eq!(
        lower(9_399),
        ["document/A/parse: 9399 instructions, the budget is 10000 (-6.0 %)"]
    );
}

#[test]
fn a_change_in_postgresql_may_be_fifteen_percent_above_its_budget() {
    let budgets = [("store/postgres/apply", 10_000)];
    let none: [&str; 0] = [];
    let counted = |count| [("store/postgres/apply", count)];
    assert_eq!(errors(&counted(11_800), &budgets, Mode::Direct), none);
    assert_eq!(
        errors(&counted(11_801), &budgets, Mode::Direct),
        ["store/postgres/apply: 11801 instructions, the budget is 10000 (+18.0 %)"]
    );
}

/// The tools make every operation twice as expensive: 15 % and 300 instructions above 20,000 are 23,300.
#[test]
fn with_other_tools_a_budget_changes_as_much_as_its_reference() {
    for (name, reference) in [
        ("document/A/parse", JSON),
        ("webhook/handle", JSON),
        ("store/memory/get", JSON),
        ("hub_message/device", JSON),
        ("sas/make", HMAC),
        ("registration/http/x509/device", HANDSHAKE),
    ] {
        let budgets = [(name, 10_000), (reference, 1_000)];
        let errors = |count| {
            errors(
                &[(name, count), (reference, 2_000)],
                &budgets,
                Mode::Relative,
            )
        };
        let none: [&str; 0] = [];
        assert_eq!(errors(23_300), none);
        assert_eq!(
            errors(23_301),
            [format!(
                "{name}: 23301 instructions, the budget is 20000 (+16.5 %)"
            )]
        );
    }
}

#[test]
fn with_other_tools_a_lower_count_is_not_reported() {
    let budgets = counts(&[("sas/make", 10_000), (HMAC, 1_000)]);
    let counted = counts(&[("sas/make", 1), (HMAC, 1_000)]);
    let comparison = Comparison::new(&counted, &budgets, "", Mode::Relative);
    assert!(comparison.lower.is_empty() && comparison.errors.is_empty());
}

#[test]
fn a_reference_is_compared_only_with_the_same_tools() {
    let budgets = [(JSON, 10_000)];
    assert!(is_reference(JSON) && is_reference(HMAC) && is_reference(HANDSHAKE));
    let none: [&str; 0] = [];
    assert_eq!(errors(&[(JSON, 90_000)], &budgets, Mode::Relative), none);
    assert_eq!(
        errors(&[(JSON, 90_000)], &budgets, Mode::Direct),
        ["reference/json: 90000 instructions, the budget is 10000 (+800.0 %)"]
    );
}

#[test]
fn a_count_without_its_reference_is_an_error() {
    assert_eq!(
        errors(&[("sas/make", 1)], &[("sas/make", 1)], Mode::Relative),
        ["sas/make has no reference that was counted"]
    );
}

#[test]
fn names_on_one_side_are_errors_unless_a_filter_excludes_them() {
    for mode in [Mode::Direct, Mode::Relative] {
        assert_eq!(
            errors(&[("new", 1)], &[("old", 1)], mode),
            ["new has no budget", "old has a budget and is not counted"]
        );
    }
    let comparison = Comparison::new(&counts(&[]), &counts(&[("old", 1)]), "new", Mode::Direct);
    assert!(comparison.errors.is_empty());
}
