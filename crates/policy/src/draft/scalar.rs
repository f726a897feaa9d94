//! Small values with a form of their own: ids, Regions, durations, device names.

use std::time::Duration;

use schemars::{Schema, SchemaGenerator, json_schema};

use super::suggest::{did_you_mean, short};
use super::value::{At, Item, Read, Text};
use crate::diagnostics::{Code, Report};
use crate::ids::IdKind;
use crate::model::{Latency, Profile, Revocation};

/// An id of one kind: `KIND` is the [`IdKind`] as a number, which stable Rust takes as a parameter.
#[derive(Clone, Debug)]
pub(crate) struct Id<const KIND: usize>(pub(crate) Text);

impl<const KIND: usize> Read for Id<KIND> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let kind = IdKind::ALL[KIND];
        let prefix = kind.prefix();
        let text = item.text(report, &format!("an id `{prefix}-…`"))?;
        if kind.is_id(&text.value) {
            return Some(Self(text));
        }
        let message = format!("`{}` is not the id of a {}", short(&text.value), kind.as_str());
        let help = format!("write `{prefix}-` and 17 (or 8) digits 0-9 a-f, or leave the key out");
        report.add(Code::BadId, text.span, message, help);
        None
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        let prefix = IdKind::ALL[KIND].prefix();
        json_schema!({ "type": "string", "pattern": format!("^{prefix}-([0-9a-f]{{8}}|[0-9a-f]{{17}})$") })
    }
}

/// A duration of `MIN` to `MAX` seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time<const MIN: u64, const MAX: u64>(pub(crate) Duration);

impl<const MIN: u64, const MAX: u64> Read for At<Time<MIN, MAX>> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let text = item.text(report, "a duration such as 30s, 5m, 1h or 5days")?;
        let allowed = format!("{MIN}s to {MAX}s");
        let Ok(value) = humantime::parse_duration(&text.value) else {
            let message = format!("`{}` is not a duration", short(&text.value));
            report.add(
                Code::BadForm,
                text.span,
                message,
                format!("write a duration such as 30s, 5m or 1h, {allowed}"),
            );
            return None;
        };
        if (Duration::from_secs(MIN)..=Duration::from_secs(MAX)).contains(&value) {
            return Some(Self { value: Time(value), span: text.span });
        }
        let message = format!("`{}` is out of range", short(&text.value));
        report.add(Code::OutOfRange, text.span, message, format!("write a duration of {allowed}"));
        None
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^([0-9]+ *[a-z]+ *)+$", "examples": ["30s", "5m", "1h"] })
    }
}

impl Read for At<Profile> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let text = item.text(report, "`nitro` or `nitro-v6`")?;
        let value = match text.value.as_str() {
            "nitro" => Profile::Nitro,
            "nitro-v6" => Profile::NitroV6,
            other => {
                let message = format!("there is no profile `{}`", short(other));
                report.add(Code::BadForm, text.span, message, "write `nitro` or `nitro-v6`");
                return None;
            }
        };
        Some(Self { value, span: text.span })
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["nitro", "nitro-v6"] })
    }
}

/// An address family, called what the EC2 API calls it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Family {
    Ipv4,
    Ipv6,
}

impl Read for At<Family> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let text = item.text(report, "`IPv4` or `IPv6`")?;
        let value = match text.value.as_str() {
            "IPv4" => Family::Ipv4,
            "IPv6" => Family::Ipv6,
            other => {
                let message = format!("there is no address family `{}`", short(other));
                report.add(Code::BadForm, text.span, message, "write `IPv4` or `IPv6`");
                return None;
            }
        };
        Some(Self { value, span: text.span })
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": ["IPv4", "IPv6"] })
    }
}

impl Read for At<Revocation> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let text = item.text(report, "`aws` or `strict`")?;
        let found = Revocation::ALL.into_iter().find(|policy| policy.as_str() == text.value);
        if found.is_none() {
            let message = format!("there is no revocation policy `{}`", short(&text.value));
            let meant = did_you_mean(&text.value, Revocation::ALL.into_iter().map(Revocation::as_str));
            let help = "write `aws` (tracked connections outlive their rule, CT-20) or `strict` (they are cut with it)";
            report.add(Code::BadForm, text.span, message, format!("{meant}{help}"));
        }
        found.map(|value| Self { value, span: text.span })
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": Revocation::ALL.map(Revocation::as_str) })
    }
}

impl Read for At<Latency> {
    fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
        let text = item.text(report, "`low`, `balanced` or `efficient`")?;
        let found = Latency::ALL.into_iter().find(|latency| latency.as_str() == text.value);
        if found.is_none() {
            let message = format!("there is no latency `{}`", short(&text.value));
            let meant = did_you_mean(&text.value, Latency::ALL.into_iter().map(Latency::as_str));
            let help = "write `low` (workers poll after traffic), `balanced` (while nobody else wants their CPU) or `efficient` (they sleep)";
            report.add(Code::BadForm, text.span, message, format!("{meant}{help}"));
        }
        found.map(|value| Self { value, span: text.span })
    }

    fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "enum": Latency::ALL.map(Latency::as_str) })
    }
}

/// Declares kinds of text by a test, what is allowed in words, and a pattern for editors.
macro_rules! forms {
    ($($(#[doc = $doc:literal])* $name:ident { $test:path, $code:ident, $wanted:literal, $schema:tt })*) => {$(
        $(#[doc = $doc])*
        #[derive(Clone, Debug)]
        pub(crate) struct $name(pub(crate) Text);

        impl Read for $name {
            fn read(item: &Item<'_>, report: &mut Report<'_>) -> Option<Self> {
                let text = item.text(report, $wanted)?;
                if $test(&text.value) {
                    return Some(Self(text));
                }
                let message = format!("`{}` is not {}", short(&text.value), $wanted);
                report.add(Code::$code, text.span, message, concat!("write ", $wanted));
                None
            }

            fn schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}
pub(crate) use forms;

forms! {
    /// Name of an AWS Region.
    Region { is_region, BadForm, "an AWS Region such as us-east-1",
        { "type": "string", "pattern": "^[a-z]{2,}(-[a-z]+)+-[0-9]+$" } }
    /// Number of an AWS account.
    Account { is_account, BadForm, "an AWS account id: twelve digits",
        { "type": "string", "pattern": "^[0-9]{12}$" } }
    /// Name of a network device.
    DeviceName { is_device, BadDevice,
        "a network device's name: 1 to 15 bytes, no white space, `/` or `:`, not `.` or `..`",
        { "type": "string", "pattern": "^[^/:\\s]+$", "maxLength": 15 } }
    /// Name of a network namespace.
    NetnsName { is_netns, BadDevice,
        "a network namespace's name: 1 to 255 bytes, no white space or `/`, not `.` or `..`",
        { "type": "string", "pattern": "^[^/\\s]+$", "maxLength": 255 } }
    /// A file or directory.
    Path { is_path, BadForm, "an absolute path of at most 4095 bytes",
        { "type": "string", "pattern": "^/", "maxLength": 4095 } }
    /// Where a unix socket is made.
    SocketPath { is_socket_path, BadForm, "an absolute path of at most 107 bytes",
        { "type": "string", "pattern": "^/", "maxLength": 107 } }
    /// Description of a group or rule.
    Description { is_description, BadDescription,
        "a description: at most 255 of a-z A-Z 0-9, space and ._-:/()#,@[]+=&;{}!$* (SG-3)",
        { "type": "string", "pattern": "^[A-Za-z0-9 ._:/()#,@\\[\\]+=&;{}!$*-]*$", "maxLength": 255 } }
}

fn is_region(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let Some((number, words)) = parts.split_last() else { return false };
    let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    words.len() >= 2 && words[0].len() >= 2 && words.iter().all(is_word) && is_number
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The kernel's `dev_valid_name`: IFNAMSIZ is 16 with the terminating zero byte.
fn is_device(text: &str) -> bool {
    text.len() <= 15 && is_file_name(text) && !text.contains(':')
}

fn is_netns(text: &str) -> bool {
    text.len() <= 255 && is_file_name(text)
}

fn is_file_name(text: &str) -> bool {
    let forbidden = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    !matches!(text, "" | "." | "..") && !text.contains(forbidden)
}

/// The kernel's `PATH_MAX` is 4096 with the terminating zero byte.
fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.len() <= 4095 && !text.contains('\0')
}

/// `sockaddr_un` has 108 bytes with the terminating zero byte.
pub(crate) fn is_socket_path(text: &str) -> bool {
    text.starts_with('/') && text.len() <= 107 && !text.contains('\0')
}

/// SG-3, SG-9.
pub(crate) fn is_description(text: &str) -> bool {
    text.len() <= 255 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_punctuation(byte))
}

fn is_punctuation(byte: u8) -> bool {
    b" ._-:/()#,@[]+=&;{}!$*".contains(&byte)
}
