//! Tracing: the names of spans and events, which do not change, and no secrets.

use std::env;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use tokio::process::Command;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::support::{KEY, Service, answer, answer_with};

const ALONE: &str = "DPS_TEST_ALONE";

/// Records the spans and events of the crate, one per line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl Lines {
    fn add(&self, metadata: &Metadata<'_>, record: impl FnOnce(&mut Fields)) {
        if metadata.target().starts_with("dps_service") {
            let name = if metadata.is_span() {
                metadata.name()
            } else {
                "event"
            };
            let mut fields = Fields(name.to_owned());
            record(&mut fields);
            self.0.lock().expect("no panic before").push(fields.0);
        }
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.add(span.metadata(), |fields| span.record(fields));
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        self.add(event.metadata(), |fields| event.record(fields));
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn each_request_is_a_span_with_its_answers_and_retries() {
    if env::var_os(ALONE).is_none() {
        return in_a_second_process().await;
    }
    let body = format!(
        r#"{{"enrollmentGroupId":"a","attestation":{{"type":"symmetricKey","symmetricKey":{{"primaryKey":"{KEY}"}}}}}}"#
    );
    let service = Service::start([
        answer_with("429 Too Many Requests", "retry-after: 0", ""),
        answer("200 OK", &body),
    ])
    .await;
    let lines = Lines::default();
    let guard = tracing::subscriber::set_default(lines.clone());
    let dps = service.client();
    dps.enrollment_groups()
        .get(&"a".parse().unwrap())
        .await
        .unwrap();
    drop(guard);

    let lines = lines.0.lock().unwrap();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert_eq!(
        lines[0],
        r#"service_request method="GET" path="/enrollmentGroups/a""#
    );
    assert_eq!(lines[1], "event message=the service answered status=429");
    let again =
        "event message=retrying error=the service answered 429 Too Many Requests tries=1 pause_ms=";
    assert!(lines[2].starts_with(again), "{lines:?}");
    assert_eq!(lines[3], "event message=the service answered status=200");
}

/// `tracing` decides once per process whether an event is recorded, and the other tests record nothing.
async fn in_a_second_process() {
    let ended = Command::new(env::current_exe().expect("a program"))
        .args([
            "--exact",
            "traced::each_request_is_a_span_with_its_answers_and_retries",
        ])
        .env(ALONE, "1")
        .output()
        .await
        .expect("it runs");
    let output = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{output}");
    assert!(output.contains("1 passed"), "{output}");
}
