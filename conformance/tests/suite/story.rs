//! The events of a registration, and a clock that can be put on.

use std::time::Duration;

use dps_device::{Assignment, Error, Event, Register, RegistrationEvents};
use tokio::time;

/// A registration that is watched.
pub(crate) struct Story {
    registration: RegistrationEvents,
    told: Vec<&'static str>,
}

impl Story {
    pub(crate) fn of(register: Register) -> Self {
        Self {
            registration: register.events(),
            told: Vec::new(),
        }
    }

    /// Goes on to the next event of this name.
    pub(crate) async fn until(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await;
            let event = event.unwrap_or_else(|| panic!("no {name} after {:?}", self.told));
            if self.told.last() == Some(&name) {
                return event;
            }
        }
    }

    /// Goes on to the next failure that may get better: what, and how long the device waits.
    pub(crate) async fn retrying(&mut self) -> (Error, Duration) {
        match self.until("retrying").await {
            Event::Retrying { error, wait, .. } => (error, wait),
            other => panic!("{other:?} is called retrying"),
        }
    }

    /// Goes on to the end, and tells everything from the beginning.
    pub(crate) async fn end(mut self) -> (Vec<&'static str>, Result<Assignment, Error>) {
        let mut outcome = None;
        while let Some(event) = self.next().await {
            outcome = match event {
                Event::Assigned(assignment) => Some(Ok(*assignment)),
                Event::Failed(error) => Some(Err(error)),
                _ => None,
            };
        }
        (self.told, outcome.expect("the outcome is the last event"))
    }

    async fn next(&mut self) -> Option<Event> {
        let event = self.registration.next().await?;
        self.told.push(match &event {
            Event::Connecting => "connecting",
            Event::Registering => "registering",
            Event::Assigning { .. } => "assigning",
            Event::Retrying { .. } => "retrying",
            Event::FallingBack { .. } => "falling back",
            Event::Assigned(_) => "assigned",
            Event::Failed(_) => "failed",
            _ => "something new",
        });
        Some(event)
    }
}

/// Puts the clock on, for device and service alike, instead of waiting.
pub(crate) async fn later(time: Duration) {
    time::pause();
    time::advance(time + Duration::from_millis(10)).await;
    time::resume();
}
