//! The events of a registration.

use dps_device::{ErrorKind, Event};
use futures_util::StreamExt;

use crate::script::{
    ASSIGNING, OPERATION, Script, Step, answer, answer_after, assert_wait, assigned,
};

fn name(event: &Event) -> &'static str {
    match event {
        Event::Connecting => "connecting",
        Event::Registering => "registering",
        Event::Assigning { .. } => "assigning",
        Event::Retrying { .. } => "retrying",
        Event::FallingBack { .. } => "falling back",
        Event::Assigned(_) => "assigned",
        Event::Failed(_) => "failed",
        _ => "new",
    }
}

async fn events(script: &Script) -> Vec<Event> {
    script.client().register().events().collect().await
}

#[tokio::test(start_paused = true)]
async fn events_come_in_order_and_the_outcome_last() {
    let script = Script::new([
        answer_after(202, 3, ASSIGNING),
        Step::Fail(ErrorKind::Connect),
        answer(429, "{}"),
        assigned(),
    ]);
    let events = events(&script).await;
    let names: Vec<_> = events.iter().map(name).collect();
    assert_eq!(
        names,
        [
            "connecting",
            "registering",
            "assigning",
            "retrying",
            "connecting",
            "retrying",
            "assigned"
        ]
    );
    match &events[2] {
        Event::Assigning {
            operation_id, wait, ..
        } => {
            assert_eq!(operation_id.as_str(), OPERATION);
            assert_wait(*wait, 3, 4);
        }
        other => panic!("{other:?}"),
    }
    match &events[5] {
        Event::Retrying { error, .. } => assert_eq!(error.kind(), ErrorKind::Throttled),
        other => panic!("{other:?}"),
    }
    match &events[6] {
        Event::Assigned(assignment) => assert_eq!(assignment.device_id().as_str(), "my-device"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_also_an_outcome() {
    let script = Script::new([answer(404, "{}")]);
    match events(&script).await.last() {
        Some(Event::Failed(error)) => assert_eq!(error.kind(), ErrorKind::NotFound),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn events_are_immediate_and_the_registration_runs_only_while_polled() {
    let script = Script::new([answer_after(202, 60, ASSIGNING), assigned()]);
    let mut registration = script.client().register().events();
    assert!(script.asked().is_empty());

    assert_eq!(name(&registration.next().await.unwrap()), "connecting");
    assert_eq!(name(&registration.next().await.unwrap()), "registering");
    assert_eq!(name(&registration.next().await.unwrap()), "assigning");
    assert_eq!(script.asked().len(), 1);
    assert_eq!(name(&registration.next().await.unwrap()), "assigned");
    assert!(registration.next().await.is_none());
    assert!(registration.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_stream_ends_the_registration() {
    let script = Script::forever(answer_after(202, 60, ASSIGNING));
    let mut registration = script.client().register().events();
    for _ in 0..3 {
        registration.next().await.unwrap();
    }
    assert_eq!(script.sessions_open(), 1);
    drop(registration);
    assert_eq!(script.sessions_open(), 0);
}
