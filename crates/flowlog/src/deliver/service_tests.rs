//! S3, CloudWatch Logs and Firehose, as far as a stub shows it: limits, refusals, and what is given again. Real servers speak
//! to the same code in tests/flowlogs/services.py.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use palisade_flow::Delta;
use palisade_packet::Direction::Ingress;
use palisade_policy::flow_log::Service;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::stub::{HANG_UP, Seen, Stub};
use crate::testing::{WORLD, key_of, log, packet, snapshot};
use crate::{Collector, Courier, Destination, FlowLog, Limits, Objects, Resource, Round, Spool, Traffic};

/// 2026-11-26 14:20:00.
const BEGIN: u32 = 1_795_702_800;

const KEYS: &str = "[test]\naws_access_key_id = AKIDTEST\naws_secret_access_key = s3cr3t\n";

fn service(stub: &Stub) -> Service {
    Service {
        region: "eu-central-1".into(),
        endpoint: Some(stub.endpoint.clone()),
        profile: Some("test".into()),
    }
}

fn to_bucket(stub: &Stub) -> Destination {
    Destination::S3 { bucket: "flows".into(), objects: Objects::default(), service: service(stub) }
}

fn to_group(stub: &Stub) -> Destination {
    Destination::CloudWatchLogs { group: "/flows".into(), service: service(stub) }
}

fn to_stream(stub: &Stub) -> Destination {
    Destination::Firehose { stream: "flows".into(), service: service(stub) }
}

struct Bench {
    root: TempDir,
    log: FlowLog,
}

impl Bench {
    fn new(destination: Destination) -> Self {
        let root = TempDir::new().unwrap();
        fs::write(root.path().join("keys"), KEYS).unwrap();
        Self { root, log: FlowLog { destination, ..log("fl-0a000001") } }
    }

    fn keys(&self) -> PathBuf {
        self.root.path().join("keys")
    }

    /// A courier whose spool holds lines, all sealed.
    fn holding(&self, lines: impl IntoIterator<Item = String>) -> Courier {
        let mut spool = Spool::open(&self.root.path().join("spool"), &self.log, 1 << 30).unwrap();
        for line in lines {
            assert!(spool.append(&line, BEGIN, Some(1)));
        }
        spool.seal(|_| true);
        Courier::new(Arc::clone(spool.store()), Some(self.keys()))
    }
}

/// Answers every request alike.
fn always(status: u16, body: &'static str) -> impl FnMut(&Seen) -> (u16, String) + Send + 'static {
    move |_| (status, body.to_owned())
}

fn error(code: &str) -> (u16, String) {
    (400, json!({ "__type": code, "message": "no" }).to_string())
}

#[test]
fn fl_71_an_object_in_a_bucket() {
    let stub = Stub::new(always(200, ""));
    let bench = Bench::new(to_bucket(&stub));
    let mut courier = bench.holding(["2 a\n".to_owned()]);
    assert_eq!(courier.deliver(BEGIN), Round::Empty);
    let seen = stub.take();
    let [put] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(put.method, "PUT");
    let key = "/flows/AWSLogs/123456789010/vpcflowlogs/us-east-1/2026/11/26/123456789010_vpcflowlogs_us-east-1_fl-0a000001_20261126T1420Z_";
    assert!(put.path.starts_with(key) && put.path.ends_with(".log.gz"), "{}", put.path);
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&*put.body), &mut text).unwrap();
    assert_eq!(text.lines().nth(1), Some("2 a"));
    let signature = &put.headers["authorization"];
    assert!(signature.contains("Credential=AKIDTEST/20261126/eu-central-1/s3/aws4_request"), "{signature}");
    assert!(signature.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date,"), "{signature}");
    assert_eq!(put.headers["x-amz-date"], "20261126T142000Z");
    assert_eq!(put.headers["host"], stub.endpoint.strip_prefix("http://").unwrap());
    assert!(!put.headers.values().any(|value| value.contains("s3cr3t")));
}

/// Put and killed before the segment is gone: the same object once more.
#[test]
fn a_bucket_gets_the_same_object_again_under_the_same_key() {
    let stub = Stub::new(always(200, ""));
    let bench = Bench::new(to_bucket(&stub));
    let mut courier = bench.holding(["2 a\n".to_owned()]);
    let spool = bench.root.path().join("spool/fl-0a000001");
    let segment = fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().path());
    let segment = segment.into_iter().find(|path| path.extension().is_some_and(|it| it == "seg")).unwrap();
    let content = fs::read(&segment).unwrap();
    assert_eq!(courier.deliver(BEGIN), Round::Empty);
    fs::write(&segment, content).unwrap();
    assert_eq!(bench.holding([]).deliver(BEGIN + 60), Round::Empty);
    let seen = stub.take();
    let [one, two] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!((&one.path, &one.body), (&two.path, &two.body));
}

/// FL-74, FL-77.
#[test]
fn fl_74_what_a_bucket_refuses() {
    let refused = |status: u16, code: &str| {
        let body = format!("<Error><Code>{code}</Code><Message>no</Message></Error>");
        let stub = Stub::new(move |_| (status, body.clone()));
        let bench = Bench::new(to_bucket(&stub));
        let mut courier = bench.holding(["2 a\n".to_owned()]);
        assert_eq!(courier.deliver(BEGIN), Round::Failed { again: BEGIN + 1 });
        courier.figures().error.clone().unwrap()
    };
    assert_eq!(refused(404, "NoSuchBucket"), "Access error: LogDestinationNotFound: NoSuchBucket: no");
    assert_eq!(refused(403, "AccessDenied"), "Access error: LogDestinationPermissionIssue: AccessDenied: no");
    assert_eq!(refused(503, "SlowDown"), "Rate limited: SlowDown: no");
}

/// Nobody is asked, and the error says where keys were looked for.
#[test]
fn without_keys_nothing_is_sent() {
    let stub = Stub::new(always(200, ""));
    let bench = Bench::new(to_bucket(&stub));
    fs::write(bench.keys(), "[other]\n").unwrap();
    let mut courier = bench.holding(["2 a\n".to_owned()]);
    assert_eq!(courier.deliver(BEGIN), Round::Failed { again: BEGIN + 1 });
    let told = courier.figures().error.clone().unwrap();
    assert!(told.contains("profile test: there is no such profile"), "{told}");
    assert!(stub.take().is_empty());
    // Keys that come later are found.
    fs::write(bench.keys(), KEYS).unwrap();
    assert_eq!(courier.deliver(BEGIN + 1), Round::Empty);
}

fn events(request: &Seen) -> Vec<(u64, String)> {
    let content = request.json();
    let events = content["logEvents"].as_array().unwrap().iter();
    events
        .map(|event| (event["timestamp"].as_u64().unwrap(), event["message"].as_str().unwrap().to_owned()))
        .collect()
}

/// FL-70: group and streams are made with the first records, each of which has the time of its `start`.
#[test]
fn fl_70_a_group_and_its_streams_are_made_when_they_are_needed() {
    let mut known: Vec<String> = Vec::new();
    let stub = Stub::new(move |request| {
        let content = request.json();
        let group = content["logGroupName"].as_str().unwrap().to_owned();
        let both = format!("{group} {}", content["logStreamName"].as_str().unwrap_or_default());
        match request.operation() {
            "CreateLogGroup" => known.push(group),
            "CreateLogStream" if known.contains(&group) => known.push(both),
            "PutLogEvents" if known.contains(&both) => {}
            _ => return error("ResourceNotFoundException"),
        }
        (200, String::new())
    });
    let bench = Bench::new(to_group(&stub));
    let lines = ["b-all 20 late\n", "a-all 30 x\n", "b-all 10 early\n"];
    let mut courier = bench.holding(lines.map(str::to_owned));
    assert_eq!(courier.deliver(BEGIN), Round::Empty);
    let seen = stub.take();
    let operations: Vec<_> = seen.iter().map(Seen::operation).collect();
    assert_eq!(
        operations,
        [
            "PutLogEvents",
            "CreateLogStream",
            "CreateLogGroup",
            "CreateLogStream",
            "PutLogEvents",
            "PutLogEvents",
            "CreateLogStream",
            "PutLogEvents"
        ]
    );
    assert_eq!(events(&seen[4]), [(30_000, "x".to_owned())]);
    assert_eq!(events(&seen[7]), [(10_000, "early".to_owned()), (20_000, "late".to_owned())]);
}

/// What `PutLogEvents` takes: 10,000 events, 1 MiB with 26 bytes for each, one day.
#[test]
fn batches_of_events_keep_the_limits() {
    let stub = Stub::new(always(200, "{}"));
    let mut lines: Vec<_> = (0..10_001).map(|at| format!("a-all {at} x\n")).collect();
    lines.extend((0..3).map(|at| format!("b-all {at} {}\n", "y".repeat(500_000))));
    lines.extend([0, 86_399, 86_400].map(|at| format!("c-all {at} z\n")));
    let bench = Bench::new(to_group(&stub));
    let mut courier = bench.holding(lines);
    assert_eq!(courier.deliver(BEGIN), Round::Empty);
    let counts: Vec<_> = stub.take().iter().map(|request| events(request).len()).collect();
    assert_eq!(counts, [10_000, 1, 2, 1, 2, 1]);
}

/// A failure half-way does not begin a segment anew, and what comes too late for the service is counted.
#[test]
fn a_segment_goes_on_where_it_failed() {
    let mut requests = 0;
    let stub = Stub::new(move |_| {
        requests += 1;
        match requests {
            2 => error("ThrottlingException"),
            3 => (200, json!({ "rejectedLogEventsInfo": { "tooOldLogEventEndIndex": 1 } }).to_string()),
            _ => (200, "{}".to_owned()),
        }
    });
    let bench = Bench::new(to_group(&stub));
    let mut courier = bench.holding(["a-all 1 x\n", "b-all 1 y\n"].map(str::to_owned));
    assert_eq!(courier.deliver(BEGIN), Round::Failed { again: BEGIN + 1 });
    assert_eq!(courier.figures().error.as_deref(), Some("Rate limited: ThrottlingException: no"));
    assert_eq!(courier.deliver(BEGIN), Round::Failed { again: BEGIN + 1 }, "not before its time");
    assert_eq!(courier.deliver(BEGIN + 1), Round::Empty);
    let streams: Vec<_> = stub.take().iter().map(|request| request.json()["logStreamName"].clone()).collect();
    assert_eq!(streams, ["a-all", "b-all", "b-all"]);
    assert_eq!((courier.figures().refused, courier.figures().delivered), (1, 1));
    assert_eq!(courier.figures().error, None);
}

/// FL-70: `-accept` of a single flow log, `-all` of several with one group; each ENI has its own stream.
#[test]
fn fl_70_names_of_streams() {
    let streams = |traffic: &[Traffic]| {
        let stub = Stub::new(always(200, "{}"));
        let bench = Bench::new(to_group(&stub));
        let limits = Limits::default();
        let collector = Collector::new(bench.root.path().join("spool"), limits).unwrap();
        let mut collector = collector.with_credentials(Some(bench.keys()));
        collector.learn(snapshot(WORLD), BEGIN);
        let logs = traffic.iter().zip(1..).map(|(traffic, number)| {
            let (id, traffic) = (format!("fl-0a00000{number}"), *traffic);
            // One on the VPC, the others on one ENI.
            let resource = Resource::Eni("eni-0a000001".into());
            let resource = if number == 1 { bench.log.resource.clone() } else { resource };
            Arc::new(FlowLog { id, resource, traffic, ..bench.log.clone() })
        });
        let mut couriers = collector.subscribe(logs.collect(), BEGIN).unwrap();
        collector.tick(BEGIN, 100);
        for name in ["web-1", "db-1"] {
            let eni = key_of(&snapshot(WORLD), name);
            collector
                .take(&[Delta { packets: 2, ..packet(eni, Ingress, ("192.0.2.1", "10.0.1.10"), BEGIN) }]);
        }
        collector.tick(BEGIN + 62, 100);
        for courier in &mut couriers {
            assert_eq!(courier.deliver(BEGIN + 62), Round::Empty);
        }
        let mut found = String::new();
        for request in stub.take() {
            let name = request.json()["logStreamName"].as_str().unwrap().to_owned();
            for (time, text) in events(&request) {
                assert_eq!((time, text.split(' ').count()), (u64::from(BEGIN) * 1000, 14), "{text}");
            }
            let _ = write!(found, "{} ", name.trim_start_matches("eni-0a"));
        }
        found
    };
    assert_eq!(streams(&[Traffic::Accept]), "000001-accept 000002-accept ");
    assert_eq!(streams(&[Traffic::All]), "000001-all 000002-all ");
    let combined = streams(&[Traffic::Accept, Traffic::Reject]);
    assert_eq!(combined, "000001-all 000002-accept ", "nothing was rejected");
}

fn lines(request: &Seen) -> Vec<String> {
    let content = request.json();
    let records = content["Records"].as_array().unwrap().iter();
    let text = |record: &Value| STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
    records.map(|record| String::from_utf8(text(record)).unwrap()).collect()
}

/// FL-75, and what `PutRecordBatch` takes: 500 records, 4 MiB.
#[test]
fn fl_75_plain_lines_in_batches() {
    let stub = Stub::new(always(200, r#"{"FailedPutCount":0,"RequestResponses":[]}"#));
    let small = (0..501).map(|at| format!("{at} x\n"));
    let bench = Bench::new(to_stream(&stub));
    let mut courier = bench.holding(small);
    assert_eq!(courier.deliver(BEGIN), Round::Empty);
    let seen = stub.take();
    assert_eq!(seen.iter().map(|request| lines(request).len()).collect::<Vec<_>>(), [500, 1]);
    assert_eq!(lines(&seen[1]), ["500 x\n"]);
    assert_eq!(seen[0].json()["DeliveryStreamName"], "flows");

    let large = (0..6).map(|_| format!("{}\n", "z".repeat(900_000)));
    let bench = Bench::new(to_stream(&stub));
    let mut courier = bench.holding(large);
    assert_eq!(courier.deliver(BEGIN), Round::Empty);
    let seen = stub.take();
    assert_eq!(seen.iter().map(|request| lines(request).len()).sum::<usize>(), 6);
    assert!(seen.iter().all(|request| request.body.len() <= 4 << 20));
}

/// Only the records that failed are put again.
#[test]
fn failed_records_alone_are_put_again() {
    let mut requests = 0;
    let stub = Stub::new(move |_| {
        requests += 1;
        let taken = json!({ "RecordId": "1" });
        let failed = json!({ "ErrorCode": "ServiceUnavailableException", "ErrorMessage": "slow" });
        let (count, answers) = match requests {
            1 => (2, vec![failed.clone(), taken, failed]),
            2 => (1, vec![taken, failed]),
            _ => (0, vec![taken]),
        };
        (200, json!({ "FailedPutCount": count, "RequestResponses": answers }).to_string())
    });
    let bench = Bench::new(to_stream(&stub));
    let mut courier = bench.holding(["a\n", "b\n", "c\n"].map(str::to_owned));
    assert_eq!(courier.deliver(BEGIN), Round::Failed { again: BEGIN + 1 });
    let told = courier.figures().error.clone().unwrap();
    assert_eq!(told, "Rate limited: ServiceUnavailableException: 2 of 3 records were not taken");
    let Round::Failed { again } = courier.deliver(BEGIN + 1) else { panic!("it did not fail") };
    assert!((BEGIN + 2..=BEGIN + 3).contains(&again));
    assert_eq!(courier.deliver(again), Round::Empty);
    let seen: Vec<_> = stub.take().iter().map(|request| lines(request).concat()).collect();
    assert_eq!(seen, ["a\nb\nc\n", "a\nc\n", "c\n"]);
}

/// The pause grows to a minute, and no two spools have all of it in common.
#[test]
fn pauses_grow_and_differ() {
    let pauses = || {
        let stub = Stub::new(always(500, ""));
        let bench = Bench::new(to_bucket(&stub));
        let mut courier = bench.holding(["a\n".to_owned()]);
        let mut now = BEGIN;
        let pause = |_| {
            let Round::Failed { again } = courier.deliver(now) else { panic!("it did not fail") };
            let pause = again - now;
            now = again;
            pause
        };
        (0..12).map(pause).collect::<Vec<_>>()
    };
    let (one, other) = (pauses(), pauses());
    for (at, pause) in one.iter().enumerate() {
        let whole = (1 << at.min(6)).min(60);
        assert!((whole - whole / 2..=whole).contains(pause), "{one:?}");
    }
    assert_ne!(one, other);
}

/// Whatever a service says, nothing breaks, and what it has not taken waits.
#[test]
fn answers_that_make_no_sense_are_failures() {
    for (status, body) in [
        (200, "not JSON".to_owned()),
        (200, "[]".to_owned()),
        (200, r#"{"FailedPutCount":-1}"#.to_owned()),
        (
            200,
            r#"{"FailedPutCount":1,"RequestResponses":[{"ErrorCode":"X"},{"ErrorCode":"Y"},{}]}"#.to_owned(),
        ),
        (307, String::new()),
        (400, r#"{"__type":7}"#.to_owned()),
        (404, "<Code>".to_owned()),
        (500, "x".repeat(2 << 20)),
    ] {
        let answer = body.clone();
        let stub = Stub::new(move |_| (status, answer.clone()));
        let bench = Bench::new(to_stream(&stub));
        let mut courier = bench.holding(["a\n".to_owned()]);
        let short = &body[..body.len().min(80)];
        assert_eq!(courier.deliver(BEGIN), Round::Failed { again: BEGIN + 1 }, "{status} {short}");
        assert_eq!(stub.take().len(), 1, "{status} {short}");
        assert_eq!(bench.holding([]).figures().delivered, 0);
    }
}

/// Nobody can tell a refusal for good from one for now, so all are tried again, and told apart; then pauses begin anew.
#[test]
fn every_refusal_is_tried_again_until_it_passes() {
    let answers = [
        (
            403,
            "<Error><Code>AccessDenied</Code></Error>",
            "Access error: LogDestinationPermissionIssue: AccessDenied",
        ),
        (400, "<Error><Code>InvalidRequest</Code></Error>", "Unknown error: InvalidRequest"),
        (500, "<Error><Code>InternalError</Code></Error>", "Unknown error: InternalError"),
        (503, "<Error><Code>SlowDown</Code></Error>", "Rate limited: SlowDown"),
        (HANG_UP, "", "Unknown error: "),
    ];
    let mut coming = answers.into_iter();
    let stub = Stub::new(move |_| {
        let (status, body, _) = coming.next().unwrap_or((200, "", ""));
        (status, body.to_owned())
    });
    let bench = Bench::new(to_bucket(&stub));
    let mut courier = bench.holding(["a\n".to_owned()]);
    let (mut now, mut failures) = (BEGIN, 0);
    for (status, _, told) in answers {
        let Round::Failed { again } = courier.deliver(now) else { panic!("{status} is no success") };
        failures += 1;
        let figures = courier.figures();
        assert_eq!((figures.delivered, figures.refused, figures.failures), (0, 0, failures), "{status}");
        assert!(figures.error.as_ref().unwrap().starts_with(told), "{status}: {figures:?}");
        now = again;
    }
    assert_eq!(courier.deliver(now), Round::Empty);
    let put: Vec<_> = stub.take().into_iter().map(|seen| (seen.path, seen.body)).collect();
    assert!(put.len() == 6 && put.iter().all(|one| *one == put[0]), "the same object under the same key");
    assert_eq!((courier.figures().delivered, &courier.figures().error), (1, &None));
}

/// Too old, expired or too new: `PutLogEvents` takes the rest of a batch, and tells where it begins and ends.
#[test]
fn events_out_of_time_are_refused_for_good_and_counted() {
    for (info, refused) in [
        (json!({}), 0),
        (json!({ "tooOldLogEventEndIndex": 2 }), 2),
        (json!({ "expiredLogEventEndIndex": 3, "tooOldLogEventEndIndex": 2 }), 3),
        (json!({ "tooNewLogEventStartIndex": 3 }), 1),
        (json!({ "tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 3 }), 2),
        (json!({ "tooOldLogEventEndIndex": 4 }), 4),
        (json!({ "tooOldLogEventEndIndex": 9, "tooNewLogEventStartIndex": 0 }), 4),
        (json!({ "tooOldLogEventEndIndex": -1, "tooNewLogEventStartIndex": "x" }), 0),
    ] {
        let answer = json!({ "rejectedLogEventsInfo": info }).to_string();
        let stub = Stub::new(move |_| (200, answer.clone()));
        let bench = Bench::new(to_group(&stub));
        let mut courier = bench.holding((0..4).map(|at| format!("a-all {at} x\n")));
        assert_eq!(courier.deliver(BEGIN), Round::Empty);
        assert_eq!((courier.figures().refused, courier.figures().delivered), (refused, 1), "{info}");
        assert_eq!(courier.deliver(BEGIN + 1), Round::Empty);
        assert_eq!(stub.take().len(), 1, "what is refused is not tried again");
    }
}

/// What an earlier process has left goes first, in the order in which it was begun, and before what this one writes.
#[test]
fn segments_go_in_the_order_in_which_they_were_begun() {
    let stub = Stub::new(always(200, r#"{"FailedPutCount":0}"#));
    let bench = Bench::new(to_stream(&stub));
    // Also where slots come the other way round, as after a step of the clock; the last one is left open.
    let mut spool = Spool::open(&bench.root.path().join("spool"), &bench.log, 1 << 20).unwrap();
    for (line, slot) in [("first\n", 600), ("second\n", 0), ("third\n", 300)] {
        assert!(spool.append(line, BEGIN + slot, Some(1)));
        spool.flush();
        if line != "third\n" {
            spool.seal(|_| true);
        }
    }
    std::mem::forget(spool);
    let mut courier = bench.holding(["fourth\n".to_owned()]);
    assert_eq!(courier.deliver(BEGIN), Round::Empty);
    let seen: Vec<_> = stub.take().iter().map(|request| lines(request).concat()).collect();
    assert_eq!(seen, ["first\n", "second\n", "third\n", "fourth\n"]);
}
