//! Quotas in force.

use crate::diagnostics::{Code, Finding, Report, Span};
use crate::draft::file::QuotaTable;
use crate::draft::value::{At, Field, Number};
use crate::model::Quotas;

/// The quotas, and the note that something exceeds one.
pub(super) struct Limits {
    pub(super) quotas: Quotas,
}

impl Limits {
    pub(super) fn new(table: &Field<QuotaTable>, report: &mut Report<'_>) -> Self {
        let Field::Given(table) = table else {
            let quotas = if table.is_faulty() { UNLIMITED } else { Quotas::default() };
            return Self { quotas };
        };
        let default = Quotas::default();
        let quotas = Quotas {
            network_acl_entries: number(&table.network_acl_entries, default.network_acl_entries),
            network_acls: number(&table.network_acls, default.network_acls),
            security_group_rules: number(&table.security_group_rules, default.security_group_rules),
            groups_per_eni: number(&table.groups_per_eni, default.groups_per_eni),
            rules_per_eni: number(&table.rules_per_eni, default.rules_per_eni),
            security_groups: number(&table.security_groups, default.security_groups),
            cidr_blocks: number(&table.cidr_blocks, default.cidr_blocks),
            subnets: number(&table.subnets, default.subnets),
            mirror_sessions_per_eni: number(&table.mirror_sessions_per_eni, default.mirror_sessions_per_eni),
            mirror_sessions_per_target: number(
                &table.mirror_sessions_per_target,
                default.mirror_sessions_per_target,
            ),
            mirror_filter_rules: number(&table.mirror_filter_rules, default.mirror_filter_rules),
        };
        check_product(table, quotas, report);
        Self { quotas }
    }

    /// Notes that a count exceeds a quota.
    pub(super) fn check<'r>(
        &self,
        count: u64,
        quota: Quota,
        span: Span,
        what: &str,
        report: &'r mut Report<'_>,
    ) -> Option<&'r mut Finding> {
        let limit = u64::from(quota.limit(&self.quotas));
        if count <= limit {
            return None;
        }
        let message = format!("{what}: {count}, but the quota is {limit} ({})", quota.statement());
        let help = format!("at most {limit}; raise it with `{}` in [quotas]", quota.key());
        Some(report.add(Code::Quota, span, message, help))
    }
}

/// Which quota.
#[derive(Clone, Copy)]
pub(super) enum Quota {
    AclEntries,
    Acls,
    GroupRules,
    GroupsPerEni,
    Groups,
    CidrBlocks,
    Subnets,
    MirrorSessionsPerEni,
    MirrorSessionsPerTarget,
    MirrorFilterRules,
}

impl Quota {
    fn limit(self, quotas: &Quotas) -> u32 {
        match self {
            Self::AclEntries => quotas.network_acl_entries,
            Self::Acls => quotas.network_acls,
            Self::GroupRules => quotas.security_group_rules,
            Self::GroupsPerEni => quotas.groups_per_eni,
            Self::Groups => quotas.security_groups,
            Self::CidrBlocks => quotas.cidr_blocks,
            Self::Subnets => quotas.subnets,
            Self::MirrorSessionsPerEni => quotas.mirror_sessions_per_eni,
            Self::MirrorSessionsPerTarget => quotas.mirror_sessions_per_target,
            Self::MirrorFilterRules => quotas.mirror_filter_rules,
        }
    }

    /// The statement that sets it.
    fn statement(self) -> &'static str {
        match self {
            Self::AclEntries | Self::Acls => "NACL-17",
            Self::GroupRules => "SG-51",
            Self::GroupsPerEni => "SG-52",
            Self::Groups => "SG-50",
            Self::CidrBlocks => "RT-70",
            Self::Subnets => "Amazon VPC quotas",
            Self::MirrorSessionsPerEni | Self::MirrorSessionsPerTarget => "TM-6",
            Self::MirrorFilterRules => "TM-4",
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::AclEntries => "network_acl_entries",
            Self::Acls => "network_acls",
            Self::GroupRules => "security_group_rules",
            Self::GroupsPerEni => "groups_per_eni",
            Self::Groups => "security_groups",
            Self::CidrBlocks => "cidr_blocks",
            Self::Subnets => "subnets",
            Self::MirrorSessionsPerEni => "mirror_sessions_per_eni",
            Self::MirrorSessionsPerTarget => "mirror_sessions_per_target",
            Self::MirrorFilterRules => "mirror_filter_rules",
        }
    }
}

/// In force where a fault hides what was meant.
const UNLIMITED: Quotas = Quotas {
    network_acl_entries: u32::MAX,
    network_acls: u32::MAX,
    security_group_rules: u32::MAX,
    groups_per_eni: u32::MAX,
    rules_per_eni: u32::MAX,
    security_groups: u32::MAX,
    cidr_blocks: u32::MAX,
    subnets: u32::MAX,
    mirror_sessions_per_eni: u32::MAX,
    mirror_sessions_per_target: u32::MAX,
    mirror_filter_rules: u32::MAX,
};

fn number<const MIN: u32, const MAX: u32>(field: &Field<At<Number<MIN, MAX>>>, default: u32) -> u32 {
    match field {
        Field::Absent => default,
        Field::Faulty => u32::MAX,
        Field::Given(number) => number.value.0,
    }
}

/// SG-53.
fn check_product(table: &QuotaTable, quotas: Quotas, report: &mut Report<'_>) {
    let rules = table.security_group_rules.given().map(|number| number.span);
    let groups = table.groups_per_eni.given().map(|number| number.span);
    let product = u64::from(quotas.security_group_rules) * u64::from(quotas.groups_per_eni);
    let known = !table.security_group_rules.is_faulty() && !table.groups_per_eni.is_faulty();
    let limit = u64::from(quotas.rules_per_eni);
    let Some(span) = rules.or(groups).or(table.rules_per_eni.given().map(|number| number.span)) else {
        return;
    };
    if known && product > limit {
        let message =
            format!("security_group_rules × groups_per_eni is {product}, more than {limit} (SG-53)");
        let help = "lower one of the two, or raise `rules_per_eni` in [quotas]";
        report.add(Code::QuotaProduct, span, message, help);
    }
}
