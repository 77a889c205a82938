//! A registration with a certificate request.

use std::fmt;
use std::future::IntoFuture;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use dps_types::protocol::ApiVersion;

use super::issued::IssuedCertificate;
use super::request::CertificateRequest;
use crate::assignment::Assignment;
use crate::error::Error;
use crate::event::{Event, Events, RegistrationEvents};
use crate::register::Register;

impl Register {
    /// Requests a certificate with the registration. The enrollment must name a certificate authority and a policy.
    ///
    /// Every transport and every attestation carries the request. If the client's api-version has no certificate requests, this
    /// registration uses [`ApiVersion::V2026_11_01`]; lookups and other registrations keep the client's api-version.
    ///
    /// The service issues a new certificate for each such registration, at most 20 for a device in 24 hours.
    pub fn certificate(self, request: CertificateRequest) -> RegisterCertificate {
        RegisterCertificate {
            register: self,
            request,
        }
    }
}

/// A registration with a certificate request that has not started: set it up, then await it, or watch its
/// [`events`](Self::events).
///
/// # Errors
/// Awaiting returns the errors of a registration. [`ErrorKind::Certificate`](crate::ErrorKind::Certificate) if the device was
/// assigned and the service issued no certificate or one that does not fit the request: the source is a
/// [`CertificateFault`](super::CertificateFault). [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration),
/// before anything is sent, if the request is for another registration id than the client's.
#[must_use = "a registration does nothing unless it is awaited"]
#[derive(Clone)]
pub struct RegisterCertificate {
    register: Register,
    request: CertificateRequest,
}

impl RegisterCertificate {
    /// Sends this JSON value to the custom allocation webhook: see [`Register::payload`].
    pub fn payload(mut self, payload: impl Into<serde_json::Value>) -> Self {
        self.register = self.register.payload(payload);
        self
    }

    /// Sets the limit for the whole registration: see [`Register::timeout`].
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.register = self.register.timeout(limit);
        self
    }

    /// Registers, and returns the events as a stream. [`Event::CertificateIssued`] comes before [`Event::Assigned`].
    pub fn events(self) -> RegistrationEvents {
        RegistrationEvents::new(|events| self.run(events))
    }

    async fn run(self, events: Events) -> Result<(Assignment, IssuedCertificate), Error> {
        let Self {
            mut register,
            request,
        } = self;
        let client = &mut register.client;
        let target = client.target.clone();
        if target.api_version() < ApiVersion::V2025_07_01_PREVIEW {
            *client = client.clone().with_api_version(ApiVersion::V2026_11_01);
        }
        let expected = target.registration_id();
        let check = match request.registration_id() == expected {
            true => Ok(Some(request.to_base64())),
            false => Err(Error::configuration(format!(
                "the certificate request is for the registration id {}, the client has {expected}",
                request.registration_id()
            ))),
        };
        register
            .run_with(check, events, |assignment, events| {
                let now = target.clock().now();
                let certificate = accept(&request, assignment, now)?;
                events.emit(Event::CertificateIssued(Box::new(certificate.clone())));
                Ok(certificate)
            })
            .await
    }
}

fn accept(
    request: &CertificateRequest,
    assignment: &Assignment,
    now: SystemTime,
) -> Result<IssuedCertificate, Error> {
    let chain = assignment.registration().issued_certificate_chain.as_ref();
    IssuedCertificate::from_answer(request, chain.map_or(&[], Vec::as_slice), now)
}

impl IntoFuture for RegisterCertificate {
    type Output = Result<(Assignment, IssuedCertificate), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run(Events::disabled()))
    }
}

impl fmt::Debug for RegisterCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisterCertificate")
            .field("register", &self.register)
            .field("request", &self.request)
            .finish()
    }
}
