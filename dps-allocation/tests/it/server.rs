//! The webhook server over real sockets: answers, slow clients, many clients, graceful stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dps_allocation::policies::Fixed;
use dps_allocation::{Allocation, AllocationPolicy, Rejection, Webhook, from_async_fn, from_fn};
use dps_types::AllocationRequest;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};

use crate::common::{DOCUMENTED_REQUEST, HUB_B};
use crate::http::{JSON, Reply, Served, exchange, post, read_to_end};

/// The timeout of clients, in the tests of slow clients.
const CLIENT_TIMEOUT: Duration = Duration::from_millis(500);

fn fixed() -> Fixed {
    Fixed::to(HUB_B.parse().unwrap())
}

/// A policy that reports each call, and answers when it is notified.
fn held() -> (
    impl AllocationPolicy,
    mpsc::UnboundedReceiver<()>,
    Arc<Notify>,
) {
    let (asked, when_asked) = mpsc::unbounded_channel();
    let release = Arc::new(Notify::new());
    let released = Arc::clone(&release);
    let policy = from_async_fn(move |request: AllocationRequest| {
        let (asked, released) = (asked.clone(), Arc::clone(&released));
        async move {
            asked.send(()).unwrap();
            released.notified().await;
            Ok(Allocation::to(request.linked_hubs[0].clone()))
        }
    });
    (policy, when_asked, release)
}

/// Fails instead of waiting for ever. The timeout is shorter than the defaults of hyper.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    let time = Duration::from_secs(20);
    tokio::time::timeout(time, future).await.expect("in time")
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

#[tokio::test]
async fn the_documented_request_is_answered_at_any_path() {
    let served = Served::start(Webhook::new(fixed())).await;
    for path in ["/", "/api/HttpTrigger1?code=unused", "/a/b%20c"] {
        let reply = exchange(served.address, &post(path, JSON, DOCUMENTED_REQUEST)).await;
        assert_eq!(reply.status, 200);
        assert_eq!(
            reply.body,
            r#"{"iotHubHostName":"hub-b.azure-devices.net"}"#
        );
        assert!(reply.head.contains("content-type: application/json"));
    }
}

#[tokio::test]
async fn the_longest_timeouts_are_accepted() {
    let webhook = Webhook::new(fixed())
        .with_timeout(Duration::MAX)
        .with_client_timeout(Duration::MAX);
    let served = Served::start(webhook).await;
    let reply = exchange(served.address, &post("/", JSON, DOCUMENTED_REQUEST)).await;
    assert_eq!(reply.status, 200);
    soon(served.stop()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_function_key_is_accepted_in_query_or_header() {
    let served = Served::start(Webhook::new(fixed()).with_function_key("s3cret==")).await;
    let header = |key| format!("{JSON}X-Functions-Key: {key}\r\n");
    for (path, headers, status) in [
        ("/api/f?code=s3cret==", JSON, 200),
        ("/api/f?code=s3cret%3D%3D", JSON, 200),
        ("/api/f", &*header("s3cret=="), 200),
        ("/api/f", JSON, 401),
        ("/api/f?code=other", &*header("other"), 401),
        ("/api/f?code=s3cret==&code=other", JSON, 400),
        (
            "/api/f",
            &*header("s3cret==\r\nx-functions-key: s3cret=="),
            400,
        ),
    ] {
        let reply = exchange(served.address, &post(path, headers, DOCUMENTED_REQUEST)).await;
        assert_eq!(reply.status, status, "{path} {headers}");
    }
}

#[tokio::test]
async fn every_failure_has_its_status_and_a_json_body() {
    let policy = from_fn(|request| match request.registration_id().as_str() {
        "panics" => panic!("the toaster table is empty"),
        "elsewhere" => Ok(Allocation::to("elsewhere".parse().unwrap())),
        "unknown" => Err(Rejection::new("an unknown device").with_status(404)),
        _ => Err(Rejection::new("no hub")),
    });
    let served = Served::start(Webhook::new(policy).with_body_limit(4096)).await;
    let named = |name: &str| {
        post(
            "/",
            JSON,
            &DOCUMENTED_REQUEST
                .replace(r#""dev-007","currentI"#, &format!(r#""{name}","currentI"#)),
        )
    };
    for (request, status, code, message) in [
        (
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".to_owned(),
            405,
            Some(405_000),
            "POST",
        ),
        (
            post("/", "Content-Type: text/xml\r\n", DOCUMENTED_REQUEST),
            415,
            Some(415_000),
            "application/json",
        ),
        (
            post("/", "", DOCUMENTED_REQUEST),
            415,
            Some(415_000),
            "application/json",
        ),
        (
            post("/", JSON, &" ".repeat(4097)),
            413,
            Some(413_001),
            "4096 bytes",
        ),
        (
            post("/", JSON, "{"),
            400,
            Some(400_006),
            "not an allocation request",
        ),
        (
            post("/", JSON, ""),
            400,
            Some(400_006),
            "not an allocation request",
        ),
        (named("any"), 400, None, "no hub"),
        (named("unknown"), 404, None, "an unknown device"),
        (
            named("panics"),
            500,
            Some(500_001),
            "the allocation policy failed",
        ),
        (
            named("elsewhere"),
            500,
            Some(500_001),
            "not one of the linked hubs",
        ),
        // The webhook continues after the panic.
        (named("any"), 400, None, "no hub"),
    ] {
        let reply = exchange(served.address, &request).await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert!(
            reply.head.contains("content-type: application/json"),
            "{reply:?}"
        );
        assert_eq!(
            reply.head.contains("allow: post"),
            status == 405,
            "{reply:?}"
        );
        let body = reply.json();
        assert_eq!(
            body.get("errorCode"),
            code.map(|code: u32| json!(code)).as_ref()
        );
        assert!(
            body["message"].as_str().unwrap().contains(message),
            "{reply:?}"
        );
    }
}

#[tokio::test]
async fn a_policy_that_times_out_is_504() {
    let policy = from_async_fn(|_| std::future::pending());
    let served = Served::start(Webhook::new(policy).with_timeout(Duration::from_millis(50))).await;
    let reply = exchange(served.address, &post("/", JSON, DOCUMENTED_REQUEST)).await;
    assert_eq!(reply.status, 504);
    assert_eq!(
        reply.json()["message"],
        "the allocation policy did not answer within 50ms"
    );
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_by_its_length_or_as_it_arrives() {
    let served = Served::start(Webhook::new(fixed()).with_body_limit(1000)).await;
    let declared = format!(
        "POST / HTTP/1.1\r\nHost: h\r\n{JSON}Content-Length: 1001\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(exchange(served.address, &declared).await.status, 413);
    // The last chunk is missing.
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: h\r\n{JSON}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n3e9\r\n{}\r\n",
        " ".repeat(1001)
    );
    assert_eq!(exchange(served.address, &chunked).await.status, 413);
}

#[tokio::test]
async fn a_request_without_a_key_is_refused_with_and_without_a_body() {
    let webhook = Webhook::new(fixed()).with_function_key("s3cret");
    let served = Served::start(webhook.with_client_timeout(CLIENT_TIMEOUT)).await;
    // A client that sends the whole body before it reads receives the answer, not a reset.
    let request = post("/", JSON, &" ".repeat(96 * 1024));
    let mut stream = connect(served.address).await;
    for part in request.as_bytes().chunks(1024) {
        stream.write_all(part).await.unwrap();
        tokio::task::yield_now().await;
    }
    let reply = Reply::parse(&read_to_end(&mut stream).await);
    assert_eq!(reply.status, 401);
    // A client that does not send its body is answered after the timeout.
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\n{JSON}Content-Length: 100\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(exchange(served.address, &head).await.status, 401);
}

#[tokio::test]
async fn a_client_that_is_slow_with_the_head_is_disconnected() {
    let webhook = Webhook::new(fixed()).with_client_timeout(CLIENT_TIMEOUT);
    let served = Served::start(webhook).await;
    for sent in ["", "POST / HTTP/1.1\r\nHost: h\r\nX-Slow: "] {
        let mut stream = connect(served.address).await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        assert_eq!(soon(read_to_end(&mut stream)).await, "", "{sent:?}");
    }
    // Sending one byte now and then does not extend the time.
    let mut stream = connect(served.address).await;
    stream
        .write_all(b"POST / HTTP/1.1\r\nX-Slow: ")
        .await
        .unwrap();
    soon(async {
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let served = Served::start(Webhook::new(fixed())).await;
    let many = "X-Header: value\r\n".repeat(101);
    let long = format!("X-Header: {}\r\n", "x".repeat(256 * 1024));
    for headers in [many, long] {
        let headers = format!("{JSON}{headers}");
        let mut stream = connect(served.address).await;
        let request = post("/", &headers, DOCUMENTED_REQUEST);
        // The server may close the connection before it has read everything.
        stream
            .write_all(request.as_bytes())
            .await
            .unwrap_or_default();
        let mut text = Vec::new();
        soon(stream.read_to_end(&mut text))
            .await
            .unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        assert!(text.is_empty() || text.contains(" 431 "), "{text}");
    }
}

#[tokio::test]
async fn a_client_that_is_slow_with_the_body_is_disconnected() {
    let webhook = Webhook::new(fixed()).with_client_timeout(CLIENT_TIMEOUT);
    let served = Served::start(webhook).await;
    let started = format!("POST / HTTP/1.1\r\nHost: h\r\n{JSON}Content-Length: 100\r\n\r\n{{");
    let mut stream = connect(served.address).await;
    stream.write_all(started.as_bytes()).await.unwrap();
    let reply = Reply::parse(&soon(read_to_end(&mut stream)).await);
    assert_eq!(reply.status, 408);
    assert_eq!(reply.json()["message"], "the body did not arrive in time");
}

#[tokio::test]
async fn many_clients_are_served_while_many_others_are_idle() {
    let served = Served::start(Webhook::new(fixed())).await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        let mut stream = connect(served.address).await;
        stream.write_all(b"POST / HTTP/1.1\r\n").await.unwrap();
        idle.push(stream);
    }
    let request = post("/", JSON, DOCUMENTED_REQUEST);
    let replies =
        futures_util::future::join_all((0..200).map(|_| exchange(served.address, &request)));
    assert!(replies.await.iter().all(|reply| reply.status == 200));
}

#[tokio::test]
async fn a_connection_serves_several_requests() {
    let webhook = Webhook::new(fixed()).with_client_timeout(Duration::from_secs(3600));
    let served = Served::start(webhook).await;
    let request = post("/", JSON, DOCUMENTED_REQUEST).replace("Connection: close\r\n", "");
    let mut stream = connect(served.address).await;
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        while !text.ends_with('}') {
            let mut bytes = [0; 1024];
            let read = stream.read(&mut bytes).await.unwrap();
            assert_ne!(read, 0, "closed after {text}");
            text.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
        }
        assert_eq!(Reply::parse(&text).status, 200);
    }
    // An idle connection does not delay the stop.
    soon(served.stop()).await.unwrap().unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn requests_in_flight_are_finished_when_the_server_stops() {
    let (policy, mut when_asked, release) = held();
    let served = Served::start(Webhook::new(policy)).await;
    let address = served.address;
    let in_flight =
        tokio::spawn(async move { exchange(address, &post("/", JSON, DOCUMENTED_REQUEST)).await });
    when_asked.recv().await.unwrap();

    let mut stopping = served.stop();
    // No new connection is accepted ...
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!stopping.is_finished());
    // ... and the request in flight is answered.
    release.notify_one();
    assert_eq!(in_flight.await.unwrap().status, 200);
    (&mut stopping).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_request_does_not_delay_the_stop() {
    let webhook = Webhook::new(fixed()).with_client_timeout(CLIENT_TIMEOUT);
    let served = Served::start(webhook).await;
    let mut stream = connect(served.address).await;
    stream
        .write_all(b"POST / HTTP/1.1\r\nX-Slow: ")
        .await
        .unwrap();
    // After this answer the server has accepted the first connection as well.
    let reply = exchange(served.address, &post("/", JSON, DOCUMENTED_REQUEST)).await;
    assert_eq!(reply.status, 200);
    soon(served.stop()).await.unwrap().unwrap();
}

#[tokio::test]
async fn dropping_the_server_drops_the_running_policies() {
    struct Dropped(mpsc::UnboundedSender<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.send(()).unwrap_or_default();
        }
    }
    let (dropped, mut when_dropped) = mpsc::unbounded_channel();
    let (asked, mut when_asked) = mpsc::unbounded_channel();
    let policy = from_async_fn(move |_| {
        let (guard, asked) = (Dropped(dropped.clone()), asked.clone());
        async move {
            let _guard = guard;
            asked.send(()).unwrap();
            std::future::pending().await
        }
    });
    let served = Served::start(Webhook::new(policy)).await;
    let mut stream = connect(served.address).await;
    let request = post("/", JSON, DOCUMENTED_REQUEST);
    stream.write_all(request.as_bytes()).await.unwrap();
    when_asked.recv().await.unwrap();

    served.task.abort();
    when_dropped
        .recv()
        .await
        .expect("the policy's future is dropped");
    assert_eq!(read_to_end(&mut stream).await, "");
}

#[tokio::test]
async fn the_router_can_be_nested_with_and_without_a_trailing_slash() {
    let webhook = Webhook::new(fixed()).with_function_key("s3cret");
    let app = axum::Router::new().nest_service("/api/allocate", webhook.router());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = axum::serve(listener, app).into_future();
    let asking = async {
        for (path, status) in [
            ("/api/allocate?code=s3cret", 200),
            ("/api/allocate/?code=s3cret", 200),
            ("/api/allocate/", 401),
            ("/api/allocate", 401),
            ("/elsewhere?code=s3cret", 404),
        ] {
            let reply = exchange(address, &post(path, JSON, DOCUMENTED_REQUEST)).await;
            assert_eq!(reply.status, status, "{path}");
        }
    };
    tokio::select! {
        ended = serving => panic!("the server ended: {ended:?}"),
        () = asking => {}
    }
}
