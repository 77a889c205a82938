//! The webhook as the Azure Functions host starts it: in its own process, with the port in the environment.

use std::env;
use std::process::{Child, Command};

use dps_allocation::policies::EvenlyWeighted;
use dps_allocation::{ErrorKind, Webhook};
use tokio::net::{TcpListener, TcpStream};

use crate::common::DOCUMENTED_REQUEST;
use crate::http::{JSON, exchange, post};

const VARIABLE: &str = "FUNCTIONS_CUSTOMHANDLER_PORT";

#[tokio::test]
async fn it_serves_on_the_port_in_the_environment() {
    if env::var_os(VARIABLE).is_some() {
        // This is the second process.
        let served = Webhook::new(EvenlyWeighted::new())
            .serve_azure_functions()
            .await;
        panic!("the server ended: {served:?}");
    }
    let address = free_port().await;
    let mut handler = Handler::start(&address.port().to_string());
    while TcpStream::connect(address).await.is_err() {
        assert!(handler.0.try_wait().unwrap().is_none(), "the process ended");
        tokio::task::yield_now().await;
    }
    let reply = exchange(
        address,
        &post("/api/HttpTrigger1?code=k", JSON, DOCUMENTED_REQUEST),
    )
    .await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn without_the_host_it_returns_an_error() {
    let error = Webhook::new(EvenlyWeighted::new())
        .serve_azure_functions()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FunctionsPort);
    assert!(
        error
            .to_string()
            .contains("FUNCTIONS_CUSTOMHANDLER_PORT is not set")
    );
}

/// A port on which nothing listens any more.
async fn free_port() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap()
}

/// This program in a second process, with the variable set and only the first test.
struct Handler(Child);

impl Handler {
    fn start(port: &str) -> Self {
        let child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "azure_functions::it_serves_on_the_port_in_the_environment",
            ])
            .env(VARIABLE, port)
            .stdout(std::process::Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}
