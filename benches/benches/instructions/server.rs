//! A server in a thread with a runtime of its own, so that its instructions are counted separately.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};

/// How long a thread must be idle to count as idle.
const IDLE: Duration = Duration::from_millis(10);

/// A runtime with one thread, and one for blocking calls.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        // A thread that ends would have to be started again, which costs instructions.
        .thread_keep_alive(Duration::from_secs(3600))
        .build()
        .unwrap()
}

/// The server's thread, which runs until the program ends.
pub(crate) struct Server {
    handle: Handle,
    /// The number of tasks without any connection.
    tasks: usize,
}

impl Server {
    /// Starts a server, and returns what `start` returned in its thread.
    pub(crate) fn start<T: Send + 'static, F: Future<Output = T>>(
        start: impl FnOnce() -> F + Send + 'static,
    ) -> (Self, T) {
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let runtime = runtime();
            let started = runtime.block_on(start());
            sender.send((runtime.handle().clone(), started)).unwrap();
            runtime.block_on(std::future::pending::<()>());
        });
        let (handle, started) = receiver.recv().unwrap();
        let mut server = Self { handle, tasks: 0 };
        server.tasks = server.wait_for_idle();
        (server, started)
    }

    /// The runtime of the server.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Waits until the server has ended all connections, so that their end belongs to what is counted.
    pub(crate) fn settle(&self) {
        while self.wait_for_idle() > self.tasks {}
    }

    /// Waits until the thread does nothing. Returns the number of tasks.
    pub(crate) fn wait_for_idle(&self) -> usize {
        let mut last = None;
        loop {
            let metrics = self.handle.metrics();
            // The number is odd while the thread is parked.
            let (parked, tasks) = (
                metrics.worker_park_unpark_count(0),
                metrics.num_alive_tasks(),
            );
            if parked % 2 == 1 && last.replace((parked, tasks)) == Some((parked, tasks)) {
                return tasks;
            }
            thread::sleep(IDLE);
        }
    }
}
