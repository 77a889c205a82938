//! The command line: parses it, runs the command, and reports a failure.

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::context::{Common, Context};
use crate::device::{connect, lookup, register, renew};
use crate::enrollment::kind::{Group, Individual};
use crate::enrollment::{self, EnrollmentCommand};
use crate::failure::{Exit, Failure, Result};
use crate::tools::{completions, compute_device_key, man};
use crate::{
    certificate, doctor, emulator, input, key, log, policy, registration, simulate, webhook,
};

/// The time in which hardware finishes a command that it has begun, after the result of the program was printed. A command of a TPM
/// or a token cannot be interrupted, and one that never answers must not keep the program.
const END_OF_HARDWARE: Duration = Duration::from_secs(10);

/// Operates the Azure IoT Hub Device Provisioning Service (DPS), registers devices with it, and finds out why it does not work.
///
/// Every command prints a table, or JSON with `-o json` and `-o ndjson`. Messages and errors are on stderr.
///
/// Exit codes: 0 success; 1 failure; 2 the command line, a file or a value is not valid; 3 not found; 4 the credentials were
/// refused; 5 it exists already or has changed, or another program has replaced the key or the files; 6 the network or the service is
/// not available, try again; 7 some items failed, a check found a problem, or the earlier key was not removed; 8 a certificate does
/// not need to be renewed.
#[derive(Parser)]
#[command(name = "dps", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

// The order is that of `dps --help`: operators, devices, tools.
#[derive(Subcommand)]
enum Command {
    /// Individual enrollments: one device each
    Enrollment(EnrollmentCommand<Individual>),
    /// Enrollment groups: all devices with a key or a certificate of the group
    EnrollmentGroup(EnrollmentCommand<Group>),
    /// Registration records: which device was assigned to which hub
    Registration(registration::RegistrationCommand),
    /// Derive the key of a device from the key of its enrollment group
    ComputeDeviceKey(compute_device_key::ComputeDeviceKey),
    /// Register a device, and print its assignment
    ///
    /// With --csr, --new-key, --new-key-pkcs11 or --new-key-tpm, the service issues a certificate for the connection to the hub. The
    /// enrollment must name a certificate authority and a policy.
    Register(Box<register::Register>),
    /// Renew the certificate that the service has issued to a device, when it is due
    ///
    /// The device registers again with a new key. The certificate is due at about 80 % of its lifetime, at a random time within a
    /// tenth of it; without a certificate it is due at once. The new files replace the old ones when both are on the disk, and the
    /// next start completes a replacement that a power failure has interrupted. In hardware, two key pairs are used in turn, and the
    /// earlier one is removed when the new certificate is stored. Only one program may renew the same certificate.
    Renew(Box<renew::Renew>),
    /// Look up the registration of a device, without registering it
    Lookup(Box<lookup::Lookup>),
    /// Register a device, connect it to its hub, send telemetry, and follow what the hub sends
    ///
    /// It prints the device twin, and then each change of the desired properties, each message and each call of a method, until
    /// Ctrl-C or SIGTERM. It connects again after a failure, and registers again when the hub does not know the device.
    Connect(Box<connect::Connect>),
    /// Create and inspect certificates
    Certificate(certificate::CertificateCommand),
    /// Generate and manage private keys in PKCS#11 tokens, TPMs and files
    Key(Box<key::KeyCommand>),
    /// Find out why a device cannot register
    Doctor(Box<doctor::Doctor>),
    /// Check the answers of a custom allocation webhook
    Webhook(webhook::WebhookCommand),
    /// Test allocation policies with recorded requests
    Policy(policy::PolicyCommand),
    /// Run the emulator, or a command that uses it
    Emulator(emulator::EmulatorCommand),
    /// Register a fleet of devices, or compute how long it takes
    Simulate(Box<simulate::Simulate>),
    /// Print completions for a shell
    Completions(completions::Completions),
    /// Write the man pages into a directory
    Man(man::Man),
}

pub(crate) fn main() -> ExitCode {
    // The emulator has its own options.
    if let Some(arguments) = emulator::own_arguments(std::env::args_os().collect()) {
        return emulator::run_program(arguments);
    }
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    cli.common.color.select();
    log::start(cli.common.verbose);
    let format = cli.common.output;
    if let Err(failure) = input::check_stdin(Cli::command(), &matches) {
        failure.print(format);
        return failure.exit_code();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let failure =
                Failure::new(Exit::Failure, "the runtime cannot be started").because(&error);
            failure.print(format);
            return failure.exit_code();
        }
    };
    let exit = match runtime.block_on(cli.run()) {
        Ok(exit) => exit,
        Err(failure) => {
            failure.print(format);
            failure.exit_code()
        }
    };
    runtime.shutdown_timeout(END_OF_HARDWARE);
    exit
}

impl Cli {
    async fn run(self) -> Result<ExitCode> {
        let context = Context::new(&self.common)?;
        match self.command {
            Command::Enrollment(command) => enrollment::run(command, &context).await?,
            Command::EnrollmentGroup(command) => enrollment::run(command, &context).await?,
            Command::Registration(command) => registration::run(command, &context).await?,
            Command::ComputeDeviceKey(command) => compute_device_key::run(&command, &context)?,
            Command::Register(command) => register::run(*command, &context).await?,
            Command::Renew(command) => renew::run(*command, &context).await?,
            Command::Lookup(command) => lookup::run(*command, &context).await?,
            Command::Connect(command) => connect::run(*command, &context).await?,
            Command::Certificate(command) => return certificate::run(command, &context),
            Command::Key(command) => key::run(*command, &context).await?,
            Command::Doctor(command) => return doctor::run(*command, &context).await,
            Command::Webhook(command) => return webhook::run(command, &context).await,
            Command::Policy(command) => return policy::run(command, &context).await,
            Command::Emulator(command) => return emulator::run(command).await,
            Command::Simulate(command) => return simulate::run(*command, &context).await,
            Command::Completions(command) => completions::run(&command, Self::command()),
            Command::Man(command) => man::run(&command, Self::command())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_has_no_conflict() {
        Cli::command().debug_assert();
    }
}
