//! Devices: they register once, over one of the transports.

use std::sync::Arc;

use super::Load;
use crate::common::Result;
use crate::common::random::Random;

/// The prefix of the keys in the record.
pub(super) const PREFIX: &str = "registration/";

/// Registers new devices until the emulator does not answer.
pub(super) async fn write(load: Arc<Load>, mut random: Random, task: u64) {
    let _ended = run(&load, &mut random, task).await;
}

async fn run(load: &Load, random: &mut Random, task: u64) -> Result<()> {
    for number in 0_u64.. {
        let name = format!("d-{}-{task}-{number}", load.round);
        let (transport, port) = load.ports[random.below(load.ports.len() as u64) as usize];
        let key = format!("{PREFIX}{name}");
        // There is one hub, so the value of an assignment is known.
        load.record.attempt(&key, crate::common::emulator::HUB)?;
        let assignment = load.fleet.register(&name, transport, port).await?;
        load.record
            .acknowledge(&key, assignment.hub().as_str(), "")?;
    }
    Ok(())
}
