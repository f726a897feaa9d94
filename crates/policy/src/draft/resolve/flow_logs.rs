//! Flow logs: what they watch, and that no two are the same.

use std::collections::HashMap;

use super::{DEFAULT_REGION, Scope, text_or};
use crate::diagnostics::{Code, Report, Span};
use crate::draft::flow_log::{DESTINATIONS, DestinationTable, FlowLogTable, OptionsTable};
use crate::draft::value::{At, Field, Text};
use crate::flow_log::{Destination, FlowLog, Objects, Service, Watched};
use crate::model::{EniIndex, SubnetIndex, Vpc};

/// What a file says of a flow log, as far as it is known before there is a [`Vpc`].
pub(super) struct Draft {
    log: FlowLog,
    /// Where its name stands.
    span: Span,
    /// Whether the file gives its id.
    has_id: bool,
}

/// The flow logs in the order of the file.
pub(super) fn drafts(scope: &Scope<'_>, report: &mut Report<'_>) -> Option<Vec<Draft>> {
    let tables = scope.file.flow_log.entries().iter().zip(scope.flow_logs.objects());
    let drafts = tables.map(|((name, table), object)| {
        let resource = watched(scope, table, report);
        let destination = destination(scope, table, report);
        let log = FlowLog {
            id: object.id.clone(),
            name: object.name.clone(),
            resource: resource?,
            traffic: given(&table.traffic_type).unwrap_or_default(),
            interval: given(&table.max_aggregation_interval).unwrap_or_default(),
            format: table.log_format.given().map(|format| format.value.clone()).unwrap_or_default(),
            destination: destination?,
        };
        Some(Draft { log, span: name.span, has_id: table.id.given().is_some() })
    });
    let drafts: Vec<_> = drafts.collect();
    drafts.into_iter().collect()
}

/// Gives ids, which follow from what the VPC is, and refuses a flow log that another one is already (FL-6).
pub(super) fn finish(drafts: Vec<Draft>, vpc: &mut Vpc, report: &mut Report<'_>) {
    let mut ids: HashMap<String, (Span, bool)> = HashMap::new();
    let mut seen: Vec<(FlowLog, Span)> = Vec::new();
    for Draft { mut log, span, has_id } in drafts {
        if !has_id {
            log.id = log.derive_id(vpc);
        }
        let twin = seen.iter().find(|(other, _)| other.is_same_as(&log)).map(|(_, first)| *first);
        if let Some(first) = twin {
            let message = format!("the flow log `{}` is the same as another one (FL-6)", log.name);
            let help =
                "two of one resource, traffic type, destination and format would write every record twice";
            report.add(Code::DuplicateFlowLog, span, message, help).related(first, "first here");
        }
        let other = ids.insert(log.id.clone(), (span, has_id));
        // Two given ids have been compared with all the others.
        if let Some((first, _)) = other.filter(|(_, given)| twin.is_none() && !(has_id && *given)) {
            let message = format!("the id `{}` is that of another flow log", log.id);
            let help = "an id names one object";
            report.add(Code::DuplicateId, span, message, help).related(first, "first here");
        }
        seen.push((log, span));
    }
    vpc.flow_logs = seen.into_iter().map(|(log, _)| log).collect();
}

/// FL-1.
fn watched(scope: &Scope<'_>, table: &FlowLogTable, report: &mut Report<'_>) -> Option<Watched> {
    match (&table.subnet, &table.eni) {
        (Field::Faulty, _) | (_, Field::Faulty) => None,
        (Field::Absent, Field::Absent) => Some(Watched::Vpc),
        (Field::Given(subnet), Field::Absent) => {
            scope.subnets.find(subnet, report).map(|at| Watched::Subnet(SubnetIndex(at)))
        }
        (Field::Absent, Field::Given(eni)) => {
            scope.enis.find(eni, report).map(|at| Watched::Eni(EniIndex(at)))
        }
        (Field::Given(subnet), Field::Given(eni)) => {
            let message = "a flow log watches a subnet or an ENI, not both (FL-1)";
            let help = "write two flow logs, or leave out one of the keys";
            report
                .add(Code::ConflictingKeys, eni.span, message, help)
                .related(subnet.span, "and the subnet is here");
            None
        }
    }
}

fn destination(scope: &Scope<'_>, table: &FlowLogTable, report: &mut Report<'_>) -> Option<Destination> {
    let to = table.destination.given()?;
    let kind = kind(to, report)?;
    check_belongings(kind, table, &to.value, report);
    let service = service(scope, &to.value);
    let objects = objects(&to.value, table.destination_options.given().map(|options| &options.value));
    let At { value: to, .. } = to;
    match kind {
        "directory" => {
            Some(Destination::Directory { path: to.directory.given()?.0.value.clone().into(), objects })
        }
        "s3" => Some(Destination::S3 { bucket: to.s3.given()?.0.value.clone(), objects, service }),
        "log_group" => {
            Some(Destination::CloudWatchLogs { group: to.log_group.given()?.0.value.clone(), service })
        }
        "delivery_stream" => {
            Some(Destination::Firehose { stream: to.delivery_stream.given()?.0.value.clone(), service })
        }
        _ => Some(Destination::Lines(to.json_lines.given()?.value.clone())),
    }
}

/// The one key that says where records go (FL-76).
fn kind(to: &At<DestinationTable>, report: &mut Report<'_>) -> Option<&'static str> {
    let At { value: table, span } = to;
    let present = [
        !matches!(table.directory, Field::Absent),
        !matches!(table.s3, Field::Absent),
        !matches!(table.log_group, Field::Absent),
        !matches!(table.delivery_stream, Field::Absent),
        !matches!(table.json_lines, Field::Absent),
    ];
    let mut named = DESTINATIONS.iter().zip(present).filter(|(_, is_there)| *is_there).map(|(key, _)| *key);
    let allowed = format!("write one of {}", DESTINATIONS.join(", "));
    match (named.next(), named.next()) {
        (None, _) => {
            report.add(Code::MissingKey, *span, "it is not said where the records go", allowed);
            None
        }
        (Some(kind), None) => Some(kind),
        (Some(one), Some(other)) => {
            let message = format!("`{one}` and `{other}` exclude each other (FL-76)");
            report.add(Code::ConflictingKeys, *span, message, allowed);
            None
        }
    }
}

/// FL-76: what means nothing for a destination is refused.
fn check_belongings(kind: &str, table: &FlowLogTable, to: &DestinationTable, report: &mut Report<'_>) {
    let has_objects = matches!(kind, "directory" | "s3");
    let is_service = matches!(kind, "s3" | "log_group" | "delivery_stream");
    let mut refuse = |key: &str, span: Option<Span>, owners: &str| {
        if let Some(span) = span {
            let message = format!("`{key}` means nothing beside `{kind}` (FL-76)");
            let help = format!("leave `{key}` out; it belongs to {owners}");
            report.add(Code::ConflictingKeys, span, message, help);
        }
    };
    if !has_objects {
        let options = table.destination_options.given().map(|options| options.span);
        refuse("destination_options", options, "`directory` and `s3`");
        refuse("prefix", place(to.prefix.given().map(|it| &it.0)), "`directory` and `s3`");
    }
    if !is_service {
        let services = "`s3`, `log_group` and `delivery_stream`";
        refuse("region", place(to.region.given().map(|it| &it.0)), services);
        refuse("endpoint", place(to.endpoint.given().map(|it| &it.0)), services);
        refuse("profile", place(to.profile.given().map(|it| &it.0)), services);
    }
}

fn place(text: Option<&Text>) -> Option<Span> {
    text.map(|text| text.span)
}

fn service(scope: &Scope<'_>, to: &DestinationTable) -> Service {
    let own = to.region.given().or(scope.table.region.given());
    Service {
        region: text_or(own.map(|region| &region.0.value), DEFAULT_REGION),
        endpoint: to.endpoint.given().map(|endpoint| endpoint.0.value.clone()),
        profile: to.profile.given().map(|profile| profile.0.value.clone()),
    }
}

fn objects(to: &DestinationTable, options: Option<&OptionsTable>) -> Objects {
    let faulty = OptionsTable::default();
    let options = options.unwrap_or(&faulty);
    Objects {
        prefix: to.prefix.given().map(|prefix| prefix.0.value.clone()).unwrap_or_default(),
        hive_compatible: given(&options.hive_compatible_partitions).unwrap_or_default(),
        per_hour: given(&options.per_hour_partition).unwrap_or_default(),
        format: given(&options.file_format).unwrap_or_default(),
    }
}

fn given<T: Copy>(field: &Field<At<T>>) -> Option<T> {
    field.given().map(|it| it.value)
}
