//! Mirror targets, filters and sessions (TM-1..9).

use std::collections::HashMap;

use super::Scope;
use super::quotas::Quota;
use crate::diagnostics::{Code, Report, Span};
use crate::draft::file::{MirrorFilterTable, MirrorSessionTable, MirrorTargetTable};
use crate::draft::mirror_rule::MirrorLine;
use crate::draft::suggest::short;
use crate::draft::value::{Field, List, Text};
use crate::ids::{self, IdKind};
use crate::model::{
    EniIndex, MirrorFilter, MirrorFilterIndex, MirrorRule, MirrorSession, MirrorTarget, MirrorTargetAt,
    MirrorTargetIndex, RuleNumber,
};

/// The targets in the order of the file.
pub(super) fn targets(scope: &Scope<'_>, report: &mut Report<'_>) -> Option<Vec<MirrorTarget>> {
    let mut targets = Vec::new();
    for ((name, table), object) in
        scope.file.mirror_target.entries().iter().zip(scope.mirror_targets.objects())
    {
        let at = target(scope, name, table, report);
        targets.push(at.map(|at| MirrorTarget { id: object.id.clone(), name: object.name.clone(), at }));
    }
    targets.into_iter().collect()
}

/// TM-1: exactly one.
fn target(
    scope: &Scope<'_>,
    name: &Text,
    table: &MirrorTargetTable,
    report: &mut Report<'_>,
) -> Option<MirrorTargetAt> {
    match (&table.eni, &table.service) {
        (Field::Given(eni), Field::Absent) => {
            scope.enis.find(eni, report).map(|at| MirrorTargetAt::Eni(EniIndex(at)))
        }
        (Field::Absent, Field::Given(service)) => find_service(scope, service, report),
        (Field::Given(_), Field::Given(service)) => {
            let help = "a target is one ENI, or one service (TM-1)";
            report.add(Code::ConflictingKeys, service.span, "`eni` and `service` exclude each other", help);
            None
        }
        (Field::Absent, Field::Absent) => {
            let help = "write `eni = …` or `service = …` (TM-1)";
            report.add(Code::MissingKey, name.span, "the target names nothing that gets the copies", help);
            None
        }
        _ => None,
    }
}

fn find_service(scope: &Scope<'_>, wanted: &Text, report: &mut Report<'_>) -> Option<MirrorTargetAt> {
    let services = scope.file.service.entries();
    let Some(at) = services.iter().position(|(name, _)| name.value == wanted.value) else {
        if !scope.file.service.is_faulty() {
            let known: Vec<_> = services.iter().map(|(name, _)| name.value.as_str()).collect();
            let help = if known.is_empty() {
                "the file has no service".to_owned()
            } else {
                format!("there are: {}", known.join(", "))
            };
            let message = format!("there is no service `{}`", short(&wanted.value));
            report.add(Code::UnknownReference, wanted.span, message, help);
        }
        return None;
    };
    let addresses = &services[at].1.addresses;
    if addresses.is_complete() && !addresses.items().iter().any(|address| address.value.is_ipv4()) {
        let help = "copies are addressed to its first IPv4 address: give it one";
        let message = format!("the service `{}` has no IPv4 address", short(&wanted.value));
        report.add(Code::BadAddress, wanted.span, message, help);
    }
    Some(MirrorTargetAt::Service(at))
}

/// The filters in the order of the file.
pub(super) fn filters(scope: &Scope<'_>, report: &mut Report<'_>) -> Vec<MirrorFilter> {
    let mut filters = Vec::new();
    for ((_, table), object) in scope.file.mirror_filter.entries().iter().zip(scope.mirror_filters.objects())
    {
        check_count(scope, table, report);
        filters.push(MirrorFilter {
            id: object.id.clone(),
            name: object.name.clone(),
            amazon_dns: !table.network_services.items().is_empty(),
            ingress: rules(&table.ingress, &object.id, "ingress", report),
            egress: rules(&table.egress, &object.id, "egress", report),
        });
    }
    filters
}

/// TM-4: both directions together.
fn check_count(scope: &Scope<'_>, table: &MirrorFilterTable, report: &mut Report<'_>) {
    let lines = || table.ingress.items().iter().chain(table.egress.items());
    if let Some(last) = lines().last() {
        let count = lines().count() as u64;
        scope.limits.check(count, Quota::MirrorFilterRules, last.span, "rules of the filter", report);
    }
}

fn rules(
    lines: &Field<List<MirrorLine>>,
    filter_id: &str,
    direction: &str,
    report: &mut Report<'_>,
) -> Vec<MirrorRule> {
    let numbers = lines.items().iter().filter_map(|line| line.number);
    let help = "a number stands once in a direction (TM-4)";
    check_unique(numbers.map(|number| (number.value, number.span)), help, report);
    let rule = |line: &MirrorLine| {
        let (number, decision) = (line.number?.value, line.decision.clone()?);
        Some(MirrorRule {
            id: IdKind::MirrorRule.derive(filter_id, &format!("{direction} {number}")),
            number,
            action: decision.action,
            protocol: decision.protocol,
            source: decision.source.cidr,
            destination: decision.destination.cidr,
            source_ports: decision.source.ports,
            destination_ports: decision.destination.ports,
        })
    };
    let mut rules: Vec<_> = lines.items().iter().filter_map(rule).collect();
    rules.sort_by_key(|rule| rule.number);
    rules
}

fn check_unique(numbers: impl Iterator<Item = (RuleNumber, Span)>, help: &str, report: &mut Report<'_>) {
    let mut seen = HashMap::new();
    for (number, span) in numbers {
        if let Some(first) = seen.insert(number, span) {
            let message = format!("number {number} is used twice");
            report.add(Code::DuplicateRuleNumber, span, message, help).related(first, "first here");
        }
    }
}

/// The sessions in the order of the file.
pub(super) fn sessions(
    scope: &Scope<'_>,
    targets: Option<&[MirrorTarget]>,
    report: &mut Report<'_>,
) -> Option<Vec<MirrorSession>> {
    let entries = scope.file.mirror_session.entries();
    let mut sessions = Vec::new();
    for ((_, table), object) in entries.iter().zip(scope.mirror_sessions.objects()) {
        sessions.push(session(scope, table, (&object.id, &object.name), report));
    }
    let placed: Vec<_> = entries
        .iter()
        .zip(&sessions)
        .filter_map(|((_, table), session)| Some((table, session.as_ref()?)))
        .collect();
    check_numbers(scope, &placed, report);
    if let Some(targets) = targets {
        check_ends(scope, &placed, targets, report);
    }
    sessions.into_iter().collect()
}

fn session(
    scope: &Scope<'_>,
    table: &MirrorSessionTable,
    (id, name): (&String, &String),
    report: &mut Report<'_>,
) -> Option<MirrorSession> {
    let source = table.source.given().and_then(|text| scope.enis.find(text, report));
    let target = table.target.given().and_then(|text| scope.mirror_targets.find(text, report));
    let filter = table.filter.given().and_then(|text| scope.mirror_filters.find(text, report));
    let number = table.number.given().and_then(|number| u16::try_from(number.value.0).ok());
    Some(MirrorSession {
        id: id.clone(),
        name: name.clone(),
        source: EniIndex(source?),
        target: MirrorTargetIndex(target?),
        filter: MirrorFilterIndex(filter?),
        number: RuleNumber::new(number?)?,
        vni: table.virtual_network_id.given().map_or_else(|| ids::vni(id), |vni| vni.value.0),
        packet_length: table.packet_length.given().and_then(|length| u16::try_from(length.value.0).ok()),
    })
}

type Placed<'a> = (&'a MirrorSessionTable, &'a MirrorSession);

/// TM-6: a number once per source, so many sessions per source and target.
fn check_numbers(scope: &Scope<'_>, sessions: &[Placed<'_>], report: &mut Report<'_>) {
    let mut by_source: HashMap<EniIndex, Vec<&Placed<'_>>> = HashMap::new();
    let mut by_target: HashMap<MirrorTargetIndex, Vec<&Placed<'_>>> = HashMap::new();
    for placed in sessions {
        by_source.entry(placed.1.source).or_default().push(placed);
        by_target.entry(placed.1.target).or_default().push(placed);
    }
    for sessions in by_source.values() {
        let numbers = sessions
            .iter()
            .filter_map(|(table, session)| table.number.given().map(|number| (session.number, number.span)));
        let help = "the sessions of one source have different numbers (TM-6)";
        check_unique(numbers, help, report);
        let span = sessions.last().and_then(|(table, _)| table.source.given()).map(|text| text.span);
        if let Some(span) = span {
            let count = sessions.len() as u64;
            scope.limits.check(count, Quota::MirrorSessionsPerEni, span, "sessions of this source", report);
        }
    }
    for sessions in by_target.values() {
        let span = sessions.last().and_then(|(table, _)| table.target.given()).map(|text| text.span);
        if let Some(span) = span {
            let count = sessions.len() as u64;
            scope.limits.check(
                count,
                Quota::MirrorSessionsPerTarget,
                span,
                "sessions of this target",
                report,
            );
        }
    }
}

/// TM-7: who is a source gets no copies.
fn check_ends(scope: &Scope<'_>, sessions: &[Placed<'_>], targets: &[MirrorTarget], report: &mut Report<'_>) {
    for (table, session) in sessions {
        let is_target = targets.iter().position(|target| target.at == MirrorTargetAt::Eni(session.source));
        let (Some(at), Some(source)) = (is_target, table.source.given()) else { continue };
        let used = sessions.iter().find(|(_, other)| other.target.0 == at);
        let Some((other, _)) = used else { continue };
        let message = format!("the ENI `{}` is a source and a target", short(&source.value));
        let help = format!(
            "an ENI that gets copies (mirror target `{}`) is not mirrored itself (TM-7)",
            scope.mirror_targets.objects()[at].name
        );
        let finding = report.add(Code::ConflictingKeys, source.span, message, help);
        if let Some(target) = other.target.given() {
            finding.related(target.span, "a target here");
        }
    }
}
