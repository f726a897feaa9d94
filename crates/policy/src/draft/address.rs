//! CIDR blocks, IP addresses and MAC addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use palisade_packet::MacAddr;
use schemars::{Schema, SchemaGenerator, json_schema};

use super::suggest::short;
use super::value::{At, Item, Read};
use crate::diagnostics::{Code, Report, Span};

const CIDR: &str = "a CIDR block such as 10.0.0.0/16 or 2001:db8::/56";
const CIDR_V4: &str = "an IPv4 CIDR block such as 10.0.0.0/16";
const CIDR_V6: &str = "an IPv6 CIDR block such as 2001:db8::/56";

/// A CIDR block in canonical form.
///
/// A configuration file is corrected, not reinterpreted: host bits are an error that names the canonical form, where
/// the API clears them (SG-17).
pub(crate) fn cidr(text: &str, span: Span, report: &mut Report<'_>, wanted: &str) -> Option<IpNet> {
    if text.parse::<IpAddr>().is_ok() {
        return no_prefix(text, span, report);
    }
    let Ok(block) = text.parse::<IpNet>() else {
        let message = format!("`{}` is not a CIDR block", short(text));
        report.add(Code::BadCidr, span, message, format!("write {wanted}"));
        return None;
    };
    if block.trunc() != block {
        let message = format!("`{text}` has host bits set behind its prefix");
        report.add(Code::HostBits, span, message, format!("write `{}`", block.trunc()));
        return None;
    }
    Some(block)
}

fn no_prefix(text: &str, span: Span, report: &mut Report<'_>) -> Option<IpNet> {
    let whole = if text.contains(':') { 128 } else { 32 };
    let help = format!("a single host is `{text}/{whole}` (SG-18)");
    report.add(Code::BadCidr, span, format!("`{text}` has no prefix length"), help);
    None
}

fn read_cidr(item: &Item<'_>, report: &mut Report<'_>, wanted: &str) -> Option<At<IpNet>> {
    let text = item.text(report, wanted)?;
    let value = cidr(&text.value, text.span, report, wanted)?;
    Some(At { value, span: text.span })
}

fn wrong_family<T>(block: At<IpNet>, report: &mut Report<'_>, wanted: &str) -> Option<T> {
    let message = format!("`{}` is of the wrong family", block.value);
    report.add(Code::BadCidr, block.span, message, format!("write {wanted}"));
    None
}

impl Read for At<IpNet> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        read_cidr(item, report, CIDR)
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]+/[0-9]{1,3}$" })
    }
}

impl Read for At<Ipv4Net> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let block = read_cidr(item, report, CIDR_V4)?;
        match block.value {
            IpNet::V4(value) => Some(Self { value, span: block.span }),
            IpNet::V6(_) => wrong_family(block, report, CIDR_V4),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": r"^([0-9]{1,3}\.){3}[0-9]{1,3}/[0-9]{1,2}$" })
    }
}

impl Read for At<Ipv6Net> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let block = read_cidr(item, report, CIDR_V6)?;
        match block.value {
            IpNet::V6(value) => Some(Self { value, span: block.span }),
            IpNet::V4(_) => wrong_family(block, report, CIDR_V6),
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*/[0-9]{1,3}$" })
    }
}

fn read_address<T: std::str::FromStr>(
    item: &Item<'_>,
    report: &mut Report<'_>,
    wanted: &str,
) -> Option<At<T>> {
    let text = item.text(report, wanted)?;
    if let Ok(value) = text.value.parse() {
        return Some(At { value, span: text.span });
    }
    let message = format!("`{}` is not {wanted}", short(&text.value));
    report.add(Code::BadAddress, text.span, message, format!("write {wanted}"));
    None
}

impl Read for At<Ipv4Addr> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        read_address(item, report, "an IPv4 address without a prefix length, such as 10.0.1.10")
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "ipv4" })
    }
}

impl Read for At<Ipv6Addr> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        read_address(item, report, "an IPv6 address without a prefix length, such as 2001:db8::10")
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "ipv6" })
    }
}

impl Read for At<IpAddr> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        read_address(item, report, "an IP address without a prefix length, such as 10.0.0.2")
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "anyOf": [{ "format": "ipv4" }, { "format": "ipv6" }] })
    }
}

impl Read for At<MacAddr> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let text = item.text(report, "a MAC address")?;
        let help =
            "six pairs of hexadecimal digits separated by colons, the first even, such as 02:00:0a:00:01:0a";
        let fault = match text.value.parse::<MacAddr>() {
            Ok(mac) if mac.is_group() => "a group address: its first byte is odd",
            Ok(mac) if mac == MacAddr::default() => "the address of nobody",
            Ok(value) => return Some(Self { value, span: text.span }),
            Err(_) => "not a MAC address",
        };
        let message = format!("`{}` is {fault}", short(&text.value));
        report.add(Code::BadMac, text.span, message, help);
        None
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$" })
    }
}
