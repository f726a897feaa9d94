//! `palisade check`: every fault of each file, or what the file describes.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use palisade_policy::diagnostics::Style;
use palisade_policy::draft;
use palisade_policy::model::Vpc;
use palisade_policy::{Diagnostics, Snapshot};
use serde::Serialize;

use crate::cli::{Check, Format};
use crate::compiled::Compiled;
use crate::failure::{Exit, Failure};
use crate::screen::{BAD, GOOD, Screen};
use crate::table::{Column, Table, count, or_dash};
use crate::view::{AttachmentView, VpcView};

/// Why there is no VPC.
#[derive(Debug)]
pub(crate) enum LoadError {
    /// The file cannot be read.
    Unreadable(Failure),
    /// The file has errors.
    Faulty(Diagnostics),
}

/// Reads a configuration file.
pub(crate) fn load(path: &Path) -> Result<Vpc, LoadError> {
    draft::load(&path.display().to_string(), &text(path)?).map_err(LoadError::Faulty)
}

/// The text of a configuration file.
pub(crate) fn text(path: &Path) -> Result<String, LoadError> {
    let bytes = fs::read(path).map_err(|error| LoadError::Unreadable(Failure::file("read", path, &error)))?;
    String::from_utf8(bytes).map_err(|error| LoadError::Unreadable(not_utf8(path, &error)))
}

/// Checks the files of a command line.
pub(crate) fn check(screen: &mut Screen, request: &Check) -> io::Result<Exit> {
    let mut exit = Exit::Ok;
    for path in &request.configs {
        match load(path) {
            Ok(vpc) => accept(screen, path, &vpc, request.verbose)?,
            Err(error) => {
                exit = worst(exit, refuse(screen, path, &error)?);
            }
        }
    }
    Ok(exit)
}

/// Writes why a file cannot be used, as the form of the output asks; gives the status to exit with.
pub(crate) fn refuse(screen: &mut Screen, path: &Path, error: &LoadError) -> io::Result<Exit> {
    match error {
        LoadError::Unreadable(failure) => {
            if screen.format == Format::Json {
                screen.json(&Unread { file: path.display().to_string(), ok: false, error: &failure.what })?;
            }
            screen.failure(failure).map(|()| failure.exit)
        }
        LoadError::Faulty(diagnostics) if screen.format == Format::Json => {
            let file = path.display().to_string();
            screen.json(&Refused { file, ok: false, errors: diagnostics }).map(|()| Exit::No)
        }
        LoadError::Faulty(diagnostics) => draw(screen, path, diagnostics).map(|()| Exit::No),
    }
}

fn draw(screen: &mut Screen, path: &Path, diagnostics: &Diagnostics) -> io::Result<()> {
    screen.out.flush()?;
    let style = Style { colour: screen.colour, width: screen.width };
    writeln!(screen.err, "{}", diagnostics.render(style))?;
    let errors = count(diagnostics.len(), "error");
    writeln!(screen.err, "{BAD}{}: {errors}{BAD:#}", path.display())
}

fn accept(screen: &mut Screen, path: &Path, vpc: &Vpc, verbose: bool) -> io::Result<()> {
    let view = VpcView::new(vpc);
    let snapshot = verbose.then(|| Snapshot::compile(vpc.clone(), None));
    let compiled = snapshot.as_ref().map(|snapshot| Compiled::new(vpc, snapshot));
    if screen.format == Format::Json {
        return screen.json(&Accepted { file: path.display().to_string(), ok: true, view, compiled });
    }
    writeln!(screen.out, "{}: {GOOD}ok{GOOD:#}, {}", path.display(), summary(&view))?;
    if let Some(compiled) = compiled {
        details(screen, &view)?;
        compiled.write(&mut screen.out)?;
        writeln!(screen.out)?;
    }
    screen.out.flush()
}

fn summary(view: &VpcView<'_>) -> String {
    let entries: usize = view.network_acls.iter().map(|acl| acl.ingress.len() + acl.egress.len()).sum();
    let rules = view.security_groups.iter().map(|group| group.ingress.len() + group.egress.len()).sum();
    let mut parts = vec![
        count(view.subnets.len(), "subnet"),
        format!("{} with {}", count(view.network_acls.len(), "network ACL"), entries_text(entries)),
        format!("{} with {}", count(view.security_groups.len(), "security group"), count(rules, "rule")),
        count(view.enis.len(), "interface"),
        count(view.services.len(), "service"),
        count(view.flow_logs.len(), "flow log"),
    ];
    // Most files have none.
    parts.truncate(parts.len() - usize::from(view.flow_logs.is_empty()));
    format!("{} in {}: {}", view.vpc.id, view.vpc.region, parts.join(", "))
}

fn entries_text(entries: usize) -> String {
    if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") }
}

fn details(screen: &mut Screen, view: &VpcView<'_>) -> io::Result<()> {
    let rules = [entries(view), rules(view), prefix_lists(view)];
    let places = [enis(view), services(view), flow_logs(view)];
    let tables = [subnets(view)].into_iter().chain(rules).chain(places);
    for table in tables.filter(|table| !table.is_empty()) {
        writeln!(screen.out)?;
        table.write(&mut screen.out)?;
    }
    writeln!(screen.out)
}

fn subnets(view: &VpcView<'_>) -> Table {
    let mut table = Table::new(&["SUBNET", "ID", "IPV4", "IPV6", "NETWORK ACL"].map(Column::Left));
    for subnet in &view.subnets {
        let ipv6 = subnet.ipv6_cidr.map(|cidr| cidr.to_string());
        let acl = format!("{} ({})", subnet.network_acl.name, subnet.network_acl.id);
        table.row([subnet.name, subnet.id, &subnet.cidr.to_string(), or_dash(ipv6.as_deref()), &acl]);
    }
    table
}

fn entries(view: &VpcView<'_>) -> Table {
    let mut table = Table::new(&["NETWORK ACL", "ID", "DIRECTION", "ENTRY"].map(Column::Left));
    for acl in &view.network_acls {
        for (direction, list) in [("ingress", &acl.ingress), ("egress", &acl.egress)] {
            for entry in list {
                table.row([acl.name, acl.id, direction, &entry.entry]);
            }
            table.row([acl.name, acl.id, direction, "* deny all"]);
        }
    }
    table
}

fn rules(view: &VpcView<'_>) -> Table {
    let mut table = Table::new(&["SECURITY GROUP", "ID", "DIRECTION", "RULE", "RULE ID"].map(Column::Left));
    for group in &view.security_groups {
        for (direction, list) in [("ingress", &group.ingress), ("egress", &group.egress)] {
            for rule in list {
                table.row([group.name, group.id, direction, &rule.rule, rule.id]);
            }
        }
    }
    table
}

fn prefix_lists(view: &VpcView<'_>) -> Table {
    use Column::{Left, Right};
    let titles =
        [Left("PREFIX LIST"), Left("ID"), Left("FAMILY"), Right("COUNTS"), Right("ENTRIES"), Left("BLOCKS")];
    let mut table = Table::new(&titles);
    for list in &view.prefix_lists {
        let blocks: Vec<_> = list.entries.iter().map(ToString::to_string).collect();
        let (weight, entries) = (list.weight.to_string(), blocks.len().to_string());
        let blocks = blocks.join(",");
        let row = [list.name, list.id, list.address_family, &weight, &entries, or_dash(Some(&blocks))];
        table.row(row);
    }
    table
}

fn enis(view: &VpcView<'_>) -> Table {
    let titles = ["INTERFACE", "ID", "SUBNET", "MAC", "ADDRESSES", "GROUPS", "MTU", "ATTACHED TO"];
    let mut table = Table::new(&titles.map(Column::Left));
    for eni in &view.enis {
        let addresses: Vec<_> = eni.addresses.iter().map(ToString::to_string).collect();
        let groups: Vec<_> = eni.groups.iter().map(|group| group.name).collect();
        let attached = attachment(&eni.attachment);
        let (addresses, groups, mtu) = (addresses.join(","), groups.join(","), eni.mtu.to_string());
        table.row([eni.name, eni.id, eni.subnet.name, &eni.mac, &addresses, &groups, &mtu, &attached]);
    }
    table
}

fn services(view: &VpcView<'_>) -> Table {
    let mut table = Table::new(&["SERVICE", "MAC", "ADDRESSES", "ATTACHED TO"].map(Column::Left));
    for service in &view.services {
        let addresses: Vec<_> = service.addresses.iter().map(ToString::to_string).collect();
        table.row([service.name, &service.mac, &addresses.join(","), &attachment(&service.attachment)]);
    }
    table
}

fn flow_logs(view: &VpcView<'_>) -> Table {
    let titles = ["FLOW LOG", "ID", "RESOURCE", "TRAFFIC", "INTERVAL", "DESTINATION"];
    let mut table = Table::new(&titles.map(Column::Left));
    for log in &view.flow_logs {
        let (interval, to) = (format!("{} s", log.max_aggregation_interval), log.destination.to_string());
        table.row([log.name, log.id, log.resource_id, log.traffic_type, &interval, &to]);
    }
    table
}

fn attachment(attachment: &AttachmentView<'_>) -> String {
    let AttachmentView { kind, device, netns, .. } = attachment;
    netns.map_or_else(|| format!("{kind} {device}"), |netns| format!("{kind} {device} in {netns}"))
}

fn not_utf8(path: &Path, error: &std::string::FromUtf8Error) -> Failure {
    let at = error.utf8_error().valid_up_to();
    let what = format!("{} is not UTF-8 text: byte {at} fits no character", path.display());
    Failure::with(Exit::No, what, "save the file as UTF-8")
}

/// The status to exit with after two files.
pub(crate) fn worst(one: Exit, other: Exit) -> Exit {
    if other as u8 > one as u8 { other } else { one }
}

/// The document of a file that can be used.
#[derive(Serialize)]
struct Accepted<'a> {
    file: String,
    ok: bool,
    #[serde(flatten)]
    view: VpcView<'a>,
    /// With `--verbose` only: times differ from run to run.
    #[serde(flatten)]
    compiled: Option<Compiled<'a>>,
}

/// The document of a file with errors.
#[derive(Serialize)]
struct Refused<'a> {
    file: String,
    ok: bool,
    errors: &'a Diagnostics,
}

/// The document of a file that cannot be read.
#[derive(Serialize)]
struct Unread<'a> {
    file: String,
    ok: bool,
    error: &'a str,
}
