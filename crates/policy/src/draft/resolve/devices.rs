//! Devices of ENIs and services.

use std::collections::HashMap;

use super::Scope;
use crate::diagnostics::{Code, Report};
use crate::draft::file::AttachTable;
use crate::draft::scalar::DeviceName;
use crate::draft::value::{At, Field};
use crate::model::Attachment;

/// The attachment a table describes.
pub(super) fn attachment(field: &Field<At<AttachTable>>, report: &mut Report<'_>) -> Option<Attachment> {
    let At { value: table, span } = field.given()?;
    let offload = flag(&table.offload, true);
    match (&table.tap, &table.packet) {
        (Field::Given(tap), Field::Absent) => {
            check_configure(table, report);
            let netns = table.netns.given().map(|netns| netns.0.value.clone());
            let configure = flag(&table.configure, false);
            Some(Attachment::Tap { device: tap.0.value.clone(), netns, configure, offload })
        }
        (Field::Absent, Field::Given(packet)) => {
            check_packet(table, packet, report);
            Some(Attachment::Packet { device: packet.0.value.clone(), offload })
        }
        (Field::Given(_), Field::Given(packet)) => {
            let message = "`tap` and `packet` exclude each other";
            let help = "a device is a TAP to be made or an existing interface to be taken over";
            report.add(Code::ConflictingKeys, packet.0.span, message, help);
            None
        }
        (Field::Absent, Field::Absent) => {
            let message = "the attachment names no device";
            report.add(Code::MissingKey, *span, message, "write `tap = …` or `packet = …` in `attach`");
            None
        }
        _ => None,
    }
}

/// Notes devices that two attachments want.
pub(super) fn check_unique(scope: &Scope<'_>, report: &mut Report<'_>) {
    let enis = scope.file.eni.entries().iter().map(|(_, table)| &table.attach);
    let services = scope.file.service.entries().iter().map(|(_, table)| &table.attach);
    let mut seen = HashMap::new();
    for (netns, device) in enis.chain(services).filter_map(|attach| device(&attach.given()?.value)) {
        let Some(first) = seen.insert((netns, device.0.value.as_str()), device.0.span) else { continue };
        let place =
            netns.map_or_else(|| "the daemon's namespace".to_owned(), |netns| format!("namespace `{netns}`"));
        let message = format!("the device `{}` in {place} has another attachment", device.0.value);
        let help = "every ENI and service has a device of its own";
        report.add(Code::DuplicateDevice, device.0.span, message, help).related(first, "first here");
    }
}

fn device(table: &AttachTable) -> Option<(Option<&str>, &DeviceName)> {
    let tap = table.tap.given().filter(|_| !table.netns.is_faulty());
    let netns = tap.and(table.netns.given()).map(|netns| netns.0.value.as_str());
    tap.or(table.packet.given()).map(|device| (netns, device))
}

/// Addresses and a default route in the daemon's own namespace would take the host off its network.
fn check_configure(table: &AttachTable, report: &mut Report<'_>) {
    let Some(At { value: true, span }) = table.configure.given() else { return };
    if let Field::Absent = table.netns {
        let message = "`configure` needs a namespace of its own";
        let help = "add `netns = …`: the daemon's own namespace is never configured";
        report.add(Code::MissingKey, *span, message, help);
    }
}

fn check_packet(table: &AttachTable, packet: &DeviceName, report: &mut Report<'_>) {
    let netns = table.netns.given().map(|netns| ("netns", netns.0.span));
    let configure = table.configure.given().map(|configure| ("configure", configure.span));
    for (key, span) in netns.into_iter().chain(configure) {
        let message = format!("`{key}` does not go with `packet`");
        let help = "an existing interface is taken as it is, in the daemon's namespace";
        report.add(Code::ConflictingKeys, span, message, help).related(packet.0.span, "the interface");
    }
}

fn flag(field: &Field<At<bool>>, default: bool) -> bool {
    field.given().map_or(default, |flag| flag.value)
}
