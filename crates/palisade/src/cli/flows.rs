//! `palisade flows`: what flow-log records say.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// Look at flow-log records
#[derive(Debug, Args)]
pub(crate) struct Flows {
    #[command(subcommand)]
    pub(crate) action: FlowsAction,
}

/// What is looked at.
#[derive(Debug, Subcommand)]
pub(crate) enum FlowsAction {
    Read(Read),
}

/// Sum up published files of flow logs
///
/// Reads files as a VPC's flow logs publish them to S3: Parquet, or text with a header, compressed or not, with whatever
/// fields. Of folders every .log, .gz and .parquet file below is read. Shows what was accepted and rejected, who sent most, and what rejected
/// most: by rule where the records name it (palisade-rule), else by destination port.
///
///   palisade flows read logs/
///   palisade flows read logs/ --where 'action=REJECT and dstport=22'
///   palisade flows read logs/ --where 'address=10.0.1.0/24 and bytes>1000000' --records
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Read {
    /// Files, or folders of them
    #[arg(required = true, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
    /// Only records of which this is true: FIELD=VALUE, or != < <= > >=, with `and` between comparisons. Fields are called
    /// as in formats; `address` and `port` mean either end, `eni` is interface-id; addresses may be CIDR blocks, numbers ranges
    #[arg(long = "where", value_name = "CONDITIONS")]
    pub(crate) conditions: Option<String>,
    /// Write the records themselves, under the names of their fields, or one JSON object per line
    #[arg(long)]
    pub(crate) records: bool,
    /// Rows of each list
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "records")]
    pub(crate) top: usize,
}
