//! HAProxy in front of the replicas: TCP, round robin, with a health check of each port.

use std::error::Error;
use std::fmt::Write;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::replica::Ports;

/// The longest time for the start of HAProxy.
const START: Duration = Duration::from_secs(30);

/// A running HAProxy. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Balancer {
    ports: Ports,
    _process: Child,
    _folder: TempDir,
}

impl Balancer {
    pub(super) async fn start(replicas: &[Ports]) -> Result<Self, Box<dyn Error>> {
        let ports = Ports::free()?;
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, configuration(ports, replicas)?)?;
        let process = Command::new("haproxy")
            .arg("-db")
            .arg("-f")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                format!("HAProxy does not start: {error}. Install it: apt-get install haproxy")
            })?;
        let listening = async {
            while TcpStream::connect(("127.0.0.1", ports.amqp)).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(START, listening)
            .await
            .map_err(|_| "HAProxy does not listen")?;
        Ok(Self {
            ports,
            _process: process,
            _folder: folder,
        })
    }

    pub(super) fn ports(&self) -> Ports {
        self.ports
    }
}

/// A connection to a replica that was killed is tried at another one.
fn configuration(own: Ports, replicas: &[Ports]) -> Result<String, std::fmt::Error> {
    let mut text = String::from(
        "global\n  maxconn 8000\n\
         defaults\n  mode tcp\n  timeout connect 2s\n  timeout client 2m\n  timeout server 2m\n  retries 5\n  \
         option redispatch\n  default-server check inter 200ms fall 2 rise 1 on-marked-down shutdown-sessions\n",
    );
    for (name, port) in own.by_name() {
        writeln!(text, "listen {name}\n  bind 127.0.0.1:{port}")?;
        for (number, replica) in replicas.iter().enumerate() {
            let port = replica
                .by_name()
                .into_iter()
                .find(|(other, _)| *other == name);
            if let Some((_, port)) = port {
                writeln!(text, "  server {name}-{number} 127.0.0.1:{port}")?;
            }
        }
    }
    Ok(text)
}
