//! Service commands with Microsoft Entra ID: a client secret of the environment, a token endpoint on loopback, and bearer tokens
//! that the emulator accepts.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::sync::{Arc, Mutex};

use assert_cmd::Command;
use common::own_tls;
use common::{Ran, World, dps};
use dps_emulator::EntraRole;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;

const SECRET: &str = "s8Q~secret+of/the=application";
const TOKEN: &str = "token-of-a-contributor";

#[tokio::test(flavor = "multi_thread")]
async fn a_client_secret_is_exchanged_for_one_token_for_all_requests() {
    let world = world().await;
    let endpoint = Endpoint::start(&world, |_| granted(TOKEN, 3600)).await;
    let fleet: String = (0..35).map(|n| format!("t-{n}\n")).collect();
    world.file("fleet.csv", format!("registrationId\n{fleet}"));
    let import = ["enrollment", "import", "fleet.csv", "--concurrency", "1"];
    let ran = Ran::of(with_entra(&world, &import, endpoint.port)).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(
        endpoint.requests(),
        [concat!(
            "POST /contoso-tenant/oauth2/v2.0/token HTTP/1.1\n",
            "grant_type=client_credentials&client_id=dps-operator",
            "&scope=https%3A%2F%2Fazure-devices-provisioning.net%2F.default",
            "&client_secret=s8Q%7Esecret%2Bof%2Fthe%3Dapplication"
        )]
    );
    let listed = world.json(&["enrollment", "list"]).await;
    assert_eq!(listed.as_array().unwrap().len(), 35);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_federated_token_of_a_file_is_exchanged_as_well() {
    let world = world().await;
    let endpoint = Endpoint::start(&world, |_| granted(TOKEN, 3600)).await;
    let mut command = with_entra(&world, &["enrollment", "list"], endpoint.port);
    command.env_remove("AZURE_CLIENT_SECRET").env(
        "AZURE_FEDERATED_TOKEN_FILE",
        world.file("token", "header.payload.signature\n"),
    );
    let ran = Ran::of(command).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let requests = endpoint.requests();
    assert!(
        requests[0].ends_with(concat!(
            "&client_assertion=header.payload.signature",
            "&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer"
        )),
        "{requests:?}"
    );
}

/// The answer is the one that Microsoft's documentation of the error codes shows for a wrong secret.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_secret_is_refused_with_the_reason_of_entra() {
    let world = world().await;
    let answer = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided."}"#;
    let endpoint = Endpoint::start(&world, |_| (401, answer.to_owned())).await;
    let ran = Ran::of(with_entra(&world, &["enrollment", "list"], endpoint.port)).await;
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(
        ran.stderr.contains("invalid_client: AADSTS7000215"),
        "{ran:?}"
    );
    assert!(!ran.stderr.contains(SECRET), "{ran:?}");
    assert_eq!(endpoint.requests().len(), 1, "it is not tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_cannot_be_used_now_is_an_error_that_may_pass() {
    let world = world().await;
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let failing = Endpoint::start(&world, |_| (503, "<html>".to_owned())).await;
    for port in [port, failing.port] {
        let ran = Ran::of(with_entra(&world, &["enrollment", "list"], port)).await;
        assert_eq!(ran.code, 6, "{ran:?}");
        assert!(ran.stderr.contains("no token"), "{ran:?}");
        assert!(!ran.stderr.contains(SECRET), "{ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_a_token_is_named() {
    let world = world().await;
    let endpoint = Endpoint::start(&world, |_| (200, "<html>Welcome</html>".to_owned())).await;
    let ran = Ran::of(with_entra(&world, &["enrollment", "list"], endpoint.port)).await;
    assert_eq!(ran.code, 4, "{ran:?}");
    assert!(
        ran.stderr
            .contains("the answer of the token endpoint is not valid"),
        "{ran:?}"
    );
}

/// The service refuses a token that has expired. The program gets another one, once.
#[tokio::test(flavor = "multi_thread")]
async fn an_expired_token_is_replaced_once() {
    let world = world().await;
    let endpoint = Endpoint::start(&world, |number| match number {
        0 => granted("token-that-has-expired", 3600),
        _ => granted(TOKEN, 3600),
    })
    .await;
    let ran = Ran::of(with_entra(&world, &["enrollment", "list"], endpoint.port)).await;
    assert_eq!((ran.code, endpoint.requests().len()), (0, 2), "{ran:?}");

    let endpoint = Endpoint::start(&world, |_| granted("token-that-has-expired", 3600)).await;
    let ran = Ran::of(with_entra(&world, &["enrollment", "list"], endpoint.port)).await;
    assert_eq!((ran.code, endpoint.requests().len()), (4, 2), "{ran:?}");
    assert!(ran.stderr.contains("401"), "{ran:?}");

    let mut command = with_entra(&world, &["enrollment", "list"], endpoint.port);
    command.env("DPS_ACCESS_TOKEN", "token-that-has-expired");
    let ran = Ran::of(command).await;
    assert_eq!(ran.code, 4, "{ran:?}");
}

/// A token that lasts less than a minute is not used for a second request.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_expires_soon_is_replaced_before_the_next_request() {
    let world = world().await;
    let endpoint = Endpoint::start(&world, |_| granted(TOKEN, 30)).await;
    world.file(
        "fleet.csv",
        "registrationId\n".to_owned() + &"t\n".repeat(25),
    );
    let import = [
        "enrollment",
        "import",
        "fleet.csv",
        "--concurrency",
        "1",
        "--mode",
        "delete",
    ];
    Ran::of(with_entra(&world, &import, endpoint.port)).await;
    // Ten enrollments are one request.
    assert_eq!(endpoint.requests().len(), 3);
}

/// The client secret must not leave the machine without TLS.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_not_sent_over_plain_http() {
    let world = world().await;
    let mut command = with_entra(&world, &["enrollment", "list"], 1);
    command.env("AZURE_AUTHORITY_HOST", "http://127.0.0.1:1");
    let ran = Ran::of(command).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.stderr.contains("AZURE_AUTHORITY_HOST") && ran.stderr.contains("https"),
        "{ran:?}"
    );

    let mut command = with_entra(&world, &["enrollment", "list"], 1);
    command.env_remove("AZURE_TENANT_ID");
    let ran = Ran::of(command).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("AZURE_TENANT_ID is not set"), "{ran:?}");
}

async fn world() -> World {
    World::start_with(|builder| builder.bearer_token(TOKEN, EntraRole::DataContributor)).await
}

/// The command with an application of Entra in its environment, and without a connection string.
fn with_entra(world: &World, arguments: &[&str], port: u16) -> Command {
    let roots = world.ca_file_with("own-root.pem");
    let mut command = dps(arguments);
    command
        .current_dir(&world.dir)
        .env("XDG_CONFIG_HOME", world.dir.path())
        .env("DPS_CA_FILE", roots)
        .env(
            "DPS_SERVICE_HOST",
            format!("localhost:{}", world.emulator.https_port()),
        )
        .env("AZURE_AUTHORITY_HOST", format!("https://localhost:{port}/"))
        .env("AZURE_TENANT_ID", "contoso-tenant")
        .env("AZURE_CLIENT_ID", "dps-operator")
        .env("AZURE_CLIENT_SECRET", SECRET);
    command
}

fn granted(token: &str, seconds: u64) -> (u16, String) {
    let body = format!(
        r#"{{"token_type":"Bearer","expires_in":{seconds},"ext_expires_in":{seconds},"access_token":"{token}"}}"#
    );
    (200, body)
}

/// A token endpoint: each request has its number, from 0.
struct Endpoint {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Endpoint {
    async fn start(
        world: &World,
        answer: impl Fn(usize) -> (u16, String) + Clone + Send + Sync + 'static,
    ) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let handle = move |mut stream| {
            let (seen, answer) = (Arc::clone(&seen), answer.clone());
            async move {
                let request = read(&mut stream).await;
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(request);
                    seen.len() - 1
                };
                let (status, body) = answer(number);
                let head = format!(
                    "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all((head + &body).as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        };
        let port = own_tls::serve(world, "localhost", own_tls::now(), handle).await;
        Self { port, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// The first line and the body of a request.
async fn read(stream: &mut TlsStream<TcpStream>) -> String {
    let mut request = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&request).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                line.to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse()
                    .ok()
            });
            if body.len() >= length.unwrap_or(0) {
                return format!("{}\n{body}", head.lines().next().unwrap());
            }
        }
        if stream.read_buf(&mut request).await.unwrap() == 0 {
            return text;
        }
    }
}
