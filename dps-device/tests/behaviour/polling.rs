//! The waits between polls.

use std::collections::HashSet;
use std::time::Duration;

use dps_device::ErrorKind;

use crate::script::{
    ASSIGNED, ASSIGNING, POLL, REGISTER, Script, answer, answer_after, assert_wait, assigned,
    assigning,
};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test(start_paused = true)]
async fn a_registration_polls_until_it_is_assigned() {
    let script = Script::new([assigning(), assigning(), assigning(), assigned()]);
    let assignment = script.client().register().await.unwrap();

    assert_eq!(assignment.hub().as_str(), "hub.azure-devices.net");
    assert_eq!(assignment.device_id().as_str(), "my-device");
    assert_eq!(script.asked(), [REGISTER, POLL, POLL, POLL]);
    assert_eq!(script.sessions_opened(), 1);
    for gap in script.gaps() {
        assert_wait(gap, 2, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_poll_honours_retry_after() {
    let script = Script::new([answer_after(202, 30, ASSIGNING), assigned()]);
    script.client().register().await.unwrap();
    assert_wait(script.gaps()[0], 30, 31);
}

#[tokio::test(start_paused = true)]
async fn retry_after_7_is_waited_not_shortened() {
    let script = Script::new([
        assigning(),
        answer_after(202, 7, ASSIGNING),
        answer_after(202, 3, ASSIGNING),
        assigned(),
    ]);
    script.client().register().await.unwrap();
    assert_wait(script.gaps()[1], 7, 8);
    assert_wait(script.gaps()[2], 3, 4);
}

#[tokio::test(start_paused = true)]
async fn retry_after_600_is_waited_not_shortened() {
    let script = Script::new([answer_after(202, 600, ASSIGNING), assigned()]);
    script.client().register().timeout(HOUR).await.unwrap();
    assert_wait(script.gaps()[0], 600, 601);
}

#[tokio::test(start_paused = true)]
async fn retry_after_0_does_not_cause_a_busy_loop() {
    let script = Script::new([answer_after(202, 0, ASSIGNING), assigned()]);
    script.client().register().await.unwrap();
    assert_wait(script.gaps()[0], 2, 3);
}

#[tokio::test(start_paused = true)]
async fn the_interval_can_be_longer() {
    let script = Script::new([answer_after(202, 3, ASSIGNING), assigned()]);
    let client = script
        .client()
        .with_min_poll_interval(Duration::from_secs(20));
    client.register().await.unwrap();
    assert_wait(script.gaps()[0], 20, 21);
}

#[tokio::test(start_paused = true)]
async fn devices_do_not_poll_at_the_same_time() {
    let mut waits = HashSet::new();
    for _ in 0..20 {
        let script = Script::new([answer_after(202, 3, ASSIGNING), assigned()]);
        script.client().register().await.unwrap();
        waits.insert(script.gaps()[0]);
    }
    assert!(waits.len() > 1, "all devices poll at the same time");
}

#[tokio::test(start_paused = true)]
async fn a_registration_may_be_assigned_at_once() {
    let script = Script::new([assigned()]);
    script.client().register().await.unwrap();
    assert_eq!(script.asked(), [REGISTER]);
}

#[tokio::test(start_paused = true)]
async fn unassigned_means_poll_again() {
    let unassigned = ASSIGNING.replace("assigning", "unassigned");
    let script = Script::new([
        answer(202, &unassigned),
        answer(202, &unassigned),
        assigned(),
    ]);
    script.client().register().await.unwrap();
    assert_eq!(script.asked(), [REGISTER, POLL, POLL]);
}

#[tokio::test(start_paused = true)]
async fn pending_may_come_with_200() {
    let script = Script::new([answer(200, ASSIGNING), answer(200, ASSIGNING), assigned()]);
    script.client().register().await.unwrap();
    assert_eq!(script.asked(), [REGISTER, POLL, POLL]);
}

#[tokio::test(start_paused = true)]
async fn a_poll_need_not_repeat_the_operation_id() {
    let script = Script::new([
        assigning(),
        answer(202, r#"{"operationId":"","status":"assigning"}"#),
        answer(202, r#"{"status":"assigning"}"#),
        assigned(),
    ]);
    script.client().register().await.unwrap();
    assert_eq!(script.asked(), [REGISTER, POLL, POLL, POLL]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_pending_status_means_a_wait() {
    let queued = ASSIGNING.replace("assigning", "queued");
    let script = Script::new([answer(202, &queued), assigned()]);
    script.client().register().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unknown_final_status_is_an_error_that_names_it() {
    let script = Script::new([
        assigning(),
        answer(200, &ASSIGNING.replace("assigning", "quarantined")),
    ]);
    let error = script.client().register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("quarantined"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn unknown_fields_are_ignored() {
    let newer = ASSIGNED.replacen('{', r#"{"connectionProfile":{"x":[1]},"#, 1);
    let script = Script::new([answer(200, &newer)]);
    script.client().register().await.unwrap();
}
