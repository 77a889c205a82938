//! The cost of one signature and of one registration for each kind of key and each place: memory, SoftHSM, swtpm. It prints a table.
//!
//! A signature is one call of the signer that TLS or a SAS token uses. A registration uses HTTPS with a new connection, against an
//! emulator in this process; its waits for the result are included. Each value is the median of [`SAMPLES`] calls.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "keys/authority.rs"]
mod authority;

use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dps_benches::{Service, TransportKind};
use dps_device::certificate::KeyKind;
use dps_device::pkcs11::{Pin, Token, Uri};
use dps_device::tpm::{PersistentHandle, Tpm, TpmAttestation, TpmOptions};
use dps_device::{Attestation, ClientIdentity, SymmetricKeyAttestation, X509Attestation};
use dps_hardware::{SoftHsm, Swtpm};
use dps_service::ServiceClient;
use dps_types::SymmetricKey;
use dps_types::enrollment::{AttestationMechanism, IndividualEnrollment};
use dps_types::sas::Sign;
use rustls::SignatureScheme;

use authority::Authority;

const SAMPLES: usize = 21;
/// Marks the process that does the work: SoftHSM reads its configuration from the environment.
const CHILD: &str = "DPS_BENCH_KEYS";
const TOKEN: &str = "bench";
const KINDS: [(KeyKind, &str); 5] = [
    (KeyKind::P256, "ECDSA P-256"),
    (KeyKind::P384, "ECDSA P-384"),
    (KeyKind::Rsa2048, "RSA 2048"),
    (KeyKind::Rsa3072, "RSA 3072"),
    (KeyKind::Rsa4096, "RSA 4096"),
];

fn main() {
    if env::var_os(CHILD).is_none() {
        let hsm = SoftHsm::new().with_token(TOKEN);
        let mut command = hsm.command(env::current_exe().unwrap());
        // libtss2 logs each kind of key that swtpm does not have.
        let command = command.env(CHILD, "1").env("TSS2_LOG", "all+NONE");
        assert!(command.status().unwrap().success());
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let bench = Bench::start().await;
        println!("| place | key | one signature | one registration |");
        println!("|---|---|---|---|");
        bench.memory().await;
        bench.token().await;
        bench.tpm().await;
    });
}

struct Bench {
    service: Service,
    operator: ServiceClient,
    authority: Authority,
}

impl Bench {
    async fn start() -> Self {
        let service = Service::start().await.unwrap();
        let emulator = service.emulator();
        let roots = dps_device::Roots::from_pem(emulator.ca_pem()).unwrap();
        let operator = ServiceClient::from_connection_string(&emulator.service_connection_string());
        let operator = operator.unwrap().with_roots(roots);
        let authority = Authority::new();
        let group = authority.group();
        operator.enrollment_groups().create(&group).await.unwrap();
        Self {
            service,
            operator,
            authority,
        }
    }

    async fn memory(&self) {
        let key = SymmetricKey::generate();
        let device = self.symmetric("memory-hmac", &key).await;
        self.row("memory", "HMAC-SHA256", self.hmac(&key).await, device)
            .await;
        for (name, pair) in authority::pairs_in_memory() {
            let chain = self.authority.sign("memory", &pair);
            let identity = ClientIdentity::from_der([chain], pair.serialize_der()).unwrap();
            self.certificate("memory", name, identity).await;
        }
    }

    async fn token(&self) {
        let uri: Uri = format!("pkcs11:token={TOKEN}").parse().unwrap();
        let uri = uri.with_module_path(SoftHsm::module());
        let token = Token::open_with_pin(&uri, Pin::new(SoftHsm::PIN))
            .await
            .unwrap();
        let object = uri.clone().with_object("hmac");
        let (secret, key) = token.generate_secret_key(&object).await.unwrap();
        self.symmetric("token-hmac", &key).await;
        let device =
            SymmetricKeyAttestation::from_signer("token-hmac".parse().unwrap(), secret.clone());
        self.row("SoftHSM", "HMAC-SHA256", self.hmac(&secret).await, device)
            .await;
        for (kind, name) in KINDS {
            let object = uri.clone().with_object(name);
            let key = token.generate_private_key(&object, kind).await.unwrap();
            let request = key.certificate_request(&"token".parse().unwrap()).await;
            let chain = self.authority.sign_request(&request.unwrap());
            self.certificate("SoftHSM", name, key.identity(chain).unwrap())
                .await;
        }
    }

    async fn tpm(&self) {
        let swtpm = Swtpm::start();
        let options = TpmOptions::default().with_tcti(swtpm.tcti().parse().unwrap());
        let tpm = Tpm::open(options).await.unwrap();
        for (number, (kind, name)) in (0x8100_0200..).zip(KINDS) {
            let handle = PersistentHandle::new(number).unwrap();
            let Ok(key) = tpm.key_pair().with_handle(handle).create(kind).await else {
                println!("| swtpm | {name} | not supported by this TPM | |");
                continue;
            };
            let request = key.certificate_request(&"tpm".parse().unwrap()).await;
            let chain = self.authority.sign_request(&request.unwrap());
            self.certificate("swtpm", name, key.identity(chain).unwrap())
                .await;
            // A TPM has space for a few keys only.
            tpm.key_pair().with_handle(handle).remove().await.unwrap();
        }
        let device = TpmAttestation::new(&tpm).await.unwrap();
        let enrollment = IndividualEnrollment::new(
            device.registration_id().clone(),
            AttestationMechanism::tpm(device.endorsement_key().to_base64()),
        );
        self.operator
            .individual_enrollments()
            .create(&enrollment)
            .await
            .unwrap();
        let registration = self.registration(device).await;
        let signature = self.hmac(&tpm.hub_signer()).await;
        print_row(
            "swtpm",
            "TPM attestation (HMAC-SHA256)",
            signature,
            registration,
        );
    }

    /// An individual enrollment with this key, and its device.
    async fn symmetric(&self, name: &str, key: &SymmetricKey) -> SymmetricKeyAttestation {
        let id: dps_types::RegistrationId = name.parse().unwrap();
        let enrollment =
            IndividualEnrollment::from_keys(id.clone(), key, &SymmetricKey::generate());
        self.operator
            .individual_enrollments()
            .create(&enrollment)
            .await
            .unwrap();
        SymmetricKeyAttestation::new(id, key.clone())
    }

    async fn certificate(&self, place: &str, name: &str, identity: ClientIdentity) {
        let signature = signature(&identity);
        let device = X509Attestation::new(identity).unwrap();
        self.row(place, name, signature, device).await;
    }

    async fn row(
        &self,
        place: &str,
        name: &str,
        signature: Duration,
        device: impl Attestation + 'static,
    ) {
        print_row(place, name, signature, self.registration(device).await);
    }

    async fn registration(&self, device: impl Attestation + 'static) -> Duration {
        let device: Arc<dyn Attestation> = Arc::new(device);
        let mut times = Vec::new();
        // The first one is not counted: it creates the record of the device.
        for _ in 0..=SAMPLES {
            let client = self
                .service
                .client(TransportKind::Http, Arc::clone(&device));
            let start = Instant::now();
            client.register().await.unwrap();
            times.push(start.elapsed());
        }
        median(times.split_off(1))
    }

    async fn hmac(&self, signer: &dyn Sign) -> Duration {
        let mut times = Vec::new();
        for _ in 0..SAMPLES {
            let start = Instant::now();
            signer
                .sign(b"0ne00000A0A%2Fregistrations%2Ftoaster-1\n1700000000")
                .await
                .unwrap();
            times.push(start.elapsed());
        }
        median(times)
    }
}

/// One signature of a TLS 1.3 handshake.
fn signature(identity: &ClientIdentity) -> Duration {
    let schemes = [
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::ECDSA_NISTP384_SHA384,
        SignatureScheme::ED25519,
        SignatureScheme::RSA_PSS_SHA256,
    ];
    let key = &identity.certified_key().key;
    let signer = key.choose_scheme(&schemes).unwrap();
    let mut times = Vec::new();
    for _ in 0..SAMPLES {
        let start = Instant::now();
        // As long as the content that TLS 1.3 signs with SHA-256.
        signer.sign(&[7; 130]).unwrap();
        times.push(start.elapsed());
    }
    median(times)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn print_row(place: &str, name: &str, signature: Duration, registration: Duration) {
    let [signature, registration] =
        [signature, registration].map(|time| format!("{:.2} ms", 1000.0 * time.as_secs_f64()));
    println!("| {place} | {name} | {signature} | {registration} |");
}
