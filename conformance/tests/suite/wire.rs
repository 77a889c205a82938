//! A TCP forwarder between device and service, which counts connections.

use std::net::Ipv4Addr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) https: u16,
    pub(crate) mqtt: u16,
    pub(crate) amqp: u16,
}

/// It ends when it is dropped.
pub(crate) struct Wire {
    ports: Ports,
    connections: watch::Receiver<Connections>,
    _forwarding: JoinSet<()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Connections {
    begun: usize,
    ended: usize,
}

impl Wire {
    /// A wire to the service at these ports.
    pub(crate) async fn to(service: Ports) -> Self {
        let (count, connections) = watch::channel(Connections::default());
        let mut forwarding = JoinSet::new();
        let mut entrance = async |port| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
            let listener = listener.expect("a port");
            let entrance = listener.local_addr().expect("the port").port();
            forwarding.spawn(forward(listener, port, count.clone()));
            entrance
        };
        let ports = Ports {
            https: entrance(service.https).await,
            mqtt: entrance(service.mqtt).await,
            amqp: entrance(service.amqp).await,
        };
        Self {
            ports,
            connections,
            _forwarding: forwarding,
        }
    }

    /// The ports that a device connects to.
    pub(crate) fn ports(&self) -> Ports {
        self.ports
    }

    /// The number of connections.
    pub(crate) fn begun(&self) -> usize {
        self.connections.borrow().begun
    }

    /// Waits until there were this many connections.
    pub(crate) async fn until_begun(&self, count: usize) {
        let mut connections = self.connections.clone();
        let begun = connections.wait_for(|connections| connections.begun >= count);
        begun.await.expect("the wire is there");
    }

    /// Waits until both sides have closed every connection.
    pub(crate) async fn all_closed(&self) {
        let mut connections = self.connections.clone();
        let closed = connections.wait_for(|count| count.begun == count.ended);
        closed.await.expect("the wire is there");
    }
}

async fn forward(listener: TcpListener, port: u16, count: watch::Sender<Connections>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut device, _) = listener.accept().await.expect("a connection");
        count.send_modify(|count| count.begun += 1);
        let count = count.clone();
        connections.spawn(async move {
            let service = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
            let mut service = service.expect("the emulator listens");
            for stream in [&device, &service] {
                stream.set_nodelay(true).expect("a socket");
            }
            // A reset also ends the connection.
            let _ = copy_bidirectional(&mut device, &mut service).await;
            count.send_modify(|count| count.ended += 1);
        });
    }
}
