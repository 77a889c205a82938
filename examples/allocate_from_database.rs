//! A policy of yours that asks PostgreSQL which hub a device belongs to. Every line of the input is a device that registers:
//! `echo toaster-1 | DATABASE_URL=postgres://me@localhost/dps cargo run --example allocate_from_database`
//!
//! Who is not in the table, and everyone while the database is away, stays where it is; new devices are spread evenly.
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dps_allocation::policies::{EvenlyWeighted, Fallback, Sticky};
use dps_allocation::{Allocation, AllocationPolicy, Rejection, Webhook};
use dps_device::{Http, ProvisioningClient, Roots, SymmetricKeyAttestation};
use dps_emulator::Emulator;
use dps_service::ServiceClient;
use dps_types::{AllocationRequest, SymmetricKey, enrollment::EnrollmentGroup};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};
use tokio::{net::TcpListener, sync::Mutex, task::JoinSet, time::timeout};
use tokio_postgres::{Client, Config, NoTls};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// DPS does not tell the case of a registration id, so all are lower case here.
const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS device_hub (
        registration_id text PRIMARY KEY CHECK (registration_id = lower(registration_id)),
        hub text NOT NULL
    );
    INSERT INTO device_hub VALUES ('toaster-1', 'contoso-east'), ('toaster-2', 'contoso-west') ON CONFLICT DO NOTHING";
const QUERY: &str = "SELECT hub FROM device_hub WHERE registration_id = $1";
/// How long the database may take, connecting included. DPS waits for 30 seconds.
const DEADLINE: Duration = Duration::from_secs(2);

/// The policy. All requests share one connection, which is made when there is none.
struct HubTable {
    database: Config,
    connection: Mutex<Option<Arc<Connection>>>,
}

/// It ends with its last user: the task is there to move the bytes.
struct Connection {
    client: Client,
    _task: JoinSet<Result<(), tokio_postgres::Error>>,
}

#[async_trait]
impl AllocationPolicy for HubTable {
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        let id = request.registration_id();
        let answer = timeout(DEADLINE, self.hub_of(&id.to_lowercase())).await.unwrap_or_else(|late| Err(late.into()));
        match answer {
            Ok(Some(hub)) => {
                let hub =
                    hub.parse().map_err(|error| Rejection::new("that is no hub in the table").with_source(error))?;
                Ok(Allocation::to(hub).payload("as the table says"))
            }
            Ok(None) => Err(Rejection::new(format!("{id} is not in the table"))),
            Err(error) => {
                println!("  webhook: no answer from the database for {id}: {error}");
                // Whoever holds the lock is busy with a new one.
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
        // On this machine. Over a network it must be TLS.
        let (client, task) = self.database.connect(NoTls).await?;
        let open = Arc::new(Connection { client, _task: JoinSet::from_iter([task]) });
        // The database gives up, too: a query that nobody waits for any more holds up nothing.
        open.client.batch_execute(&format!("SET statement_timeout = {}", DEADLINE.as_millis())).await?;
        Ok(kept.insert(open).clone())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let database = std::env::var("DATABASE_URL").map_err(|_| "set DATABASE_URL: postgres://me@localhost/dps, say")?;
    let table = HubTable { database: database.parse()?, connection: Mutex::default() };
    timeout(DEADLINE, table.create()).await??;

    let policy = Fallback::new(table).or(Sticky::or(EvenlyWeighted::new())).on_any_rejection();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let serving = tokio::spawn(Webhook::new(policy).serve(listener));

    let dps = Emulator::builder().link_hub("contoso-east").link_hub("contoso-west").retry_after(Duration::ZERO);
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
            .with_min_poll_interval(Duration::from_millis(10)); // there is no fleet here
        let assignment = device.with_host(dps_device::Host::LOCALHOST).with_roots(roots.clone()).register().await?;
        let why = assignment.payload::<String>()?.unwrap_or("without the table".to_owned());
        println!("{} is at home in {}, {why}", assignment.device_id(), assignment.hub());
    }
    serving.abort();
    dps.shutdown().await;
    Ok(())
}
