//! The limits of an instance: quotas and rates.

mod hub_rates;
mod rate;
mod throttle;

pub(crate) use hub_rates::HubAction;
pub use hub_rates::HubRates;
pub(crate) use throttle::Throttle;

use crate::error::{Error, ErrorKind};

/// The limits of an instance. The default quotas are those of the service; requests are not counted, so that no test is slowed
/// down: [`Limits::throttled`] counts them as the service does.
///
/// Source: azure-docs `iot-dps/about-iot-dps.md`, quotas and limits.
///
/// ```
/// use dps_emulator::Limits;
///
/// let mut limits = Limits::default();
/// limits.x509_groups = 2;
/// limits.polls_per_10_seconds = Some(5);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Individual enrollments; 1,000,000 by default.
    pub individual_enrollments: u64,
    /// Registrations; 1,000,000 by default.
    pub registrations: u64,
    /// Enrollment groups with certificates; 100 by default.
    pub x509_groups: u64,
    /// Enrollment groups with symmetric keys; 100 by default.
    pub symmetric_key_groups: u64,
    /// CA certificates; 25 by default.
    pub ca_certificates: u64,
    /// Linked IoT hubs; 50 by default.
    pub linked_hubs: u64,
    /// Instances that are created while the emulator runs; 10,000 by default.
    pub instances: u64,
    /// Cloud-to-device messages in the queue of a device; 50 by default.
    pub hub_queued_messages: u64,
    /// Subscriptions of a device's connection to its hub; 5 by default.
    pub hub_subscriptions: u64,
    /// A telemetry message of a device to its hub, in bytes; 262,144 (256 KiB) by default.
    pub hub_message_bytes: usize,
    /// A file that a device uploads, in bytes; 268,435,456 (256 MiB) by default.
    pub hub_upload_bytes: u64,
    /// The body of a device's message, in bytes; 98,304 (96 KiB) by default.
    pub message_bytes: usize,
    /// Open connections to one port whose clients are not authenticated; 2,048 by default, 1 at least. Further ones
    /// wait. Each of these connections has a time limit, so the wait ends.
    pub unproven_connections: usize,
    /// Open challenges to TPMs of one network address; 1,000 by default, 1 at least. A further one replaces the oldest. The
    /// addresses of an IPv6 network (/64) count as one.
    pub tpm_challenges_per_address: usize,
    /// Requests of operators in a minute; not counted by default.
    pub operations_per_minute: Option<u64>,
    /// Registrations and lookups of all devices in a minute; not counted by default.
    pub registrations_per_minute: Option<u64>,
    /// Polls of one device in 10 seconds; not counted by default.
    pub polls_per_10_seconds: Option<u64>,
    /// Certificates issued to one device in 24 hours; not counted by default.
    pub certificates_per_day: Option<u64>,
    /// The rates of each linked hub; not limited by default.
    pub hub_rates: HubRates,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            individual_enrollments: 1_000_000,
            registrations: 1_000_000,
            x509_groups: 100,
            symmetric_key_groups: 100,
            ca_certificates: 25,
            linked_hubs: 50,
            instances: 10_000,
            hub_queued_messages: 50,
            hub_subscriptions: 5,
            hub_message_bytes: 256 * 1024,
            hub_upload_bytes: 256 * 1024 * 1024,
            message_bytes: 96 * 1024,
            unproven_connections: 2048,
            tpm_challenges_per_address: 1000,
            operations_per_minute: None,
            registrations_per_minute: None,
            polls_per_10_seconds: None,
            certificates_per_day: None,
            hub_rates: HubRates::default(),
        }
    }
}

impl Limits {
    /// The names that [`Limits::set`] accepts.
    const NAMES: &[&str] = &[
        "individual-enrollments",
        "registrations",
        "x509-groups",
        "symmetric-key-groups",
        "ca-certificates",
        "linked-hubs",
        "instances",
        "hub-queued-messages",
        "hub-subscriptions",
        "hub-message-bytes",
        "hub-upload-bytes",
        "message-bytes",
        "unproven-connections",
        "tpm-challenges-per-address",
        "operations-per-minute",
        "registrations-per-minute",
        "polls-per-10-seconds",
        "certificates-per-day",
    ];

    /// With the service's rates: 1,000 operations and 1,000 registrations a minute, 5 polls of a device in 10 seconds,
    /// 20 certificates of a device in 24 hours; for the hubs those of one unit of the tier S1.
    #[must_use]
    pub fn throttled(self) -> Self {
        Self {
            operations_per_minute: Some(1000),
            registrations_per_minute: Some(1000),
            polls_per_10_seconds: Some(5),
            certificates_per_day: Some(20),
            hub_rates: HubRates::s1(),
            ..self
        }
    }

    /// Sets a limit by its name, which is the field's with `-` for `_`: `x509-groups`.
    ///
    /// # Errors
    /// When there is no such limit.
    pub fn set(&mut self, name: &str, value: u64) -> Result<(), Error> {
        if let Some(action) = HubAction::ALL.iter().find(|it| it.name() == name) {
            *self.hub_rates.of(*action) = Some(value);
            return Ok(());
        }
        let limit = match name {
            "individual-enrollments" => &mut self.individual_enrollments,
            "registrations" => &mut self.registrations,
            "x509-groups" => &mut self.x509_groups,
            "symmetric-key-groups" => &mut self.symmetric_key_groups,
            "ca-certificates" => &mut self.ca_certificates,
            "linked-hubs" => &mut self.linked_hubs,
            "instances" => &mut self.instances,
            "hub-queued-messages" => &mut self.hub_queued_messages,
            "hub-subscriptions" => &mut self.hub_subscriptions,
            "hub-upload-bytes" => &mut self.hub_upload_bytes,
            "hub-message-bytes" => {
                self.hub_message_bytes = usize::try_from(value).unwrap_or(usize::MAX);
                return Ok(());
            }
            "message-bytes" => {
                self.message_bytes = usize::try_from(value).unwrap_or(usize::MAX);
                return Ok(());
            }
            "unproven-connections" => {
                self.unproven_connections = usize::try_from(value).unwrap_or(usize::MAX);
                return Ok(());
            }
            "tpm-challenges-per-address" => {
                self.tpm_challenges_per_address = usize::try_from(value).unwrap_or(usize::MAX);
                return Ok(());
            }
            "operations-per-minute" => self.operations_per_minute.insert(value),
            "registrations-per-minute" => self.registrations_per_minute.insert(value),
            "polls-per-10-seconds" => self.polls_per_10_seconds.insert(value),
            "certificates-per-day" => self.certificates_per_day.insert(value),
            _ => {
                let hub_rates = HubAction::ALL.iter().map(|action| action.name());
                let names: Vec<&str> = Self::NAMES.iter().copied().chain(hub_rates).collect();
                let reason = format!(
                    "'{name}' is not a valid limit: it must be one of {}",
                    names.join(", ")
                );
                return Err(Error::new(ErrorKind::Configuration, reason));
            }
        };
        *limit = value;
        Ok(())
    }
}
