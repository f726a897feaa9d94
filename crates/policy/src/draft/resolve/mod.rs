//! Looks across the tables of a file: references, addresses, overlaps, quotas; fills in defaults and derives ids.

mod acls;
mod blocks;
mod daemon;
mod devices;
mod enis;
mod flow_logs;
mod groups;
mod instances;
mod mirroring;
mod names;
mod prefix_lists;
mod quotas;
mod services;

use super::file::{File, VpcTable};
use crate::diagnostics::Report;
use crate::ids::IdKind;
use crate::model::Vpc;
use names::{Names, Registry};
use quotas::Limits;

const DEFAULT_REGION: &str = "us-east-1";
const DEFAULT_ACCOUNT: &str = "000000000000";

/// What every check may look at: the tables, the names, the quotas.
struct Scope<'f> {
    file: &'f File,
    table: &'f VpcTable,
    vpc_id: String,
    limits: Limits,
    subnets: Names,
    acls: Names,
    groups: Names,
    prefix_lists: Names,
    enis: Names,
    instances: Names,
    mirror_targets: Names,
    mirror_filters: Names,
    mirror_sessions: Names,
    flow_logs: Names,
}

/// The VPC that the file describes. `None`, or anything at all, if a fault has been noted.
pub(super) fn vpc(file: &File, report: &mut Report<'_>) -> Option<Vpc> {
    let faulty = VpcTable::default();
    let table = file.vpc.given().unwrap_or(&faulty);
    let scope = Scope::new(file, table, report);
    blocks::check_vpc(&scope, report);
    let subnets = blocks::subnets(&scope, report);
    let network_acls = acls::network_acls(&scope, report);
    let prefix_lists = prefix_lists::prefix_lists(&scope, report);
    let security_groups = groups::security_groups(&scope, report);
    let (instances, assignment) = instances::instances(&scope, report);
    let enis = enis::enis(&scope, &assignment, report);
    let services = services::services(&scope, report);
    devices::check_unique(&scope, report);
    let mirror_targets = mirroring::targets(&scope, report);
    let mirror_filters = mirroring::filters(&scope, report);
    let mirror_sessions = mirroring::sessions(&scope, mirror_targets.as_deref(), report);
    let flow_logs = flow_logs::drafts(&scope, report);
    let mut vpc = Vpc {
        region: text_or(table.region.given().map(|region| &region.0.value), DEFAULT_REGION),
        account: text_or(table.account.given().map(|account| &account.0.value), DEFAULT_ACCOUNT),
        cidr_blocks: table.cidr_blocks.items().iter().map(|block| block.value).collect(),
        ipv6_cidr_blocks: blocks::ipv6_blocks(table).map(|block| block.value).collect(),
        revocation: table.revocation.given().map(|policy| policy.value).unwrap_or_default(),
        subnets: subnets?,
        network_acls,
        security_groups: security_groups?,
        prefix_lists,
        instances,
        enis: enis?,
        services: services?,
        mirror_targets: mirror_targets?,
        mirror_filters,
        mirror_sessions: mirror_sessions?,
        flow_logs: Vec::new(),
        quotas: scope.limits.quotas,
        daemon: daemon::daemon(file, report),
        id: scope.vpc_id,
    };
    flow_logs::finish(flow_logs?, &mut vpc, report);
    Some(vpc)
}

impl<'f> Scope<'f> {
    fn new(file: &'f File, table: &'f VpcTable, report: &mut Report<'_>) -> Self {
        let vpc_id = vpc_id(table);
        let mut ids = Registry::new(&vpc_id, report);
        if let Some(id) = table.id.given() {
            ids.vpc(&id.0);
        }
        Self {
            file,
            table,
            subnets: ids.names(IdKind::Subnet, &file.subnet, |table| table.id.given().map(|id| &id.0)),
            acls: ids
                .names(IdKind::NetworkAcl, &file.network_acl, |table| table.id.given().map(|id| &id.0))
                .with_default(&vpc_id),
            groups: ids
                .names(IdKind::SecurityGroup, &file.security_group, |table| table.id.given().map(|id| &id.0))
                .with_default(&vpc_id),
            prefix_lists: ids
                .names(IdKind::PrefixList, &file.prefix_list, |table| table.id.given().map(|id| &id.0)),
            enis: ids.names(IdKind::Eni, &file.eni, |table| table.id.given().map(|id| &id.0)),
            instances: ids.names(IdKind::Instance, &file.instance, |table| table.id.given().map(|id| &id.0)),
            mirror_targets: ids
                .names(IdKind::MirrorTarget, &file.mirror_target, |table| table.id.given().map(|id| &id.0)),
            mirror_filters: ids
                .names(IdKind::MirrorFilter, &file.mirror_filter, |table| table.id.given().map(|id| &id.0)),
            mirror_sessions: ids
                .names(IdKind::MirrorSession, &file.mirror_session, |table| table.id.given().map(|id| &id.0)),
            flow_logs: ids.names(IdKind::FlowLog, &file.flow_log, |table| table.id.given().map(|id| &id.0)),
            limits: Limits::new(&file.quotas, report),
            vpc_id,
        }
    }

    /// Whether the VPC has an IPv6 block, or a fault hides whether it has.
    fn may_have_ipv6(&self) -> bool {
        let table = self.table;
        let unknown = table.ipv6_cidr_block.is_faulty() || !table.ipv6_cidr_blocks.is_complete();
        unknown || blocks::ipv6_blocks(table).next().is_some()
    }
}

/// The given id, or one derived from what tells VPCs apart: account, Region and primary block.
fn vpc_id(table: &VpcTable) -> String {
    if let Some(id) = table.id.given() {
        return id.0.value.clone();
    }
    let region = text_or(table.region.given().map(|region| &region.0.value), DEFAULT_REGION);
    let account = text_or(table.account.given().map(|account| &account.0.value), DEFAULT_ACCOUNT);
    let block = table.cidr_blocks.items().first().map_or_else(String::new, |block| block.value.to_string());
    IdKind::Vpc.derive(&format!("{account} {region}"), &block)
}

fn text_or(given: Option<&String>, default: &str) -> String {
    given.map_or(default, String::as_str).to_owned()
}
