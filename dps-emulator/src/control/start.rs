//! Starts the control endpoint with the emulator.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::guard::Guard;
use super::{AdjustableClock, Control, ControlEndpoint, serve};
use crate::Emulator;
use crate::config::{EmulatorBuilder, HostName};
use crate::emulator::{bracketed, listen};
use crate::endpoint::Gateway;
use crate::error::Error;
use crate::journal::Journal;
use crate::seed::Seed;

/// The number of exchanges that are kept, unless the builder asks for more.
const KEPT_EXCHANGES: usize = 1000;

/// A control endpoint that has its port and does not serve yet.
pub(crate) struct Prepared {
    options: ControlEndpoint,
    listener: TcpListener,
    port: u16,
    clock: Arc<AdjustableClock>,
    host_names: Vec<HostName>,
}

/// Checks the options, listens, and replaces the clock of the emulator by one that can be set.
pub(crate) fn prepare(builder: &mut EmulatorBuilder) -> Result<Option<Prepared>, Error> {
    let Some(options) = builder.control.take() else {
        return Ok(None);
    };
    options.check()?;
    let (listener, port) = listen(options.bind, options.port)?;
    let clock = Arc::new(AdjustableClock::new(Arc::clone(&builder.clock)));
    builder.clock = Arc::clone(&clock) as _;
    builder.kept_exchanges = builder.kept_exchanges.max(KEPT_EXCHANGES);
    Ok(Some(Prepared {
        options,
        listener,
        port,
        clock,
        host_names: builder.host_names.clone(),
    }))
}

impl Prepared {
    /// The URL, and the task that serves it until the emulator stops.
    pub(crate) fn start(
        self,
        emulator: &Emulator,
        gateway: Arc<Gateway>,
        seed: Seed,
        stop: CancellationToken,
    ) -> (String, impl Future<Output = ()> + use<>) {
        let Self {
            options,
            listener,
            port,
            clock,
            host_names,
        } = self;
        let host = match options.bind {
            address if address.is_loopback() => bracketed(&address.to_string()),
            IpAddr::V4(_) | IpAddr::V6(_) => emulator.host().to_owned(),
        };
        let url = format!("http://{host}:{port}");
        let mut connection = emulator.connection_info();
        connection.insert("control".to_owned(), url.clone().into());
        let journal = gateway.shared.journal.clone().unwrap_or_else(|| {
            let clock = Arc::clone(&clock);
            Arc::new(Journal::new(clock, KEPT_EXCHANGES))
        });
        let control = Control {
            journal,
            clock,
            seed,
            connection,
            ca_pem: emulator.ca_pem().to_owned(),
            guard: Guard::new(&options, &host_names),
            gateway,
            instances: Arc::clone(emulator.instances()),
            stop,
            sharing: tokio::sync::Mutex::default(),
        };
        let control = Arc::new(control);
        let serving = async move {
            tokio::join!(
                serve(listener, Arc::clone(&control)),
                control
                    .stop
                    .run_until_cancelled(Arc::clone(&control).follow()),
            );
        };
        (url, serving)
    }
}
