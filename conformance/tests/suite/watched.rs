//! The events of a registration, and a clock that can be advanced.

use std::time::Duration;

use dps_device::{Assignment, Error, Event, Register, RegistrationEvents};
use tokio::time;

/// A registration and the names of its events.
pub(crate) struct Watched {
    registration: RegistrationEvents,
    names: Vec<&'static str>,
}

impl Watched {
    pub(crate) fn of(register: Register) -> Self {
        Self {
            registration: register.events(),
            names: Vec::new(),
        }
    }

    /// Runs to the next event of this name.
    pub(crate) async fn until(&mut self, name: &str) -> Event {
        loop {
            let event = self.next().await;
            let event = event.unwrap_or_else(|| panic!("no {name} after {:?}", self.names));
            if self.names.last() == Some(&name) {
                return event;
            }
        }
    }

    /// Runs to the next retry. Returns the failure and the wait.
    pub(crate) async fn retrying(&mut self) -> (Error, Duration) {
        match self.until("retrying").await {
            Event::Retrying { error, wait, .. } => (error, wait),
            other => panic!("{other:?} is called retrying"),
        }
    }

    /// Runs to the outcome. Returns the names of all events and the outcome.
    pub(crate) async fn end(mut self) -> (Vec<&'static str>, Result<Assignment, Error>) {
        let mut outcome = None;
        while let Some(event) = self.next().await {
            outcome = match event {
                Event::Assigned(assignment) => Some(Ok(*assignment)),
                Event::Failed(error) => Some(Err(error)),
                _ => None,
            };
        }
        (self.names, outcome.expect("the outcome is the last event"))
    }

    async fn next(&mut self) -> Option<Event> {
        let event = self.registration.next().await?;
        self.names.push(match &event {
            Event::Connecting => "connecting",
            Event::Registering => "registering",
            Event::Assigning { .. } => "assigning",
            Event::Retrying { .. } => "retrying",
            Event::FallingBack { .. } => "falling back",
            Event::Assigned(_) => "assigned",
            Event::Failed(_) => "failed",
            _ => "unknown",
        });
        Some(event)
    }
}

/// Advances the clock of device and service instead of waiting.
pub(crate) async fn advance_clock(time: Duration) {
    time::pause();
    time::advance(time + Duration::from_millis(10)).await;
    time::resume();
}
