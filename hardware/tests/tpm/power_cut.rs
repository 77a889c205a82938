//! A TPM that loses power while it replaces a hub key.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use dps_device::attestation::TpmKeys;
use dps_device::tpm::{Tcti, Tpm, TpmAttestation, TpmOptions};
use dps_hardware::Swtpm;
use dps_types::sas::Sign;

use crate::{attestation, open, raw};

const HUB_KEY: u32 = 0x8100_0100;
const SPARE: u32 = 0x8100_0102;

/// Passes commands on to a TPM, and loses power when this number of them has been carried out. The last one has no answer.
struct Proxy {
    port: u16,
    left: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl Proxy {
    fn start(target: u16, commands: usize) -> Self {
        let (for_commands, control) = listeners();
        let port = for_commands.local_addr().unwrap().port();
        let left = Arc::new(AtomicUsize::new(commands));
        let stopped = Arc::new(AtomicBool::new(false));
        for (listener, target, is_control) in
            [(for_commands, target, false), (control, target + 1, true)]
        {
            let (left, stopped) = (Arc::clone(&left), Arc::clone(&stopped));
            thread::spawn(move || {
                for stream in listener.incoming() {
                    if stopped.load(Ordering::SeqCst) {
                        return;
                    }
                    // The end of a connection is an error as well.
                    let _ = pass(stream.unwrap(), target, is_control, &left);
                }
            });
        }
        Self {
            port,
            left,
            stopped,
        }
    }

    fn lost_power(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Proxy {
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
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let next = first.local_addr().unwrap().port().checked_add(1);
        if let Some(Ok(second)) = next.map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port))) {
            return (first, second);
        }
    }
    panic!("there are no two consecutive free ports");
}

fn pass(client: TcpStream, target: u16, is_control: bool, left: &AtomicUsize) -> io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target))?;
    if is_control {
        let (mut requests, mut to_server) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || {
            let _ = io::copy(&mut requests, &mut to_server);
            to_server.shutdown(Shutdown::Both)
        });
        io::copy(&mut &server, &mut &client)?;
        return Ok(());
    }
    loop {
        let command = message(&client)?;
        if left.load(Ordering::SeqCst) == 0 {
            return Ok(());
        }
        (&server).write_all(&command)?;
        let response = message(&server)?;
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            return Ok(());
        }
        (&client).write_all(&response)?;
    }
}

/// A command or a response: a header with the total length, and the rest.
fn message(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; 10];
    stream.read_exact(&mut message)?;
    let length = u32::from_be_bytes([message[2], message[3], message[4], message[5]]);
    message.resize(usize::try_from(length).unwrap(), 0);
    stream.read_exact(&mut message[10..])?;
    Ok(message)
}

async fn signature(tpm: &Tpm) -> [u8; 32] {
    tpm.hub_signer().sign(b"data").await.unwrap().0
}

#[tokio::test]
async fn a_power_failure_at_any_command_leaves_a_hub_key() {
    let mut swtpm = Swtpm::start();
    let who = attestation(&swtpm).await;
    let keys = [[0x5a; 64], [0x5b; 64]].map(|key| crate::wrap::wrap(&who, &key));
    let mut signatures = Vec::new();
    for key in &keys {
        who.keep_hub_key(key).await.unwrap();
        signatures.push(signature(who.tpm()).await);
    }
    assert_ne!(signatures[0], signatures[1]);

    let mut was_kept = [false; 2];
    for commands in 1.. {
        who.keep_hub_key(&keys[0]).await.unwrap();
        assert_eq!(signature(who.tpm()).await, signatures[0]);
        assert!(!raw::persistent(&swtpm).contains(&SPARE));

        let proxy = Proxy::start(swtpm.port(), commands);
        let tcti = Tcti::swtpm("127.0.0.1", proxy.port).unwrap();
        let replaced = match Tpm::open(TpmOptions::default().with_tcti(tcti)).await {
            Ok(tpm) => match TpmAttestation::new(&tpm).await {
                Ok(who) => who.keep_hub_key(&keys[1]).await.is_ok(),
                Err(_) => false,
            },
            Err(_) => false,
        };
        let lost_power = proxy.lost_power();
        drop(proxy);
        swtpm.restart();

        let found = signature(&open(&swtpm).await).await;
        let kept = signatures.iter().position(|signature| *signature == found);
        was_kept[kept.expect("one of the two keys")] = true;
        if replaced {
            assert_eq!(kept, Some(1));
            assert!(!lost_power && commands > 10, "{commands}");
            break;
        }
        assert!(lost_power, "{commands}");
    }
    // The next registration replaces what was left.
    who.keep_hub_key(&keys[0]).await.unwrap();
    assert_eq!(was_kept, [true; 2]);
    let objects = raw::persistent(&swtpm);
    assert!(
        objects.contains(&HUB_KEY) && !objects.contains(&SPARE),
        "{objects:x?}"
    );
}
