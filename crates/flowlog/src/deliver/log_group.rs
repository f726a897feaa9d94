//! CloudWatch Logs: a log group, with a stream for each ENI (FL-70).

use std::fs;
use std::io;

use palisade_policy::flow_log::Service;
use serde_json::{Value, json};

use super::batch::{Bounds, Progress, batches};
use super::service::{Client, Clock, Fault, Keyring, domain};
use crate::spool::Segment;

/// What `PutLogEvents` takes at once.
const BATCH: Bounds = Bounds { items: 10_000, bytes: 1 << 20 };

/// What each event counts beside its text.
const EVENT: usize = 26;

/// Events of one batch lie within a day, in milliseconds.
const SPAN: u64 = 24 * 60 * 60 * 1000;

/// A log group.
#[derive(Debug)]
pub(super) struct LogGroup {
    client: Client,
    name: String,
    progress: Progress,
}

/// A record for a stream. The segment holds the stream and the time before each record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Event<'t> {
    stream: &'t str,
    /// Unix milliseconds of the record's `start`.
    time: u64,
    text: &'t str,
}

impl LogGroup {
    pub(super) fn new(name: &str, service: &Service, keyring: Keyring) -> Self {
        let host = format!("logs.{}.{}", service.region, domain(&service.region));
        let client = Client::new(service, "logs", &host, keyring);
        Self { client, name: name.to_owned(), progress: Progress::default() }
    }

    /// Puts a segment's records; gives how many the service refuses for good, because they are too old or too new. A crash
    /// before the segment is removed makes its records come again.
    pub(super) fn put(&mut self, segment: &Segment, clock: Clock) -> io::Result<u64> {
        self.progress.with(segment);
        let text = fs::read_to_string(&segment.path)?;
        let mut events: Vec<_> = text.lines().skip(1).filter_map(event).collect();
        events.sort_by_key(|event| (event.stream, event.time));
        let mut refused = 0;
        let joins = |first: &Event<'_>, next: &Event<'_>| {
            first.stream == next.stream && next.time - first.time < SPAN
        };
        let size = |event: &Event<'_>| event.text.len() + EVENT;
        for batch in batches(&events, BATCH, size, joins).into_iter().skip(self.progress.done) {
            refused += self.put_batch(&events[batch], clock)?;
            self.progress.advance();
        }
        Ok(refused)
    }

    /// Puts events of one stream; group and stream are made with their first records.
    fn put_batch(&mut self, events: &[Event<'_>], clock: Clock) -> Result<u64, Fault> {
        let stream = events.first().map_or("", |event| event.stream);
        let texts: Vec<_> =
            events.iter().map(|event| json!({ "timestamp": event.time, "message": event.text })).collect();
        let request = json!({ "logGroupName": self.name, "logStreamName": stream, "logEvents": texts });
        let answer = match self.call("PutLogEvents", &request, clock) {
            Err(fault) if is_missing(&fault) => {
                self.make(stream, clock)?;
                self.call("PutLogEvents", &request, clock)
            }
            answer => answer,
        };
        answer.map(|answer| refused(&answer, events.len()))
    }

    fn make(&mut self, stream: &str, clock: Clock) -> Result<(), Fault> {
        let group = json!({ "logGroupName": self.name });
        let both = json!({ "logGroupName": self.name, "logStreamName": stream });
        match self.call("CreateLogStream", &both, clock) {
            Err(fault) if is_missing(&fault) => {
                there(self.call("CreateLogGroup", &group, clock))?;
                there(self.call("CreateLogStream", &both, clock))
            }
            made => there(made),
        }
    }

    fn call(&mut self, operation: &str, content: &Value, clock: Clock) -> Result<Value, Fault> {
        self.client.call(&format!("Logs_20140328.{operation}"), content, clock)
    }
}

fn event(line: &str) -> Option<Event<'_>> {
    let (stream, rest) = line.split_once(' ')?;
    let (time, text) = rest.split_once(' ')?;
    Some(Event { stream, time: time.parse::<u64>().ok()? * 1000, text })
}

fn is_missing(fault: &Fault) -> bool {
    fault.code == "ResourceNotFoundException"
}

/// Somebody else may have made it.
fn there(made: Result<Value, Fault>) -> Result<(), Fault> {
    match made {
        Err(fault) if fault.code == "ResourceAlreadyExistsException" => Ok(()),
        made => made.map(drop),
    }
}

/// How many of the events the answer refuses: those before an index are too old, those from one on too new.
fn refused(answer: &Value, count: usize) -> u64 {
    let info = &answer["rejectedLogEventsInfo"];
    let index = |key: &str| info[key].as_u64();
    let count = count as u64;
    let old = index("tooOldLogEventEndIndex").max(index("expiredLogEventEndIndex")).unwrap_or(0);
    let new = index("tooNewLogEventStartIndex").unwrap_or(count);
    (old.min(count) + count.saturating_sub(new)).min(count)
}
