//! Settings of the daemon, and which worker serves which device.

use crate::diagnostics::{Code, Report};
use crate::draft::file::{AttachTable, DaemonTable, File};
use crate::draft::value::{At, Field};
use crate::model::Daemon;

/// The settings that the file makes.
pub(super) fn daemon(file: &File, report: &mut Report<'_>) -> Daemon {
    let mut daemon = Daemon::default();
    let Field::Given(table) = &file.daemon else {
        check_workers(file, None, report);
        return daemon;
    };
    daemon.workers = workers(table, report);
    check_workers(file, daemon.workers, report);
    daemon.worker_cpus = table.worker_cpus.items().iter().map(|cpu| cpu.value.0 as usize).collect();
    daemon.latency = table.latency.given().map(|latency| latency.value).unwrap_or_default();
    daemon.control_socket = table.control_socket.given().map(|path| path.0.value.clone().into());
    if let Some(connections) = table.max_connections.given() {
        daemon.max_connections = connections.value.0;
    }
    if let Some(flows) = table.flow_cache.given() {
        daemon.flow_cache = flows.value.0;
    }
    flow_logs(table, &mut daemon);
    daemon.gro = table.gro.given().is_none_or(|gro| gro.value);
    daemon
}

fn flow_logs(table: &DaemonTable, daemon: &mut Daemon) {
    daemon.flow_log_spool = table.flow_log_spool.given().map(|path| path.0.value.clone().into());
    daemon.credentials_file = table.credentials_file.given().map(|path| path.0.value.clone().into());
    if let Some(mebibytes) = table.flow_log_spool_limit.given() {
        daemon.flow_log_spool_limit = u64::from(mebibytes.value.0) << 20;
    }
    if let Some(records) = table.flow_log_records.given() {
        daemon.flow_log_records = records.value.0;
    }
}

/// How many workers there are: as said, or one for each CPU they are bound to.
fn workers(table: &DaemonTable, report: &mut Report<'_>) -> Option<usize> {
    let given = table.workers.given().map(|workers| workers.value.0 as usize);
    let Some(cpus) = table.worker_cpus.given() else { return given };
    if cpus.items.is_empty() && cpus.complete {
        let help = "name one CPU for each worker, or leave the key out";
        report.add(Code::EmptyList, cpus.span, "there is no worker without a CPU", help);
    }
    let count = cpus.items.len();
    if let (Some(workers), true) = (given, table.worker_cpus.is_complete())
        && workers != count
        && count > 0
    {
        let message = format!("{count} CPUs for {workers} workers");
        let help = "name one CPU for each worker, or leave `workers` out";
        report.add(Code::OutOfRange, cpus.span, message, help);
    }
    given.or(Some(count))
}

/// Notes attachments to workers that there are not.
fn check_workers(file: &File, workers: Option<usize>, report: &mut Report<'_>) {
    let enis = file.eni.entries().iter().map(|(_, table)| &table.attach);
    let services = file.service.entries().iter().map(|(_, table)| &table.attach);
    let unknown = match &file.daemon {
        Field::Given(table) => table.workers.is_faulty() || !table.worker_cpus.is_complete(),
        Field::Absent => false,
        Field::Faulty => true,
    };
    for At { value: worker, span } in enis.chain(services).filter_map(given_worker).filter(|_| !unknown) {
        match workers {
            None => {
                let message = "it is not said how many workers there are";
                let help = "write `workers = …` in `[daemon]`, or leave `worker` out";
                report.add(Code::MissingKey, span, message, help);
            }
            Some(workers) if worker >= workers => {
                let message = format!("there is no worker {worker}");
                report.add(Code::OutOfRange, span, message, format!("write 0 to {}", workers - 1));
            }
            Some(_) => {}
        }
    }
}

/// The worker that an attachment names.
pub(super) fn given_worker(attach: &Field<At<AttachTable>>) -> Option<At<usize>> {
    let worker = attach.given()?.value.worker.given()?;
    Some(At { value: worker.value.0 as usize, span: worker.span })
}
