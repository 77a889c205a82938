//! A custom policy that reads the hub of a device from PostgreSQL. Every line of the input is a device that registers:
//! `echo toaster-1 | DATABASE_URL=postgres://me@localhost/dps cargo run --example allocate_from_database`
//!
//! A device that is not in the table, and any device while the database is not reachable, stays at its hub; new devices are
//! distributed evenly.
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dps_allocation::policies::{EvenlyWeighted, Fallback, Sticky};
use dps_allocation::{Allocation, AllocationPolicy, Rejection, Webhook};
use dps_device::{Http, ProvisioningClient, Roots, SymmetricKeyAttestation};
use dps_emulator::{Emulator, LinkedHub};
use dps_service::ServiceClient;
use dps_types::{AllocationRequest, SymmetricKey, enrollment::EnrollmentGroup};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::{net::TcpListener, sync::Mutex, task::JoinSet, time::timeout};
use tokio_postgres::{Client, Config, NoTls};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// Registration ids are not case-sensitive, so the table contains them in lower case.
const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS device_hub (
        registration_id text PRIMARY KEY CHECK (registration_id = lower(registration_id)),
        hub text NOT NULL
    );
    INSERT INTO device_hub VALUES ('toaster-1', 'contoso-east'), ('toaster-2', 'contoso-west') ON CONFLICT DO NOTHING";
const QUERY: &str = "SELECT hub FROM device_hub WHERE registration_id = $1";
/// The timeout of the database, including the connection. DPS waits about 30 seconds.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The policy. All requests share one connection, which is opened when it is needed.
struct HubTable {
    database: Config,
    connection: Mutex<Option<Arc<Connection>>>,
}

/// A connection and the task that drives it. Both end when the last request drops them.
struct Connection {
    client: Client,
    _task: JoinSet<Result<(), tokio_postgres::Error>>,
}

#[async_trait]
impl AllocationPolicy for HubTable {
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        let id = request.registration_id();
        let answer = timeout(TIMEOUT, self.hub_of(&id.to_lowercase())).await.unwrap_or_else(|late| Err(late.into()));
        match answer {
            Ok(Some(hub)) => {
                let hub = hub.parse().map_err(|error| {
                    Rejection::new("the hub in the table is not a valid host name").with_source(error)
                })?;
                Ok(Allocation::to(hub).payload("from the table"))
            }
            Ok(None) => Err(Rejection::new(format!("{id} is not in the table"))),
            Err(error) => {
                println!("  webhook: no answer from the database for {id}: {error}");
                // If the lock is held, another request is opening a new connection.
                if let Ok(mut connection) = self.connection.try_lock() {
                    connection.take();
                }
                Err(Rejection::unavailable("no answer from the database").with_source(error))
            }
        }
    }
}

impl HubTable {
    async fn create(&self) -> Result<()> {
        Ok(self.connection().await?.client.batch_execute(TABLE).await?)
    }

    async fn hub_of(&self, registration_id: &str) -> Result<Option<String>> {
        let connection = self.connection().await?;
        let row = connection.client.query_opt(QUERY, &[&registration_id]).await?;
        Ok(row.map(|row| row.try_get("hub")).transpose()?)
    }

    async fn connection(&self) -> Result<Arc<Connection>> {
        let mut kept = self.connection.lock().await;
        if let Some(open) = kept.as_ref().filter(|open| !open.client.is_closed()) {
            return Ok(open.clone());
        }
        // The database is on this machine. Over a network, use TLS.
        let (client, task) = self.database.connect(NoTls).await?;
        let open = Arc::new(Connection { client, _task: JoinSet::from_iter([task]) });
        // The database cancels a query that times out, so that it does not block the next one.
        open.client.batch_execute(&format!("SET statement_timeout = {}", TIMEOUT.as_millis())).await?;
        Ok(kept.insert(open).clone())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let database =
        std::env::var("DATABASE_URL").map_err(|_| "set DATABASE_URL, for example to postgres://me@localhost/dps")?;
    let table = HubTable { database: database.parse()?, connection: Mutex::default() };
    timeout(TIMEOUT, table.create()).await??;

    let policy = Fallback::new(table).or(Sticky::or(EvenlyWeighted::new())).on_any_rejection();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let serving = tokio::spawn(Webhook::new(policy).serve(listener));

    let dps = Emulator::builder()
        .link_hub("contoso-east".parse::<LinkedHub>()?)
        .link_hub("contoso-west".parse::<LinkedHub>()?)
        .retry_after(Duration::ZERO);
    let dps = dps.start().await?;
    let roots = Roots::from_pem(dps.ca_pem())?;
    let service = ServiceClient::from_connection_string(&dps.service_connection_string())?.with_roots(roots.clone());
    let key = SymmetricKey::generate();
    let toasters = EnrollmentGroup::from_keys("toasters".parse()?, &key, &SymmetricKey::generate());
    service.enrollment_groups().create(&toasters.allocate_by_webhook(url)).await?;

    let mut lines = BufReader::new(stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let who = SymmetricKeyAttestation::from_group(line.trim().parse()?, &key);
        let transport = Http::default().with_port(dps.https_port());
        let device = ProvisioningClient::new(dps.id_scope().clone(), who, transport)
            .with_min_poll_interval(Duration::from_millis(10)); // the service is local
        let assignment = device.with_host(dps_device::Host::LOCALHOST).with_roots(roots.clone()).register().await?;
        let source = assignment.payload::<String>()?.unwrap_or("without the table".to_owned());
        println!("{} is assigned to {}, {source}", assignment.device_id(), assignment.hub());
    }
    serving.abort();
    dps.shutdown().await;
    Ok(())
}
