//! Metrics in the text format of Prometheus.

use super::Control;
use super::reply::{self, Answer};
use crate::journal::Sample;
use crate::state::store::Table;

/// The tables whose size is a metric.
const TABLES: [Table; 5] = [
    Table::Individuals,
    Table::Groups,
    Table::Registrations,
    Table::Hubs,
    Table::CaCertificates,
];

/// `GET /metrics`
pub(super) async fn answer(control: &Control) -> Answer {
    let gateway = &control.gateway;
    let store = gateway.instance.state.store();
    let mut entries = Vec::with_capacity(TABLES.len());
    for table in TABLES {
        let count = store.count(table).await;
        let count = count.map_err(crate::service_error::ServiceError::from)?;
        entries.push((format!("table=\"{}\"", table.name()), count));
    }
    let connections = gateway.shared.connections.read();
    let by_port = |value: fn(&crate::endpoint::ConnectionCount) -> u64| {
        let samples = connections.iter();
        samples
            .map(|count| (format!("port=\"{}\"", count.port), value(count)))
            .collect()
    };
    let webhooks = gateway.instance.allocator.webhook_calls();
    let samples = [
        Sample {
            name: "dps_emulator_connections",
            help: "Open connections.",
            kind: "gauge",
            values: by_port(|count| count.open),
        },
        Sample {
            name: "dps_emulator_connections_total",
            help: "Accepted connections.",
            kind: "counter",
            values: by_port(|count| count.accepted),
        },
        Sample {
            name: "dps_emulator_webhook_calls_total",
            help: "Calls of custom allocation webhooks.",
            kind: "counter",
            values: vec![
                ("outcome=\"allocated\"".to_owned(), webhooks.0),
                ("outcome=\"failed\"".to_owned(), webhooks.1),
            ],
        },
        Sample {
            name: "dps_emulator_store_entries",
            help: "Entries of the store.",
            kind: "gauge",
            values: entries,
        },
        Sample {
            name: "dps_emulator_faults_pending",
            help: "Injected faults that have not happened yet.",
            kind: "gauge",
            values: vec![(String::new(), gateway.faults.pending() as u64)],
        },
    ];
    let text = control.journal.metrics().render(&samples);
    reply::text("text/plain; version=0.0.4; charset=utf-8", text)
}
