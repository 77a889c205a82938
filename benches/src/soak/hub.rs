//! The hub as a separate process, which can be restarted.

use std::error::Error;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use dps_device::Roots;
use dps_emulator::{Emulator, LinkedHub, Telemetry};
use dps_service::ServiceClient;
use dps_types::IdScope;
use tokio::io::{AsyncBufReadExt, BufReader};

use super::HUB;

/// The first argument of the process.
pub(super) const HOST: &str = "host";
/// The file with a line for each received message: the device and the number of the message.
pub(super) const LOG: &str = "received.log";
/// The word in the place of a device on a line about missed messages.
pub(super) const MISSED: &str = "missed";

/// A running hub. Dropping it kills the process.
#[derive(Debug)]
pub(super) struct Hub {
    dir: PathBuf,
    process: Process,
    ready: Ready,
    restarts: u32,
}

#[derive(Debug)]
struct Process {
    child: Child,
    /// Closing it stops the hub.
    stdin: Option<ChildStdin>,
}

/// The line that the process prints when it serves requests. `Debug` leaves out the key.
#[derive(Clone)]
struct Ready {
    https: u16,
    mqtt: u16,
    id_scope: IdScope,
    service: String,
}

impl Hub {
    pub(super) async fn start(dir: &Path) -> Result<Self, Box<dyn Error>> {
        let (process, ready) = Process::start(dir, 0, 0).await?;
        Ok(Self {
            dir: dir.to_owned(),
            process,
            ready,
            restarts: 0,
        })
    }

    /// Stops the hub in order, and starts it again on the same ports with the same data.
    pub(super) async fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        self.stop().await?;
        let Ready { https, mqtt, .. } = self.ready;
        (self.process, self.ready) = Process::start(&self.dir, https, mqtt).await?;
        self.restarts += 1;
        Ok(())
    }

    /// Stops the hub in order, and waits until the process has ended.
    pub(super) async fn stop(&mut self) -> Result<(), Box<dyn Error>> {
        drop(self.process.stdin.take());
        loop {
            if let Some(status) = self.process.child.try_wait()? {
                return match status.success() {
                    true => Ok(()),
                    false => Err(format!("the hub ended with {status}").into()),
                };
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    pub(super) fn restarts(&self) -> u32 {
        self.restarts
    }

    pub(super) fn process_id(&self) -> u32 {
        self.process.child.id()
    }

    pub(super) fn mqtt_port(&self) -> u16 {
        self.ready.mqtt
    }

    pub(super) fn https_port(&self) -> u16 {
        self.ready.https
    }

    pub(super) fn id_scope(&self) -> &IdScope {
        &self.ready.id_scope
    }

    pub(super) fn roots(&self) -> Result<Roots, Box<dyn Error>> {
        Ok(Roots::from_pem_file(self.dir.join("data/ca.pem"))?)
    }

    pub(super) fn service(&self) -> Result<ServiceClient, Box<dyn Error>> {
        let client = ServiceClient::from_connection_string(&self.ready.service)?;
        Ok(client.with_roots(self.roots()?))
    }
}

impl Process {
    async fn start(dir: &Path, https: u16, mqtt: u16) -> Result<(Self, Ready), Box<dyn Error>> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(HOST)
            .arg(dir)
            .args([https.to_string(), mqtt.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("its output is piped")?;
        let process = Self { child, stdin };
        let mut line = String::new();
        let stdout = tokio::process::ChildStdout::from_std(stdout)?;
        BufReader::new(stdout).read_line(&mut line).await?;
        Ok((process, Ready::parse(line.trim())?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ready {
    fn parse(line: &str) -> Result<Self, Box<dyn Error>> {
        let parts: Vec<&str> = line.split(' ').collect();
        let [https, mqtt, id_scope, service] = parts[..] else {
            return Err(format!("the hub did not start: {} words", parts.len()).into());
        };
        Ok(Self {
            https: https.parse()?,
            mqtt: mqtt.parse()?,
            id_scope: id_scope.parse()?,
            service: service.to_owned(),
        })
    }
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready")
            .field("https", &self.https)
            .field("mqtt", &self.mqtt)
            .finish_non_exhaustive()
    }
}

/// The process of the hub, if the program was started as one; otherwise `None`. It ends when its standard input is closed.
///
/// # Errors
/// If the emulator does not start, or the log cannot be written.
pub async fn host(arguments: &[String]) -> Option<Result<(), Box<dyn Error>>> {
    match arguments {
        [word, dir, https, mqtt] if word == HOST => Some(serve(Path::new(dir), https, mqtt).await),
        _ => None,
    }
}

async fn serve(dir: &Path, https: &str, mqtt: &str) -> Result<(), Box<dyn Error>> {
    let emulator = Emulator::builder()
        .link_hub(HUB.parse::<LinkedHub>()?)
        .https_port(https.parse()?)
        .mqtt_port(mqtt.parse()?)
        .data_dir(dir.join("data"))
        .retry_after(std::time::Duration::ZERO)
        .kept_telemetry(200)
        .start()
        .await?;
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join(LOG))?;
    let mut stream = emulator.telemetry_stream();
    let reading = tokio::spawn(async move {
        let mut log = std::io::BufWriter::new(log);
        while let Some(item) = stream.next().await {
            match item {
                Telemetry::Message(message) => {
                    let number = message.system_property("message-id").unwrap_or("0");
                    writeln!(log, "{} {number}", message.device_id())?;
                }
                Telemetry::Missed(count) => writeln!(log, "{MISSED} {count}")?,
                _ => {}
            }
        }
        log.flush()
    });
    println!(
        "{} {} {} {}",
        emulator.https_port(),
        emulator.mqtt_port(),
        emulator.id_scope(),
        emulator.service_connection_string().as_str()
    );
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    emulator.shutdown().await;
    reading.await??;
    Ok(())
}
