//! Recorded answers of the live service, compared with the answers of the emulator.

mod compare;
mod replay;

use crate::common::shared;
use replay::Replay;

#[tokio::test]
#[ignore = "needs the folder DPS_SHARED: scripts/test recordings"]
async fn the_recorded_exchanges_have_the_same_answers() {
    let path = shared("recordings/service-2021-10-01.json");
    let recording = std::fs::read_to_string(path).expect("readable");
    assert_eq!(Replay::start().await.run(&recording).await, 26);
}

/// A few of them, so that the crate can be tested without the others.
#[tokio::test]
async fn a_few_recorded_exchanges_have_the_same_answers() {
    let recording = include_str!("exchanges.json");
    assert_eq!(Replay::start().await.run(recording).await, 8);
}
