//! What can go wrong on the control side; a worker has no errors to return, it counts them.

use std::io;

/// A request to the data plane that could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The kernel gave no thread, epoll instance or eventfd.
    #[error("cannot start worker {worker}: {source}")]
    Worker {
        /// Name of the worker.
        worker: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A worker cannot be bound to its CPU.
    #[error(
        "cannot run worker {worker} on CPU {cpu}: {source}; name another in daemon.worker_cpus (`nproc --all`, `taskset -p $$`)"
    )]
    Bind {
        /// Name of the worker.
        worker: String,
        /// Number of the CPU.
        cpu: usize,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The port's descriptor cannot be waited for.
    #[error("port {port} cannot be waited for: {source}")]
    Wait {
        /// Name of the port.
        port: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Two ports for one ENI or service.
    #[error("{port} is attached already; remove it first")]
    PortExists {
        /// Name of the port that is attached.
        port: String,
    },
    /// The ENI or service has no port.
    #[error("no such port is attached")]
    NoSuchPort,
    /// A worker did not come to a burst boundary in time. What was published is in force wherever it did, and will be
    /// everywhere as soon as the worker goes on.
    #[error("published, but worker {worker} still forwards by generation {live}")]
    NotAcknowledged {
        /// Name of the first such worker.
        worker: String,
        /// The lowest generation that a worker forwards by.
        live: u64,
    },
    /// The data plane was stopped, or the worker has died.
    #[error("worker {worker} does not run any more")]
    Stopped {
        /// Name of the worker.
        worker: String,
    },
}
