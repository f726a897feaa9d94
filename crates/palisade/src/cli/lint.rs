//! `palisade lint`: which files, and which findings are denied.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, ValueHint};
use palisade_policy::lint::Code;

/// Find rules that do nothing, and groups and network ACLs that contradict each other
///
/// Shadowed and redundant rules and entries, rules that can match nothing, unused groups, ACLs and prefix lists, rules that
/// the subnet's ACL denies, connections whose answers an ACL denies. Each finding names the rules, why, and what to change;
/// docs/lint.md explains every code. With `--output json`, one document per file.
///
/// Exit status 1 if a finding is denied, or if a file has errors.
#[derive(Debug, Args)]
pub(crate) struct Lint {
    /// Configuration files
    #[arg(required = true, value_name = "CONFIG", value_hint = ValueHint::FilePath)]
    pub(crate) configs: Vec<PathBuf>,
    /// Findings that give exit status 1: `warnings`, `notes`, or a code; repeatable, or separated by commas
    #[arg(long, short = 'D', value_name = "WHAT", value_delimiter = ',', value_parser = denials())]
    pub(crate) deny: Vec<String>,
    /// Codes that are neither shown nor denied; repeatable, or separated by commas
    #[arg(long, short = 'A', value_name = "CODE", value_delimiter = ',', value_parser = codes())]
    pub(crate) allow: Vec<String>,
}

/// Codes of findings, each with what it is.
fn codes() -> PossibleValuesParser {
    PossibleValuesParser::new(
        Code::ALL.iter().map(|code| PossibleValue::new(code.as_str()).help(code.about())),
    )
}

fn denials() -> PossibleValuesParser {
    let all = [("warnings", "Every warning"), ("notes", "Every note")];
    let all = all.into_iter().chain(Code::ALL.iter().map(|code| (code.as_str(), code.about())));
    PossibleValuesParser::new(all.map(|(name, about)| PossibleValue::new(name).help(about)))
}
