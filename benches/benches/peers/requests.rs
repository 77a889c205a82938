//! Requests over HTTP keep-alive without TLS: the emulator compared with an axum handler, the webhook with axum and Node.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use axum::routing::{post, put};
use axum::{Json, Router};
use dps_allocation::{Allocation, Webhook, from_fn};
use dps_benches::{ALLOCATION_REQUEST, Service, cpu_time};
use dps_types::AllocationRequest;
use dps_types::sas::SasTokenBuilder;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::http_clients::{self, CONNECTIONS, Clients, REQUESTS};

const ROUNDS: usize = 40;
/// The unit of the times in /proc/ID/stat.
const TICK: Duration = Duration::from_millis(10);

pub(crate) fn measure(runtime: &Runtime) {
    println!("\nrequests over HTTP keep-alive, {CONNECTIONS} connections; CPU time of both sides");
    println!("{:44}{:>12}{:>9}", "", "us/request", "");
    let service = Service::start_with(|builder| builder.insecure_http_port(0));
    let service = runtime.block_on(service).unwrap();
    // Each connection is another device, because the emulator refuses one of two concurrent changes of a device.
    let request = |device| registration(&service, device);
    let echo = Router::new().fallback(put(async |Json(body): Json<Value>| Json(body)));
    let axum = served(runtime, |listener| async {
        axum::serve(listener, echo).await
    });
    let url = service.emulator().insecure_http_url().unwrap();
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let address = address.replace("localhost", "127.0.0.1").parse().unwrap();
    let base = cost(runtime, axum, request, None);
    print("an axum echo of the registration's JSON", base, base);
    print(
        "the emulator, registrations",
        cost(runtime, address, request, None),
        base,
    );

    let body: Value = serde_json::from_str(ALLOCATION_REQUEST).unwrap();
    let request = |_| http_clients::request("POST", "/", "", &body.to_string());
    let echo = Router::new().fallback(post(async |Json(body): Json<Value>| Json(body)));
    let axum = served(runtime, |listener| async {
        axum::serve(listener, echo).await
    });
    let webhook = Webhook::new(from_fn(|request: &AllocationRequest| {
        Ok(Allocation::to(request.linked_hubs[0].clone()))
    }));
    let webhook = served(runtime, |listener| webhook.serve(listener));
    let base = cost(runtime, axum, request, None);
    print("an axum echo of the allocation's JSON", base, base);
    print("the webhook", cost(runtime, webhook, request, None), base);
    let mut node = Node::start();
    let address = ([127, 0, 0, 1], node.port).into();
    print(
        "a handler of Node's http",
        cost(runtime, address, request, Some(&node)),
        base,
    );
    drop(node.child.stdin.take());
    node.child.wait().unwrap();
}

/// The registration of the device with this number.
fn registration(service: &Service, device: usize) -> String {
    let device = format!("toaster-{device}");
    let id_scope = service.emulator().id_scope();
    let resource = format!("{id_scope}/registrations/{device}");
    let key = service
        .group_key()
        .derive_device_key(&device.parse().unwrap());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let expiry = now.unwrap().as_secs() + 3600;
    let token = SasTokenBuilder::new(&resource, expiry).policy("registration");
    let headers = format!("authorization: {}\r\n", *token.sign_with(&key).reveal());
    let path = format!("/{id_scope}/registrations/{device}/register?api-version=2021-06-01");
    let body = format!(r#"{{"registrationId":"{device}"}}"#);
    http_clients::request("PUT", &path, &headers, &body)
}

/// Serves on a new port, until the runtime ends.
fn served<F: Future<Output: Send> + Send + 'static>(
    runtime: &Runtime,
    serve: impl FnOnce(TcpListener) -> F,
) -> std::net::SocketAddr {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(serve(listener));
    address
}

/// The CPU time for a request, in microseconds.
fn cost(
    runtime: &Runtime,
    address: std::net::SocketAddr,
    request: impl Fn(usize) -> String,
    server: Option<&Node>,
) -> f64 {
    let mut clients = runtime.block_on(Clients::connect(address, request));
    // The first round prepares the server, above all Node's compiler.
    for _ in 0..ROUNDS / 4 {
        runtime.block_on(clients.ask());
    }
    let time = || cpu_time() + server.map_or(Duration::ZERO, Node::cpu_time);
    let began = time();
    for _ in 0..ROUNDS {
        runtime.block_on(clients.ask());
    }
    (time() - began).as_secs_f64() * 1e6 / (ROUNDS * CONNECTIONS * REQUESTS) as f64
}

fn print(what: &str, cost: f64, base: f64) {
    println!("{what:44}{cost:>12.1}{:>9.2}", cost / base);
}

/// The process of Node's server.
struct Node {
    child: Child,
    port: u16,
}

impl Node {
    fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/node/allocate.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        Self {
            child,
            port: line.trim().parse().unwrap(),
        }
    }

    /// User and system time.
    fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let after_name = stat.rsplit(')').next().unwrap();
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        let ticks = |field: usize| fields[field].parse::<u32>().unwrap();
        TICK * (ticks(11) + ticks(12))
    }
}
