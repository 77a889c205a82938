//! `dps key`: private keys in PKCS#11 tokens, TPMs and files, from their generation to their removal.

mod file;
mod place;
mod state;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use dps_device::certificate::{CertificateRequest, KeyKind, KeyPair};
use dps_types::RegistrationId;
use serde_json::{Value, json};

use crate::context::Context;
use crate::failure::Result;
use crate::files;
use crate::input::{self, InputFile};
use crate::output::Column;
use place::PlaceOptions;
use state::{Approve, Measure};

#[derive(Args)]
pub(crate) struct KeyCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// List the private keys of a token, a TPM or a file
    List(List),
    /// Generate a key pair. The private key of a token or a TPM never leaves it
    Generate(Generate),
    /// Create a certificate signing request, signed with the key
    Request(Request),
    /// Check the certificate chain that an authority has issued for the key, and store it: in the token, or in a file
    ImportChain(ImportChain),
    /// Read PCRs of the TPM: the measured state of the device, to which `dps register --new-key-state` binds new keys
    Measure(Measure),
    /// Make an approval of a measured state from the signature of an authority, for `dps register --new-key-approval`
    Approve(Approve),
    /// Delete a key pair permanently, with the certificate that a token has for it
    Delete(Delete),
}

#[derive(Args)]
struct List {
    #[command(flatten)]
    place: PlaceOptions,
}

#[derive(Args)]
struct Generate {
    #[command(flatten)]
    place: PlaceOptions,
    /// Kind of the key. In a file: p256 or p384
    #[arg(long, value_enum, default_value = "p256", value_name = "KIND")]
    key_type: Kind,
    /// Replace an existing key permanently
    #[arg(long)]
    overwrite: bool,
}

#[derive(Args)]
struct Request {
    /// Registration id of the device
    registration_id: RegistrationId,
    #[command(flatten)]
    place: PlaceOptions,
    /// File for the request; ID.csr by default
    #[arg(long, value_name = "FILE")]
    request: Option<PathBuf>,
    /// Replace an existing request
    #[arg(long)]
    overwrite: bool,
}

#[derive(Args)]
struct ImportChain {
    /// File with the certificate of the device and its intermediate certificates, in PEM; - for stdin
    chain: InputFile,
    #[command(flatten)]
    place: PlaceOptions,
    /// File for the chain. Required for a key in a TPM or a file, which hold no certificates
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long)]
    overwrite: bool,
}

#[derive(Args)]
struct Delete {
    #[command(flatten)]
    place: PlaceOptions,
}

/// The kind of a key.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    P256,
    P384,
    Rsa2048,
    Rsa3072,
    Rsa4096,
}

const COLUMNS: &[Column] = &[("KEY", "/key"), ("KIND", "/kind"), ("PROBLEM", "/problem")];

pub(crate) async fn run(command: KeyCommand, context: &Context) -> Result {
    match command.action {
        Action::List(list) => list.run(context).await,
        Action::Generate(generate) => generate.run(context).await,
        Action::Request(request) => request.run(context).await,
        Action::ImportChain(import) => import.run(context).await,
        Action::Measure(measure) => measure.run(context).await,
        Action::Approve(approve) => approve.run(context),
        Action::Delete(delete) => delete.run(context).await,
    }
}

impl List {
    async fn run(&self, context: &Context) -> Result {
        let place = self.place.every().await?;
        let mut list = context.output.list(COLUMNS);
        for name in place.keys.list().await? {
            list.push(match place.keys.open(&name).await {
                Ok(key) => describe(&name, &key),
                Err(error) => json!({"key": *name, "kind": null, "problem": format!("{error:#}")}),
            })?;
        }
        list.finish()
    }
}

impl Generate {
    async fn run(&self, context: &Context) -> Result {
        let place = self.place.new_key(self.key_type.into()).await?;
        let held = match self.overwrite {
            true => Vec::new(),
            false => place.keys.list().await?,
        };
        let in_use: Vec<_> = held.iter().map(|name| name.as_str()).collect();
        if !in_use.is_empty() {
            return Err(place.is_in_use(&in_use));
        }
        let (name, key) = place.keys.generate(&[]).await?;
        context.output.item(describe(&name, &key))
    }
}

impl Request {
    async fn run(&self, context: &Context) -> Result {
        let id = &self.registration_id;
        let (name, key) = self.place.one().await?.open().await?;
        let request = CertificateRequest::new(id.clone(), key).await?;
        let file = match &self.request {
            Some(file) => file.clone(),
            None => PathBuf::from(format!("{id}.csr")),
        };
        let pem = files::pem("CERTIFICATE REQUEST", request.der());
        files::write_public(&file, &pem, self.overwrite)?;
        context.output.item(json!({"key": *name, "request": file}))
    }
}

impl ImportChain {
    async fn run(&self, context: &Context) -> Result {
        let place = self.place.one().await?;
        let (name, key) = place.open().await?;
        let identity = key.identity(&*input::read(&self.chain)?)?;
        let chain = files::chain_pem(identity.chain());
        let in_token = place
            .store_chain(&chain, self.certificate.is_some())
            .await?;
        if let Some(file) = &self.certificate {
            files::write_public(file, &chain, self.overwrite)?;
        }
        context.output.item(json!({
            "key": *name,
            "certificates": identity.chain().count(),
            "inToken": in_token,
            "certificate": self.certificate,
        }))
    }
}

impl Delete {
    async fn run(&self, context: &Context) -> Result {
        let place = self.place.one().await?;
        let name = place.name().await?;
        place.keys.remove(&name).await?;
        context.output.item(json!({"key": *name, "deleted": true}))
    }
}

fn describe(name: &str, key: &KeyPair) -> Value {
    let kind = key.kind().map_or("other", |kind| match kind {
        KeyKind::P256 => "p256",
        KeyKind::P384 => "p384",
        KeyKind::Rsa2048 => "rsa2048",
        KeyKind::Rsa3072 => "rsa3072",
        KeyKind::Rsa4096 => "rsa4096",
        _ => "other",
    });
    json!({"key": name, "kind": kind})
}

impl From<Kind> for KeyKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::P256 => Self::P256,
            Kind::P384 => Self::P384,
            Kind::Rsa2048 => Self::Rsa2048,
            Kind::Rsa3072 => Self::Rsa3072,
            Kind::Rsa4096 => Self::Rsa4096,
        }
    }
}
