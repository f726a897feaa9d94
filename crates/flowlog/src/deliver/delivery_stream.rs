//! Firehose: a delivery stream, which gets plain lines (FL-75).

use std::fs;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_policy::flow_log::Service;
use serde_json::{Value, json};

use super::batch::{Bounds, Progress, batches};
use super::service::{Client, Clock, Fault, FaultKind, Keyring, domain};
use crate::spool::Segment;

/// What `PutRecordBatch` takes at once: 4 MiB, with what the request has around its records.
const BATCH: Bounds = Bounds { items: 500, bytes: (4 << 20) - 4096 };

/// What a record takes in the request beside its text: `{"Data":""},`.
const RECORD: usize = 12;

/// A delivery stream.
#[derive(Debug)]
pub(super) struct DeliveryStream {
    client: Client,
    name: String,
    progress: Progress,
}

impl DeliveryStream {
    pub(super) fn new(name: &str, service: &Service, keyring: Keyring) -> Self {
        let host = format!("firehose.{}.{}", service.region, domain(&service.region));
        let client = Client::new(service, "firehose", &host, keyring);
        Self { client, name: name.to_owned(), progress: Progress::default() }
    }

    /// Puts a segment's records. Those that the service has taken are not put again, unless a crash makes all come again.
    pub(super) fn put(&mut self, segment: &Segment, clock: Clock) -> io::Result<()> {
        self.progress.with(segment);
        let text = fs::read_to_string(&segment.path)?;
        let lines: Vec<_> = text.split_inclusive('\n').skip(1).collect();
        let size = |line: &&str| line.len().div_ceil(3) * 4 + RECORD;
        for batch in batches(&lines, BATCH, size, |_, _| true).into_iter().skip(self.progress.done) {
            self.put_batch(&lines[batch], clock)?;
            self.progress.advance();
        }
        Ok(())
    }

    /// Puts what is left of a batch.
    fn put_batch(&mut self, lines: &[&str], clock: Clock) -> Result<(), Fault> {
        if self.progress.left.is_empty() {
            self.progress.left = (0..lines.len()).collect();
        }
        let left = &self.progress.left;
        let records: Vec<_> = left.iter().map(|at| json!({ "Data": STANDARD.encode(lines[*at]) })).collect();
        let request = json!({ "DeliveryStreamName": self.name, "Records": records });
        let answer = self.client.call("Firehose_20150804.PutRecordBatch", &request, clock)?;
        if answer["FailedPutCount"].as_u64() == Some(0) {
            return Ok(());
        }
        self.keep_failed(&answer)
    }

    /// Leaves what the answer says has failed.
    fn keep_failed(&mut self, answer: &Value) -> Result<(), Fault> {
        let left = &mut self.progress.left;
        let count = left.len();
        let answers = answer["RequestResponses"].as_array().map_or(&[][..], Vec::as_slice);
        let code = |at: usize| answers.get(at).and_then(|one| one["ErrorCode"].as_str());
        // An answer that does not speak of every record says nothing of the others.
        let failed: Vec<_> = (0..count).filter(|at| *at >= answers.len() || code(*at).is_some()).collect();
        let first = failed.first().and_then(|at| code(*at)).unwrap_or_default().to_owned();
        if failed.is_empty() {
            return Ok(());
        }
        *left = failed.iter().map(|at| left[*at]).collect();
        let message = format!("{} of {count} records were not taken", left.len());
        let kind = if first.contains("ServiceUnavailable") || first.contains("Throttl") {
            FaultKind::RateLimited
        } else {
            FaultKind::Unknown
        };
        Err(Fault { kind, code: first, message })
    }
}
