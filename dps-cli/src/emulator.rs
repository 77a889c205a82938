//! `dps emulator`: the emulator with its own options, and `exec`, which runs a command with it.

use std::ffi::OsString;
use std::process::{ExitCode, ExitStatus};

use clap::{Args, Subcommand};
use dps_emulator::{Emulator, IssuingAuthority, LinkedHub};
use dps_types::IdScope;
use tempfile::TempDir;
use tokio::process::Command;

use crate::failure::{Exit, Failure, Result};
use crate::log;

/// Without a subcommand it runs the emulator until it is interrupted: dps emulator --help shows its options.
#[derive(Args)]
pub(crate) struct EmulatorCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Start an emulator on free ports, run a command with it, and exit with the status of the command
    Exec(Exec),
}

/// The command finds these variables: DPS_HOST, DPS_HTTPS_PORT, DPS_MQTT_PORT, DPS_AMQP_PORT, DPS_HUB_HOST, DPS_ID_SCOPE,
/// DPS_CONNECTION_STRING, and DPS_CA_FILE. REQUESTS_CA_BUNDLE, NODE_EXTRA_CA_CERTS and SSL_CERT_FILE are the same file, for
/// programs in Python, Node and with OpenSSL.
#[derive(Args)]
struct Exec {
    /// Linked IoT hub; 127.0.0.1 by default
    #[arg(long = "hub", value_name = "HOSTNAME[=WEIGHT]")]
    hubs: Vec<LinkedHub>,
    /// Id scope of the instance
    #[arg(long, value_name = "SCOPE", default_value = "0ne00000001")]
    id_scope: IdScope,
    /// Certificate authority that issues certificates to devices; the certificates are valid for 30 days by default
    #[arg(
        long = "certificate-authority",
        value_name = "NAMESPACE/CA/POLICY[=DAYS][,rsa]"
    )]
    certificate_authorities: Vec<IssuingAuthority>,
    /// The command and its arguments
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "COMMAND"
    )]
    command: Vec<OsString>,
}

/// The arguments of the emulator's own program, if this is its command line: `dps emulator`, but not `dps emulator exec`.
pub(crate) fn own_arguments(arguments: Vec<OsString>) -> Option<Vec<OsString>> {
    let is = |index: usize, name: &str| {
        arguments
            .get(index)
            .is_some_and(|argument| argument == name)
    };
    if !is(1, "emulator") || is(2, "exec") || is(2, "help") {
        return None;
    }
    let rest = arguments.into_iter().skip(2);
    Some(
        std::iter::once(OsString::from("dps emulator"))
            .chain(rest)
            .collect(),
    )
}

/// Runs the emulator until it is interrupted.
pub(crate) fn run_program(arguments: Vec<OsString>) -> ExitCode {
    log::start_emulator();
    match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime.block_on(dps_emulator::program::run(arguments)),
        Err(error) => {
            eprintln!("the runtime cannot be started: {error}");
            ExitCode::FAILURE
        }
    }
}

pub(crate) async fn run(command: EmulatorCommand) -> Result<ExitCode> {
    let Action::Exec(exec) = command.action;
    // An interrupt goes to the command as well: the emulator waits for its end.
    let interrupted = tokio::spawn(async { while tokio::signal::ctrl_c().await.is_ok() {} });
    let mut builder = Emulator::builder().id_scope(exec.id_scope);
    for hub in exec.hubs {
        builder = builder.link_hub(hub);
    }
    for authority in exec.certificate_authorities {
        builder = builder.certificate_authority(authority);
    }
    let about = |error: dps_emulator::Error| {
        Failure::new(Exit::Failure, "the emulator cannot be started").because(&error)
    };
    let emulator = builder.start().await.map_err(about)?;
    let dir = TempDir::new()?;
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, emulator.ca_pem())?;

    let Some((program, arguments)) = exec.command.split_first() else {
        return Err(Failure::usage("a command is required"));
    };
    let mut child = Command::new(program);
    child
        .args(arguments)
        .env("DPS_HOST", "localhost")
        .env("DPS_HUB_HOST", "localhost")
        .env("DPS_HTTPS_PORT", emulator.https_port().to_string())
        .env("DPS_MQTT_PORT", emulator.mqtt_port().to_string())
        .env("DPS_AMQP_PORT", emulator.amqp_port().to_string())
        .env("DPS_ID_SCOPE", emulator.id_scope().as_str())
        .env(
            "DPS_CONNECTION_STRING",
            emulator.service_connection_string().as_str(),
        )
        .kill_on_drop(true);
    for name in [
        "DPS_CA_FILE",
        "REQUESTS_CA_BUNDLE",
        "NODE_EXTRA_CA_CERTS",
        "SSL_CERT_FILE",
    ] {
        child.env(name, &ca);
    }
    let status = child.status().await;
    emulator.shutdown().await;
    interrupted.abort();
    match status {
        Ok(status) => Ok(exit_code(status)),
        Err(error) => Err(Failure::new(
            Exit::Usage,
            format!("{} cannot be run", program.display()),
        )
        .because(&error)),
    }
}

/// The status of the command; 128 and the number of the signal that ended it, as a shell reports it.
fn exit_code(status: ExitStatus) -> ExitCode {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        if let Some(signal) = status.signal() {
            return ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX));
        }
    }
    let code = status.code().unwrap_or(1);
    // Windows has longer codes.
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
