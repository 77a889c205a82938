//! A TPM in software in a thread of its own: the work of a chip is not counted as the device's.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use async_trait::async_trait;
use dps_device::attestation::{Proof, TpmKeys};
use dps_device::{Attestation, RegistrationId};
use dps_hardware::SoftwareTpm;
use dps_types::sas::{Sign, SignError, Signature};
use dps_types::tpm::{AuthenticationKey, TpmPublic};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce(&SoftwareTpm) + Send>;

/// The attestation of a device whose TPM is in another thread.
#[derive(Debug, Clone)]
pub(crate) struct RemoteTpm(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    jobs: Sender<Job>,
    registration_id: RegistrationId,
    endorsement_key: TpmPublic,
    storage_root_key: TpmPublic,
}

impl RemoteTpm {
    /// Starts the thread.
    pub(crate) fn start() -> Self {
        let tpm = SoftwareTpm::number(1);
        let (jobs, receiver) = channel::<Job>();
        let inner = Inner {
            jobs,
            registration_id: tpm.endorsement_key().default_registration_id(),
            endorsement_key: tpm.endorsement_key().clone(),
            storage_root_key: tpm.storage_root_key().clone(),
        };
        thread::spawn(move || receiver.into_iter().for_each(|job| job(&tpm)));
        Self(Arc::new(inner))
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl AsyncFnOnce(&SoftwareTpm) -> T + Send + 'static,
    ) -> T {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |tpm| {
            let done = futures_util::FutureExt::now_or_never(job(tpm));
            let _ = sender.send(done.expect("the TPM in software does not wait"));
        });
        self.0.jobs.send(job).expect("the thread runs");
        receiver.await.expect("the thread runs")
    }
}

#[async_trait]
impl Sign for RemoteTpm {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        let data = data.to_vec();
        self.run(async move |tpm| tpm.sign(&data).await).await
    }
}

#[async_trait]
impl TpmKeys for RemoteTpm {
    fn endorsement_key(&self) -> &TpmPublic {
        &self.0.endorsement_key
    }

    fn storage_root_key(&self) -> &TpmPublic {
        &self.0.storage_root_key
    }

    async fn activate(&self, challenge: &AuthenticationKey) -> Result<(), SignError> {
        let key = challenge.clone();
        self.run(async move |tpm| tpm.activate(&key).await).await
    }

    async fn keep_hub_key(&self, key: &AuthenticationKey) -> Result<(), SignError> {
        let key = key.clone();
        self.run(async move |tpm| tpm.keep_hub_key(&key).await)
            .await
    }
}

impl Attestation for RemoteTpm {
    fn registration_id(&self) -> &RegistrationId {
        &self.0.registration_id
    }

    fn proof(&self) -> Proof<'_> {
        Proof::Tpm(self)
    }
}
