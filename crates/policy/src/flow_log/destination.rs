//! Where records go. These values are also kept beside records that wait on disk, so their JSON form must stay readable.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where records go.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destination {
    /// Objects in a local directory, under the keys they would have in a bucket (FL-71).
    Directory {
        /// The directory, which stands for the bucket.
        path: PathBuf,
        /// How objects are called and written.
        objects: Objects,
    },
    /// Objects in a bucket of S3, or of a store that speaks its protocol (FL-71).
    S3 {
        /// The bucket.
        bucket: String,
        /// How objects are called and written.
        objects: Objects,
        /// Where it is asked, and as whom.
        service: Service,
    },
    /// A log group of CloudWatch Logs, with a stream for each ENI (FL-70).
    CloudWatchLogs {
        /// Name of the log group.
        group: String,
        /// Where it is asked, and as whom.
        service: Service,
    },
    /// A delivery stream of Firehose (FL-75).
    Firehose {
        /// Name of the delivery stream.
        stream: String,
        /// Where it is asked, and as whom.
        service: Service,
    },
    /// A JSON object per line, for people and pipes.
    Lines(LineTarget),
}

impl Destination {
    /// What AWS calls its kind; Palisade's own kinds are called in the same way.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Directory { .. } => "directory",
            Self::S3 { .. } => "s3",
            Self::CloudWatchLogs { .. } => "cloud-watch-logs",
            Self::Firehose { .. } => "kinesis-data-firehose",
            Self::Lines(_) => "json-lines",
        }
    }

    /// How objects are called and written, where records become objects.
    #[must_use]
    pub const fn objects(&self) -> Option<&Objects> {
        match self {
            Self::Directory { objects, .. } | Self::S3 { objects, .. } => Some(objects),
            Self::CloudWatchLogs { .. } | Self::Firehose { .. } | Self::Lines(_) => None,
        }
    }

    /// Everything about it in one line, the same for the same destination and for no other.
    pub(super) fn text(&self) -> String {
        // Only a map with keys that are no text, or a path that is not UTF-8, fails; both never come out of a file.
        serde_json::to_string(self).unwrap_or_else(|_| format!("{self:?}"))
    }
}

impl fmt::Display for Destination {
    /// For people: `s3://logs/prefix`, `/var/log/flows`, `log group flows`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = |objects: &Objects| if objects.prefix.is_empty() { "" } else { "/" };
        match self {
            Self::Directory { path, objects } => {
                write!(f, "{}{}{}", path.display(), slash(objects), objects.prefix)
            }
            Self::S3 { bucket, objects, .. } => {
                write!(f, "s3://{bucket}{}{}", slash(objects), objects.prefix)
            }
            Self::CloudWatchLogs { group, .. } => write!(f, "log group {group}"),
            Self::Firehose { stream, .. } => write!(f, "delivery stream {stream}"),
            Self::Lines(LineTarget::Stdout) => f.write_str("standard output"),
            Self::Lines(LineTarget::Socket(path)) => write!(f, "socket {}", path.display()),
        }
    }
}

/// An AWS service, or one that speaks its protocol: where it is asked, and as whom.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Service {
    /// Region of the service, which is part of every signature.
    pub region: String,
    /// `http://…` or `https://…` without a path; `None`: AWS's own in that Region.
    pub endpoint: Option<String>,
    /// The profile in the file of credentials; `None`: what the environment says.
    pub profile: Option<String>,
}

/// How objects are called and written (FL-71, FL-72, FL-73).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Objects {
    /// What keys begin with, without slashes at its ends; empty: with `AWSLogs`.
    pub prefix: String,
    /// Whether folders are called `year=2026` and so on, as Hive has it.
    pub hive_compatible: bool,
    /// Whether each hour has a folder.
    pub per_hour: bool,
    /// How objects are written.
    pub format: FileFormat,
}

/// How objects are written (FL-73).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileFormat {
    /// Lines behind a header, compressed with gzip.
    #[default]
    PlainText,
    /// Parquet, its columns compressed with gzip.
    Parquet,
}

impl FileFormat {
    /// Both, the default first.
    pub const ALL: [Self; 2] = [Self::PlainText, Self::Parquet];

    /// AWS's word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PlainText => "plain-text",
            Self::Parquet => "parquet",
        }
    }

    /// What keys end with.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::PlainText => ".log.gz",
            Self::Parquet => ".log.parquet",
        }
    }
}

/// Where lines of JSON go.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineTarget {
    /// Standard output.
    Stdout,
    /// A unix socket that somebody listens at.
    Socket(PathBuf),
}
