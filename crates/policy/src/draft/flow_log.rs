//! Flow logs as written: their tables, and small values that nothing else has.

use schemars::{Schema, SchemaGenerator, json_schema};
use toml::de::DeValue;

use super::scalar::{Id, Path, Region};
use super::suggest::{did_you_mean, short};
use super::table::table;
use super::value::{At, Item, Read, Text};
use crate::diagnostics::{Code, Report};
use crate::flow_log::{FileFormat, Format, Interval, LineTarget, Traffic};
use crate::ids::IdKind;

table! {
    /// A flow log: records of the flows at the ENIs of the VPC, of a subnet or of one ENI. One that is changed is another one (FL-5).
    FlowLogTable {
        /// `fl-…`; absent: derived from the name and everything else about it.
        optional id: Id<{ IdKind::FlowLog as usize }>,
        /// The subnet whose ENIs it watches; absent, without `eni`: it watches the whole VPC.
        optional subnet: Text,
        /// The one ENI that it watches.
        optional eni: Text,
        /// Which records of flows it wants: ACCEPT, REJECT or ALL; absent: ALL (FL-4).
        optional traffic_type: At<Traffic>,
        /// Longest time in seconds that a record covers, 60 or 600; absent: 600, of which ENIs with the profile nitro make 60 (FL-10).
        optional max_aggregation_interval: At<Interval>,
        /// Fields of its records, such as `${srcaddr} ${dstaddr} ${palisade-rule}`; absent: the 14 fields of AWS's default format (FL-40, FL-50).
        optional log_format: At<Format>,
        /// Where its records go: exactly one of `directory`, `s3`, `log_group`, `delivery_stream` and `json_lines`.
        required destination: At<DestinationTable>,
        /// How objects are called and written, in a directory or in S3 (FL-72, FL-73).
        optional destination_options: At<OptionsTable>,
    }
}

table! {
    /// Where records go.
    DestinationTable {
        /// A local directory, which stands for a bucket: an absolute path.
        optional directory: Path,
        /// A bucket of S3, or of a store that speaks its protocol.
        optional s3: Bucket,
        /// A log group of CloudWatch Logs, which is made if it is not there; each ENI has a stream in it (FL-70).
        optional log_group: LogGroup,
        /// A delivery stream of Firehose (FL-75).
        optional delivery_stream: DeliveryStream,
        /// A JSON object per record, to `stdout` or to somebody who listens at a unix socket: an absolute path.
        optional json_lines: At<LineTarget>,
        /// Of a directory or bucket: what keys begin with, in front of `AWSLogs/`; absent: nothing (FL-71, FL-74).
        optional prefix: Prefix,
        /// Of an AWS service: its Region; absent: the VPC's.
        optional region: Region,
        /// Of an AWS service: `http://HOST[:PORT]` or `https://HOST[:PORT]` of one that speaks its protocol; absent: AWS's own.
        optional endpoint: Endpoint,
        /// Of an AWS service: the profile in the file of credentials; absent: what the environment says.
        optional profile: Profile,
    }
}

table! {
    /// How objects are called and written.
    OptionsTable {
        /// `plain-text`, compressed lines behind a header, or `parquet`; absent: plain-text (FL-73).
        optional file_format: At<FileFormat>,
        /// Whether folders are called `year=2026` and so on, as Hive has it; absent: false (FL-72).
        optional hive_compatible_partitions: At<bool>,
        /// Whether each hour has a folder; absent: false (FL-72).
        optional per_hour_partition: At<bool>,
    }
}

/// The keys that say where records go, and what each needs.
pub(crate) const DESTINATIONS: [&str; 5] = ["directory", "s3", "log_group", "delivery_stream", "json_lines"];

impl Read for At<DestinationTable> {
    const NAME: &'static str = "Destination";

    /// Its place is that of its key, where to point if it names no destination.
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        DestinationTable::read(item, report).map(|value| Self { value, span: item.owner })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = DestinationTable::schema(generator);
        let one = DESTINATIONS.map(|key| serde_json::json!({ "required": [key] }));
        schema.insert("oneOf".to_owned(), one.to_vec().into());
        schema
    }
}

impl Read for At<OptionsTable> {
    const NAME: &'static str = "DestinationOptions";

    /// Its place is that of its key, where to point if its destination has no objects.
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        OptionsTable::read(item, report).map(|value| Self { value, span: item.owner })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        OptionsTable::schema(generator)
    }
}

impl Read for At<Traffic> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let words = Traffic::ALL.map(Traffic::as_str);
        let place = word(item, report, "traffic type", &words, "`ACCEPT`, `REJECT` or `ALL`")?;
        Some(Self { value: Traffic::ALL[place.value], span: place.span })
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": Traffic::ALL.map(Traffic::as_str) })
    }
}

impl Read for At<FileFormat> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let words = FileFormat::ALL.map(FileFormat::as_str);
        let place = word(item, report, "file format", &words, "`plain-text` or `parquet`")?;
        Some(Self { value: FileFormat::ALL[place.value], span: place.span })
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": FileFormat::ALL.map(FileFormat::as_str) })
    }
}

/// Position of the word that stands there.
fn word(
    item: &Item<'_>,
    report: &mut Report<'_>,
    kind: &str,
    words: &[&str],
    wanted: &str,
) -> Option<At<usize>> {
    let text = item.text(report, wanted)?;
    let place = words.iter().position(|word| *word == text.value);
    if place.is_none() {
        let message = format!("there is no {kind} `{}`", short(&text.value));
        let meant = did_you_mean(&text.value, words.iter().copied());
        report.add(Code::BadForm, text.span, message, format!("{meant}write {wanted}"));
    }
    place.map(|value| At { value, span: text.span })
}

impl Read for At<Interval> {
    /// FL-10: no other values.
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let DeValue::Integer(integer) = item.value else { return item.wrong_type(report, "60 or 600") };
        let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        let found = Interval::ALL.into_iter().find(|interval| number == Some(interval.seconds()));
        if found.is_none() {
            let message = format!("{integer} is no aggregation interval (FL-10)");
            report.add(Code::OutOfRange, item.span, message, "write 60 or 600, in seconds");
        }
        found.map(|value| Self { value, span: item.span })
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": Interval::ALL.map(Interval::seconds) })
    }
}

impl Read for At<Format> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let text = item.text(report, "fields such as `${srcaddr} ${dstaddr}`")?;
        match Format::parse(&text.value) {
            Ok(value) => Some(Self { value, span: text.span }),
            Err(fault) => {
                let span = text.part(fault.at..fault.at + fault.length);
                let help = format!("{} (FL-50)", fault.help);
                report.add(Code::BadLogFormat, span, fault.what, help);
                None
            }
        }
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^\s*\$\{[a-z0-9-]+\}(\s+\$\{[a-z0-9-]+\})*\s*$",
            "examples": ["${version} ${interface-id} ${srcaddr} ${dstaddr} ${action} ${palisade-rule}"],
        })
    }
}

impl Read for At<LineTarget> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        const WANTED: &str = "`stdout`, or the absolute path of a unix socket, at most 107 bytes";
        let text = item.text(report, WANTED)?;
        let value = match text.value.as_str() {
            "stdout" => LineTarget::Stdout,
            path if super::scalar::is_socket_path(path) => LineTarget::Socket(path.into()),
            other => {
                let message = format!("`{}` is neither", short(other));
                report.add(Code::BadForm, text.span, message, format!("write {WANTED}"));
                return None;
            }
        };
        Some(Self { value, span: text.span })
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(stdout|/.*)$", "maxLength": 107 })
    }
}

super::scalar::forms! {
    /// Name of a bucket.
    Bucket { is_bucket, BadForm,
        "a bucket's name: 3 to 63 of a-z, 0-9, `.` and `-`, a letter or digit at both ends",
        { "type": "string", "pattern": "^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$" } }
    /// Name of a log group.
    LogGroup { is_log_group, BadForm,
        "a log group's name: 1 to 512 of a-z A-Z 0-9 and ._-/#",
        { "type": "string", "pattern": "^[A-Za-z0-9._/#-]{1,512}$" } }
    /// Name of a delivery stream.
    DeliveryStream { is_delivery_stream, BadForm,
        "a delivery stream's name: 1 to 64 of a-z A-Z 0-9 and ._-",
        { "type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$" } }
    /// What keys of objects begin with.
    Prefix { is_prefix, BadForm,
        "a prefix such as `logs/flows`: names of a-z A-Z 0-9 and !_.*'()= - between single slashes, none of them `AWSLogs`, `.` or `..`, at most 512 bytes (FL-74)",
        { "type": "string", "pattern": "^[A-Za-z0-9!_.*'()=-]+(/[A-Za-z0-9!_.*'()=-]+)*$", "maxLength": 512 } }
    /// Where a service is asked.
    Endpoint { is_endpoint, BadForm,
        "`http://HOST[:PORT]` or `https://HOST[:PORT]`, without a path",
        { "type": "string", "pattern": "^https?://[^/@?#\\s]+$" } }
    /// Name of a profile.
    Profile { is_profile, BadForm,
        "a profile's name: 1 to 64 of a-z A-Z 0-9 and ._-/",
        { "type": "string", "pattern": "^[A-Za-z0-9._/-]{1,64}$" } }
}

fn is_bucket(text: &str) -> bool {
    let is_end =
        |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let bytes = text.as_bytes();
    (3..=63).contains(&bytes.len())
        && text.bytes().all(|byte| is_end(Some(byte)) || b".-".contains(&byte))
        && is_end(bytes.first().copied())
        && is_end(bytes.last().copied())
}

fn is_log_group(text: &str) -> bool {
    is_made_of(text, 512, b"._-/#")
}

fn is_delivery_stream(text: &str) -> bool {
    is_made_of(text, 64, b"._-")
}

fn is_profile(text: &str) -> bool {
    is_made_of(text, 64, b"._-/")
}

/// FL-74. Other characters would have to be written in another way in the addresses of objects.
fn is_prefix(text: &str) -> bool {
    let is_name = |name: &str| !matches!(name, "." | ".." | "AWSLogs") && is_made_of(name, 512, b"!_.*'()=-");
    text.len() <= 512 && text.split('/').all(is_name)
}

fn is_endpoint(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else { return false };
    // The port is behind the last colon that is not inside the brackets of an IPv6 address.
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let is_v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_host = match is_v6 {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_made_of(host, 255, b".-"),
    };
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_made_of(text: &str, most: usize, others: &[u8]) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || others.contains(&byte);
    (1..=most).contains(&text.len()) && text.bytes().all(is_part)
}
