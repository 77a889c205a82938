//! Creates individual enrollments from a CSV file, ten per request, with an outcome for each line. Offline, with an emulator
//! in this process: `cargo run --example enroll_fleet [fleet.csv]`
use dps_device::Roots;
use dps_emulator::{Emulator, LinkedHub};
use dps_service::ServiceClient;
use dps_types::BulkOperationMode;
use dps_types::enrollment::{IndividualEnrollment, InitialTwin};
use serde::Deserialize;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// One line of the file.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Device {
    registration_id: String,
    device_id: Option<String>,
    model: String,
    darkness: u32,
}

impl Device {
    /// An enrollment whose keys the service generates, and whose initial twin contains the model and the setting.
    fn enrollment(self) -> Result<IndividualEnrollment> {
        let twin = InitialTwin::builder().tag("model", self.model).desired("darkness", self.darkness).build()?;
        let enrollment = IndividualEnrollment::symmetric_key(self.registration_id.parse()?)
            .with_initial_twin(twin)
            .allocate_evenly();
        Ok(match self.device_id {
            Some(id) => enrollment.with_device_id(id.parse()?),
            None => enrollment,
        })
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let dps = Emulator::builder().link_hub("contoso-home".parse::<LinkedHub>()?).start().await?;
    let service = ServiceClient::from_connection_string(&dps.service_connection_string())?
        .with_roots(Roots::from_pem(dps.ca_pem())?);

    // An invalid line ends the program before anything is sent.
    let file = std::env::args().nth(1).unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/fleet.csv").to_owned());
    let devices = csv::Reader::from_path(file)?.into_deserialize().map(|line| Device::enrollment(line?));
    let devices: Vec<IndividualEnrollment> = devices.collect::<Result<_>>()?;
    let total = devices.len();

    let enrollments = service.individual_enrollments();
    let mut run = enrollments.bulk(BulkOperationMode::Create).with_concurrency(2).run(devices);
    let mut unfinished = Vec::new();
    while let Some(outcome) = run.next().await {
        let id = &outcome.item.registration_id;
        match &outcome.result {
            Ok(()) => println!("{}/{total} enrolled {id}", run.progress().succeeded),
            Err(error) => println!("line {}: {id}: {error}", outcome.index + 2),
        }
        if outcome.result.is_err() && !outcome.is_refused() {
            unfinished.push(outcome.item); // the item is valid: another run may succeed
        }
    }
    println!(
        "done: {} enrolled, {} failed, {} to run again",
        run.progress().succeeded,
        run.progress().failed,
        unfinished.len()
    );

    dps.shutdown().await;
    Ok(())
}
