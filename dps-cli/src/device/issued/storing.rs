//! Stores a certificate that was issued: with several attempts, and without losing it if all of them fail.

use std::io;
use std::time::Duration;

use dps_device::certificate::{Credential, IssuedCertificate};
use tokio::time::{Instant, sleep};

use super::place::{Held, IssuedPlace};
use super::replaced::Replaced;
use super::store_error::{key_error, may_be_brief};
use crate::device::stop;
use crate::failure::{Exit, Failure, Result};
use crate::files::chain_pem;
use crate::input;

/// The seconds before another attempt, if the failure may be brief.
const WAITS: [u64; 4] = [1, 2, 4, 8];
/// The time after which no other attempt begins: each one may wait for hardware that does not answer.
const LIMIT: Duration = Duration::from_secs(15);

impl IssuedPlace {
    /// Stores a certificate that was issued. If it cannot be stored, or the program is stopped before, the failure contains it.
    pub(in crate::device) async fn store(&self, issued: &Held) -> Result {
        let stored = tokio::select! {
            stored = self.replace(issued) => stored,
            stopped = stop::requested() => Err(match stopped {
                Ok(()) => stopped_before_it_was_stored(),
                Err(error) => error.into(),
            }),
        };
        stored.map_err(|failure| self.with_certificate(failure, issued))
    }

    /// Puts a certificate into use.
    pub(super) async fn replace(&self, issued: &Held) -> Result {
        let credential = Credential::new(issued.name.clone(), &issued.certificate);
        let (started, mut waits) = (Instant::now(), WAITS.into_iter());
        loop {
            let error = match self.write(&credential).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            match waits.next() {
                Some(wait) if may_be_brief(&error) && started.elapsed() < LIMIT => {
                    sleep(Duration::from_secs(wait)).await;
                }
                _ => {
                    let what = "the certificate was issued, but cannot be stored";
                    return Err(match (key_error(&error), Replaced::of(&error)) {
                        (Some(error), _) => Failure::from(error.clone()).about(what),
                        (None, Some(replaced)) => self.replaced(replaced, what, issued),
                        (None, None) => Failure::from(error).about(what),
                    });
                }
            }
        }
    }

    async fn write(&self, credential: &Credential) -> io::Result<()> {
        self.store.save_next(credential).await?;
        self.store.confirm_next().await?;
        match self.is_in_files(credential)? {
            true => Ok(()),
            false => Err(Replaced::Files.into()),
        }
    }

    /// False if another program has removed or replaced the files. True without files.
    fn is_in_files(&self, credential: &Credential) -> io::Result<bool> {
        Ok(match (&self.files, &self.chain_file) {
            (Some(files), _) => files.read()?.as_ref() == Some(credential),
            (None, Some(file)) => {
                let chain = input::read_if_exists(file)?;
                let expected = chain_pem(credential.chain());
                chain.is_some_and(|chain| *chain == expected.as_bytes())
            }
            (None, None) => true,
        })
    }

    /// The failure of a certificate that another program has replaced, with the certificate if its key is still there. It does not ask the
    /// user to replace what the other program has stored.
    fn replaced(&self, replaced: Replaced, what: &str, issued: &Held) -> Failure {
        match (replaced, self.place_of_key(&issued.name)) {
            (Replaced::Files, Some(key)) => {
                let more = format!("; the private key of the certificates below is {key}");
                containing(replaced.failure(what, &more), &issued.certificate)
            }
            _ => replaced.failure(what, ""),
        }
    }

    /// Adds a certificate that is not stored to the failure, with the place of its private key and how to use both.
    pub(in crate::device) fn with_certificate(&self, failure: Failure, issued: &Held) -> Failure {
        if failure.exit() == Exit::Conflict {
            // It has the certificate already, unless the key was replaced.
            return failure;
        }
        let Some(key) = self.place_of_key(&issued.name) else {
            return failure.with_hint(
                "the private key is not stored either, so the certificate cannot be used: check the files and their directory, \
                 and run the command again, which requests another certificate",
            );
        };
        let what_to_do = match (&self.files, &self.chain_file) {
            (Some(files), _) => format!(
                "{}, and run `dps renew` with the same options, which puts them into use",
                files.how_to_add_the_chain()
            ),
            (None, Some(file)) => format!("write the certificates below to {}", file.display()),
            (None, None) => {
                "write the certificates below to a file, and use the file with --certificate-out"
                    .to_owned()
            }
        };
        let hint = format!("the private key is {key}: {what_to_do}");
        containing(failure.with_hint(hint), &issued.certificate)
    }

    /// The words for the place of a private key. `None` if the files do not contain it.
    fn place_of_key(&self, name: &str) -> Option<String> {
        match &self.files {
            Some(files) => {
                let file = files.key_file_of(name)?;
                Some(format!("in {}", file.display()))
            }
            None => Some(self.name(name)),
        }
    }
}

/// Adds the certificate to the failure.
pub(super) fn containing(failure: Failure, certificate: &IssuedCertificate) -> Failure {
    failure.with_certificates(chain_pem(certificate.chain()))
}

/// The failure of a program that is stopped while a certificate is not stored.
pub(in crate::device) fn stopped_before_it_was_stored() -> Failure {
    let what = "dps was stopped before the certificate that was issued was stored";
    Failure::new(Exit::Failure, what)
}
