//! A proxy between a program and swtpm: the bus of a TPM in tests, which records, changes or drops what is transmitted.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::Swtpm;

/// The sender of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a bus has two ends")]
pub enum Sender {
    /// The program: the bytes are a command.
    Program,
    /// The TPM: the bytes are a response.
    Tpm,
}

/// A running proxy. It ends when this is dropped.
#[derive(Debug)]
pub struct TpmProxy {
    port: u16,
    stopped: Arc<AtomicBool>,
}

/// Sees each message and the connection to the TPM, may change the message, and returns false to close the connection instead of
/// transmitting it.
type Interpose = dyn FnMut(Sender, &mut Vec<u8>, &TcpStream) -> bool + Send;

impl TpmProxy {
    /// Starts a proxy in front of a TPM.
    ///
    /// # Panics
    /// If there are no free ports.
    pub fn start(
        swtpm: &Swtpm,
        mut interpose: impl FnMut(Sender, &mut Vec<u8>) -> bool + Send + 'static,
    ) -> Self {
        Self::start_with(swtpm, move |sender, message, _| interpose(sender, message))
    }

    /// Starts a proxy through which another program uses the TPM as well. `other` sees each command, and may return one of the other
    /// program that runs before it.
    ///
    /// # Panics
    /// If there are no free ports.
    pub fn shared(
        swtpm: &Swtpm,
        mut other: impl FnMut(&[u8]) -> Option<Vec<u8>> + Send + 'static,
    ) -> Self {
        Self::start_with(swtpm, move |sender, command, mut server| {
            if sender == Sender::Program
                && let Some(before) = other(command)
            {
                return server.write_all(&before).is_ok() && message(server).is_ok();
            }
            true
        })
    }

    fn start_with(
        swtpm: &Swtpm,
        interpose: impl FnMut(Sender, &mut Vec<u8>, &TcpStream) -> bool + Send + 'static,
    ) -> Self {
        let (commands, control) = listeners();
        let port = commands.local_addr().expect("its address").port();
        let stopped = Arc::new(AtomicBool::new(false));
        let target = swtpm.port();
        let interpose: Arc<Mutex<Interpose>> = Arc::new(Mutex::new(interpose));
        serve(commands, Arc::clone(&stopped), move |client| {
            exchange(&client, target, &interpose)
        });
        serve(control, Arc::clone(&stopped), move |client| {
            forward(client, target + 1)
        });
        Self { port, stopped }
    }

    /// The TCTI of the TPM through this proxy.
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }
}

impl Drop for TpmProxy {
    /// Wakes the threads, so that they end.
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        for port in [self.port, self.port + 1] {
            let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, port));
        }
    }
}

/// Two consecutive ports: the TSS uses the second one for control.
fn listeners() -> (TcpListener, TcpListener) {
    for _ in 0..1000 {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = first.local_addr().expect("its address").port();
        let next = port.checked_add(1);
        if let Some(Ok(second)) = next.map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))) {
            return (first, second);
        }
    }
    panic!("there are no two consecutive free ports");
}

fn serve(
    listener: TcpListener,
    stopped: Arc<AtomicBool>,
    handle: impl Fn(TcpStream) -> io::Result<()> + Send + 'static,
) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            if stopped.load(Ordering::SeqCst) {
                return;
            }
            // The end of a connection is an error as well.
            let _ = stream.and_then(&handle);
        }
    });
}

fn exchange(client: &TcpStream, target: u16, interpose: &Mutex<Interpose>) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target))?;
    let passes = |sender, message: &mut Vec<u8>| {
        let mut interpose = interpose.lock().unwrap_or_else(PoisonError::into_inner);
        interpose(sender, message, &server)
    };
    loop {
        let mut command = message(client)?;
        if !passes(Sender::Program, &mut command) {
            return Ok(());
        }
        (&server).write_all(&command)?;
        let mut response = message(&server)?;
        if !passes(Sender::Tpm, &mut response) {
            return Ok(());
        }
        (&*client).write_all(&response)?;
    }
}

fn forward(client: TcpStream, target: u16) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target))?;
    let (mut requests, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || {
        let _ = io::copy(&mut requests, &mut to_server);
        to_server.shutdown(Shutdown::Both)
    });
    io::copy(&mut &server, &mut &client).map(drop)
}

/// A command or a response: a header with the total length, and the rest.
fn message(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; 10];
    stream.read_exact(&mut message)?;
    let length = u32::from_be_bytes([message[2], message[3], message[4], message[5]]);
    message.resize(length.try_into().expect("a length fits in memory"), 0);
    stream.read_exact(&mut message[10..])?;
    Ok(message)
}
