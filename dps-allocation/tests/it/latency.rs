//! Lowest latency: from a table, and measured.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dps_allocation::policies::{EvenlyWeighted, LatencySource, LatencyTable, LowestLatency};
use dps_allocation::{AllocationPolicy, Rejection};
use dps_types::{AllocationRequest, ErrorCode, HubHostname};
use serde_json::json;

use crate::common::{HUB_A, HUB_B, ask, request, request_with};

const HUB_C: &str = "hub-c.azure-devices.net";
const ALL: [&str; 3] = [HUB_A, HUB_B, HUB_C];

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn hub(name: &str) -> HubHostname {
    name.parse().unwrap()
}

fn table() -> LatencyTable {
    LatencyTable::by_payload("region")
        .with("emea", hub(HUB_A), ms(12))
        .with("emea", hub(HUB_B), ms(90))
        .with("amer", hub(HUB_A), ms(95))
        .with("amer", hub(HUB_B), ms(14))
        .with(LatencyTable::ELSEWHERE, hub(HUB_C), ms(200))
}

async fn from(region: serde_json::Value) -> String {
    let context = json!({ "payload": { "region": region } });
    let policy = LowestLatency::by(table());
    ask(&policy, &request_with("dev-1", &ALL, context))
        .await
        .unwrap()
}

#[tokio::test]
async fn the_fastest_hub_for_the_region_of_the_device_is_chosen() {
    assert_eq!(from(json!("emea")).await, HUB_A);
    assert_eq!(from(json!("amer")).await, HUB_B);
}

#[tokio::test]
async fn a_device_of_an_unknown_region_is_elsewhere() {
    for region in [json!("apac"), json!(null), json!(["emea"])] {
        assert_eq!(from(region.clone()).await, HUB_C, "{region}");
    }
    let policy = LowestLatency::by(table());
    assert_eq!(ask(&policy, &request("dev-1", &ALL)).await.unwrap(), HUB_C);
}

#[tokio::test]
async fn a_hub_that_is_not_linked_is_not_chosen() {
    let context = json!({ "payload": { "region": "emea" } });
    let policy = LowestLatency::by(table());
    let request = request_with("dev-1", &[HUB_B, HUB_C], context);
    assert_eq!(ask(&policy, &request).await.unwrap(), HUB_B);
}

/// The hubs that are chosen for a hundred devices.
async fn chosen(policy: &LowestLatency, hubs: &[&str]) -> HashSet<String> {
    let mut chosen = HashSet::new();
    for n in 0..100 {
        chosen.insert(
            ask(policy, &request(&format!("dev-{n}"), hubs))
                .await
                .unwrap(),
        );
    }
    chosen
}

fn set(hubs: &[&str]) -> HashSet<String> {
    hubs.iter().map(|hub| (*hub).to_owned()).collect()
}

#[tokio::test]
async fn the_choice_among_equal_hubs_is_evenly_weighted() {
    let table = LatencyTable::new()
        .with("", hub(HUB_A), ms(10))
        .with("", hub(HUB_B), ms(14))
        .with("", hub(HUB_C), ms(16));
    let exact = LowestLatency::by(table.clone());
    assert_eq!(chosen(&exact, &ALL).await, set(&[HUB_A]));
    let coarse = LowestLatency::by(table.clone()).equal_within(ms(4));
    assert_eq!(chosen(&coarse, &ALL).await, set(&[HUB_A, HUB_B]));
    let forever = LowestLatency::by(table).equal_within(Duration::MAX);
    assert_eq!(chosen(&forever, &ALL).await, set(&ALL));
    // The same choice as EvenlyWeighted alone, with its weights.
    let weighted = EvenlyWeighted::new().with_weight(hub(HUB_B), 1000);
    let unknown = LowestLatency::by(LatencyTable::new()).among_equals(weighted.clone());
    for n in 0..100 {
        let request = request(&format!("dev-{n}"), &ALL);
        assert_eq!(
            ask(&unknown, &request).await,
            ask(&weighted, &request).await
        );
    }
}

#[tokio::test]
async fn a_request_without_hubs_is_rejected() {
    let rejection = LowestLatency::by(table())
        .allocate(&request("dev-1", &[]))
        .await
        .unwrap_err();
    assert_eq!(rejection.error_code(), Some(ErrorCode::HUB_NOT_SPECIFIED));
}

struct Broken(Arc<AtomicUsize>);

#[async_trait]
impl LatencySource for Broken {
    async fn latency(
        &self,
        _request: &AllocationRequest,
        _hub: &HubHostname,
    ) -> Result<Option<Duration>, Rejection> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(Rejection::new("the map is not available"))
    }
}

#[tokio::test]
async fn a_source_that_fails_fails_the_registration() {
    let asked = Arc::new(AtomicUsize::new(0));
    let policy = LowestLatency::by(Broken(Arc::clone(&asked)));
    let rejected = ask(&policy, &request("dev-1", &ALL)).await.unwrap_err();
    assert_eq!(rejected, "the map is not available");
    assert!(asked.load(Ordering::Relaxed) >= 1);
}

#[cfg(feature = "probe")]
mod probe {
    use std::net::Ipv4Addr;

    use dps_allocation::policies::LatencyProbe;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::timeout;

    use super::*;

    async fn listen() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[tokio::test]
    async fn the_latency_of_a_hub_that_does_not_answer_is_not_known() {
        let (_listener, port) = listen().await;
        let probe = LatencyProbe::new().port(port);
        let request = request("dev-1", &["127.0.0.1"]);
        let near = probe.latency(&request, &hub("127.0.0.1")).await.unwrap();
        assert!(near.is_some());
        // Nothing listens on this address: the connection is refused.
        let gone = probe.latency(&request, &hub("127.0.0.2")).await.unwrap();
        assert_eq!(gone, None);
        let policy = LowestLatency::by(probe);
        let both = super::request("dev-1", &["127.0.0.2", "127.0.0.1"]);
        assert_eq!(ask(&policy, &both).await.unwrap(), "127.0.0.1");
    }

    #[tokio::test]
    async fn a_measurement_is_used_until_its_maximum_age() {
        let (listener, port) = listen().await;
        let lasting = LatencyProbe::new().port(port);
        let fleeting = LatencyProbe::new().port(port).max_age(Duration::ZERO);
        let request = request("dev-1", &["127.0.0.1"]);
        for probe in [&lasting, &fleeting] {
            let first = probe.latency(&request, &hub("127.0.0.1")).await.unwrap();
            assert!(first.is_some());
        }
        drop(listener);
        let again = lasting.latency(&request, &hub("127.0.0.1")).await.unwrap();
        assert!(again.is_some());
        let again = fleeting.latency(&request, &hub("127.0.0.1")).await.unwrap();
        assert_eq!(again, None);
    }

    #[tokio::test]
    async fn a_connection_that_times_out_is_not_an_error() {
        // A server whose queue of connections is full does not answer.
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket
            .bind("127.0.0.1:0".parse().expect("an address"))
            .expect("bound");
        let listener = socket.listen(1).expect("listening");
        let address = listener.local_addr().expect("an address");
        let mut waiting = Vec::new();
        while let Ok(connection) =
            timeout(Duration::from_millis(200), TcpStream::connect(address)).await
        {
            waiting.push(connection);
        }
        let probe = LatencyProbe::new()
            .port(address.port())
            .timeout(Duration::from_millis(10));
        let request = request("dev-1", &["127.0.0.1"]);
        assert_eq!(
            probe.latency(&request, &hub("127.0.0.1")).await.unwrap(),
            None
        );
    }
}
