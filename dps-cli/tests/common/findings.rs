//! The findings of the doctor.

use serde_json::Value;

use super::World;

/// Runs a command with `-o json`, and requires a problem of a check, whose finding and advice contain these words.
pub(crate) async fn assert_problem(world: &World, arguments: &[&str], check: &str, words: &[&str]) {
    assert_finding(world, arguments, check, "problem", words).await;
}

/// As above for any result. The exit code is 7 if there is a problem, and 0 otherwise.
pub(crate) async fn assert_finding(
    world: &World,
    arguments: &[&str],
    check: &str,
    result: &str,
    words: &[&str],
) {
    let ran = world.run(&[arguments, &["-o", "json"]].concat()).await;
    let findings: Vec<Value> =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let named = findings.iter().any(|finding| {
        let text = format!("{} {}", finding["finding"], finding["advice"]);
        finding["check"] == check
            && finding["result"] == result
            && words.iter().all(|word| text.contains(word))
    });
    assert!(
        named,
        "{arguments:?}: {check} {result} {words:?}: {findings:#?}"
    );
    let has_problem = findings
        .iter()
        .any(|finding| finding["result"] == "problem");
    assert_eq!(ran.code, if has_problem { 7 } else { 0 }, "{findings:#?}");
}
