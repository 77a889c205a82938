//! Tracing: the names of spans and events, which do not change, and no secrets.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::NoSubscriber;
use tracing::{Dispatch, Event, Metadata, Subscriber};

use crate::support::{KEY, Service, answer, answer_with};

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
    let body = format!(
        r#"{{"enrollmentGroupId":"a","attestation":{{"type":"symmetricKey","symmetricKey":{{"primaryKey":"{KEY}"}}}}}}"#
    );
    let service = Service::start([
        answer_with("429 Too Many Requests", "retry-after: 0", ""),
        answer("200 OK", &body),
    ])
    .await;
    let lines = Lines::default();
    // With one subscriber only, tracing would cache for all threads that a thread without it has no use for a message.
    let _second = Dispatch::new(NoSubscriber::default());
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
