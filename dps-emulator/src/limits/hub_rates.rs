//! The rates of a linked hub.
//!
//! Source: azure-docs `iot-hub/iot-hub-devguide-quotas-throttling.md`, for one unit of the tier S1.

/// The most operations of each kind at one linked hub. Not limited by default;
/// [`Limits::throttled`](super::Limits::throttled) has those of one unit of the tier S1.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HubRates {
    /// New connections of devices in a second; 100 at S1. A device that exceeds it receives CONNACK 3.
    pub connections_per_second: Option<u64>,
    /// Telemetry messages in a second; 100 at S1. The connection of a device that exceeds it ends.
    pub telemetry_per_second: Option<u64>,
    /// Reads of twins in a second; 100 at S1.
    pub twin_reads_per_second: Option<u64>,
    /// Updates of twins in a second; 50 at S1.
    pub twin_updates_per_second: Option<u64>,
    /// Cloud-to-device messages that back ends send in a minute; 100 at S1.
    pub messages_per_minute: Option<u64>,
    /// Operations on the identities of devices and modules in a minute; 100 at S1.
    pub registry_operations_per_minute: Option<u64>,
    /// Uploads that devices start in a minute; 100 at S1.
    pub uploads_per_minute: Option<u64>,
}

/// A kind of operation at a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HubAction {
    Connect,
    Telemetry,
    TwinRead,
    TwinUpdate,
    Message,
    Registry,
    Upload,
}

impl HubAction {
    pub(super) const ALL: [Self; 7] = [
        Self::Connect,
        Self::Telemetry,
        Self::TwinRead,
        Self::TwinUpdate,
        Self::Message,
        Self::Registry,
        Self::Upload,
    ];

    /// The time that its rate is counted in.
    pub(super) fn seconds(self) -> u64 {
        match self {
            Self::Connect | Self::Telemetry | Self::TwinRead | Self::TwinUpdate => 1,
            Self::Message | Self::Registry | Self::Upload => 60,
        }
    }

    /// The name that [`Limits::set`](super::Limits::set) accepts.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connect => "hub-connections-per-second",
            Self::Telemetry => "hub-telemetry-per-second",
            Self::TwinRead => "hub-twin-reads-per-second",
            Self::TwinUpdate => "hub-twin-updates-per-second",
            Self::Message => "hub-messages-per-minute",
            Self::Registry => "hub-registry-operations-per-minute",
            Self::Upload => "hub-uploads-per-minute",
        }
    }
}

impl HubRates {
    /// Those of one unit of the tier S1.
    pub(super) fn s1() -> Self {
        let mut rates = Self::default();
        for action in HubAction::ALL {
            *rates.of(action) = Some(match action {
                HubAction::TwinUpdate => 50,
                _ => 100,
            });
        }
        rates
    }

    pub(super) fn of(&mut self, action: HubAction) -> &mut Option<u64> {
        match action {
            HubAction::Connect => &mut self.connections_per_second,
            HubAction::Telemetry => &mut self.telemetry_per_second,
            HubAction::TwinRead => &mut self.twin_reads_per_second,
            HubAction::TwinUpdate => &mut self.twin_updates_per_second,
            HubAction::Message => &mut self.messages_per_minute,
            HubAction::Registry => &mut self.registry_operations_per_minute,
            HubAction::Upload => &mut self.uploads_per_minute,
        }
    }
}
