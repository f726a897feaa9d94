//! Flow logs: what their keys mean, and what the specification refuses. A test is called after its statement.

use palisade_policy::Snapshot;
use palisade_policy::diagnostics::Code::{self, *};
use palisade_policy::flow_log::{
    Destination, FileFormat, FlowLog, Interval, LineTarget, Objects, Service, Traffic, Watched,
};
use palisade_policy::model::{EniIndex, SubnetIndex, Vpc};

use super::{faults, load};

/// Eleven lines; a case goes on with tables of its own.
const VPC: &str = r#"[vpc]
cidr_blocks = ["10.0.0.0/16"]
region = "eu-central-1"
[subnet.web]
cidr = "10.0.1.0/24"
[subnet.data]
cidr = "10.0.2.0/24"
[eni.a]
subnet = "data"
address = "10.0.2.10"
attach = { packet = "v" }
"#;

fn vpc(text: &str) -> Vpc {
    load(&format!("{VPC}{text}"))
}

/// The one flow log of a table's keys.
fn log(keys: &str) -> FlowLog {
    let mut vpc = vpc(&format!("[flow_log.f]\n{keys}\n"));
    assert_eq!(vpc.flow_logs.len(), 1);
    vpc.flow_logs.remove(0)
}

/// Checks that keys from line 13 on violate what they should, and nothing else: line, field, kind, what is said.
fn refused(keys: &str, expected: &[(usize, &str, Code, &str)]) {
    let faults = faults(&format!("{VPC}[flow_log.f]\n{keys}\n"));
    let found: Vec<_> =
        faults.iter().map(|fault| (fault.place.line, fault.field.as_str(), fault.code)).collect();
    let places: Vec<_> = expected.iter().map(|&(line, field, code, _)| (line, field, code)).collect();
    assert_eq!(found, places, "in:\n{keys}\n{faults}");
    for (fault, (_, _, _, said)) in faults.iter().zip(expected) {
        let told = format!("{fault}; {}", fault.help);
        assert!(told.contains(said), "`{said}` is not in: {told}");
    }
}

const STDOUT: &str = "destination = { json_lines = \"stdout\" }";

fn service(endpoint: Option<&str>) -> Service {
    Service { region: "eu-central-1".into(), endpoint: endpoint.map(Into::into), profile: None }
}

#[test]
fn fl_1_what_is_watched() {
    let watched = |keys: &str| log(&format!("{keys}\n{STDOUT}")).resource;
    assert_eq!(watched(""), Watched::Vpc);
    assert_eq!(watched("subnet = \"data\""), Watched::Subnet(SubnetIndex(1)));
    assert_eq!(watched("eni = \"a\""), Watched::Eni(EniIndex(0)));
    refused(
        &format!("subnet = \"web\"\neni = \"a\"\n{STDOUT}"),
        &[(14, "flow_log.f.eni", ConflictingKeys, "FL-1")],
    );
}

#[test]
fn fl_4_traffic_types() {
    let traffic = |keys: &str| log(&format!("{keys}\n{STDOUT}")).traffic;
    assert_eq!(traffic(""), Traffic::All);
    assert_eq!(traffic("traffic_type = \"ACCEPT\""), Traffic::Accept);
    assert_eq!(traffic("traffic_type = \"REJECT\""), Traffic::Reject);
    let help = "did you mean `REJECT`? write `ACCEPT`, `REJECT` or `ALL`";
    refused(
        &format!("traffic_type = \"REJECTED\"\n{STDOUT}"),
        &[(13, "flow_log.f.traffic_type", BadForm, help)],
    );
}

/// FL-5: what is changed is another flow log, so it has another id; the same one has the same.
#[test]
fn fl_5_ids_follow_from_everything() {
    let id = |keys: &str| log(keys).id;
    let first = id(STDOUT);
    assert_eq!(first, id(STDOUT));
    for other in [
        "subnet = \"web\"",
        "traffic_type = \"ACCEPT\"",
        "max_aggregation_interval = 60",
        "log_format = \"${srcaddr}\"",
    ] {
        assert_ne!(first, id(&format!("{other}\n{STDOUT}")), "{other}");
    }
    assert_ne!(first, id("destination = { json_lines = \"/run/s\" }"));
    assert_ne!(id("destination = { s3 = \"abc\" }"), id("destination = { s3 = \"abc\", prefix = \"p\" }"));
    assert_eq!(id(&format!("id = \"fl-0a000001\"\n{STDOUT}")), "fl-0a000001");
    // Ids are written into keys of objects: these must never change.
    assert_eq!(first, PINNED);
}

const PINNED: &str = "fl-af75d9c1cf4c15d25";

/// FL-6: the key is resource, traffic type, destination and format; the interval is none of it.
#[test]
fn fl_6_the_same_flow_log_twice() {
    let twice = |one: &str, two: &str| format!("{one}\n{STDOUT}\n[flow_log.g]\n{two}\n{STDOUT}");
    refused(&twice("", ""), &[(15, "flow_log.g", DuplicateFlowLog, "FL-6")]);
    refused(&twice("max_aggregation_interval = 60", ""), &[(15, "flow_log.g", DuplicateFlowLog, "FL-6")]);
    for different in ["subnet = \"web\"", "traffic_type = \"ACCEPT\"", "log_format = \"${srcaddr}\""] {
        vpc(&format!("[flow_log.f]\n{}\n", twice("", different)));
    }
}

#[test]
fn fl_10_intervals() {
    let interval = |keys: &str| log(&format!("{keys}\n{STDOUT}")).interval;
    assert_eq!(interval(""), Interval::TenMinutes);
    assert_eq!(interval("max_aggregation_interval = 60"), Interval::Minute);
    refused(
        &format!("max_aggregation_interval = 300\n{STDOUT}"),
        &[(13, "flow_log.f.max_aggregation_interval", OutOfRange, "60 or 600")],
    );
}

#[test]
fn fl_50_formats() {
    assert_eq!(log(STDOUT).format.fields().len(), 14);
    let own = log(&format!("log_format = \"${{pkt-srcaddr}} ${{palisade-rule}}\"\n{STDOUT}"));
    assert_eq!(own.format.header(), "pkt-srcaddr palisade-rule");
    let text = format!("{VPC}[flow_log.f]\nlog_format = \"${{srcaddr}} ${{dstadr}}\"\n{STDOUT}\n");
    let fault = &faults(&text).iter().next().unwrap().clone();
    assert_eq!((fault.place.line, fault.place.column, &*fault.text), (13, 28, "dstadr"));
    assert!(fault.help.contains("`dstaddr`"), "{}", fault.help);
    let format = |text: &str, said: &str| {
        let keys = format!("log_format = '{text}'\n{STDOUT}");
        refused(&keys, &[(13, "flow_log.f.log_format", BadLogFormat, said)]);
    };
    format("srcaddr", "${name}");
    format("${srcaddr} ${srcaddr}", "named twice");
    format(" ", "at least one field");
}

/// FL-51: nothing here has tags.
#[test]
fn fl_51_tag_fields_are_refused() {
    let keys = format!("log_format = \"${{srcaddr}} ${{instance-tag}}\"\n{STDOUT}");
    refused(&keys, &[(13, "flow_log.f.log_format", BadLogFormat, "no tag keys are chosen")]);
}

#[test]
fn destinations() {
    let to = |text: &str| log(&format!("destination = {{ {text} }}")).destination;
    let objects = Objects::default();
    assert_eq!(to("directory = \"/logs\""), Destination::Directory { path: "/logs".into(), objects });
    let objects = Objects { prefix: "a/b".into(), ..Objects::default() };
    let given = Service { region: "us-east-2".into(), profile: Some("logs".into()), ..service(None) };
    assert_eq!(
        to("s3 = \"my.logs\", prefix = \"a/b\", region = \"us-east-2\", profile = \"logs\""),
        Destination::S3 { bucket: "my.logs".into(), objects, service: given }
    );
    let local = service(Some("http://[::1]:5555"));
    assert_eq!(
        to("log_group = \"/vpc/flows\", endpoint = \"http://[::1]:5555\""),
        Destination::CloudWatchLogs { group: "/vpc/flows".into(), service: local }
    );
    assert_eq!(
        to("delivery_stream = \"flows\""),
        Destination::Firehose { stream: "flows".into(), service: service(None) }
    );
    assert_eq!(to("json_lines = \"stdout\""), Destination::Lines(LineTarget::Stdout));
    assert_eq!(to("json_lines = \"/run/s\""), Destination::Lines(LineTarget::Socket("/run/s".into())));
}

#[test]
fn fl_72_and_fl_73_options() {
    let keys = "destination_options = { file_format = \"parquet\", hive_compatible_partitions = true, per_hour_partition = true }";
    let log = log(&format!("destination = {{ s3 = \"abc\" }}\n{keys}"));
    let all =
        Objects { prefix: String::new(), hive_compatible: true, per_hour: true, format: FileFormat::Parquet };
    assert_eq!(log.destination.objects(), Some(&all));
}

#[test]
fn fl_74_awslogs_is_no_prefix() {
    for prefix in ["AWSLogs", "a/AWSLogs", "AWSLogs/b"] {
        let keys = format!("destination = {{ s3 = \"abc\", prefix = \"{prefix}\" }}");
        refused(&keys, &[(13, "flow_log.f.destination.prefix", BadForm, "FL-74")]);
    }
    log("destination = { s3 = \"abc\", prefix = \"MyAWSLogs\" }");
}

/// FL-76: what belongs to another destination is refused.
#[test]
fn fl_76_keys_of_other_destinations() {
    let to = "flow_log.f.destination";
    refused(
        "destination = { log_group = \"g\", s3 = \"abc\" }",
        &[(13, to, ConflictingKeys, "`s3` and `log_group` exclude each other")],
    );
    for kind in ["log_group", "delivery_stream", "json_lines"] {
        let value = if kind == "json_lines" { "stdout" } else { "name" };
        refused(
            &format!(
                "destination = {{ {kind} = \"{value}\" }}\ndestination_options = {{ per_hour_partition = true }}"
            ),
            &[(14, "flow_log.f.destination_options", ConflictingKeys, "FL-76")],
        );
        refused(
            &format!("destination = {{ {kind} = \"{value}\", prefix = \"p\" }}"),
            &[(13, &format!("{to}.prefix"), ConflictingKeys, "FL-76")],
        );
    }
    refused(
        "destination = { json_lines = \"stdout\", endpoint = \"http://h\", profile = \"p\" }",
        &[
            (13, &format!("{to}.endpoint"), ConflictingKeys, "FL-76"),
            (13, &format!("{to}.profile"), ConflictingKeys, "FL-76"),
        ],
    );
}

/// Flow logs see verdicts and change none, so what workers keep of flows stays good.
#[test]
fn a_change_of_flow_logs_leaves_every_stamp() {
    let one = Snapshot::compile(vpc(""), None);
    let two = Snapshot::compile(vpc(&format!("[flow_log.f]\n{STDOUT}\n")), Some(&one));
    assert_eq!(two.generation(), 2);
    assert_eq!(two.vpc().flow_logs.len(), 1);
    let stamps = |snapshot: &Snapshot| {
        let enis: Vec<_> = snapshot.enis().iter().map(|eni| eni.stamp).collect();
        (enis, snapshot.ownership_stamp())
    };
    assert_eq!(stamps(&one), stamps(&two));
}

#[test]
fn settings_of_the_daemon() {
    let daemon = vpc("").daemon;
    assert_eq!((daemon.flow_log_spool_limit, daemon.flow_log_records), (256 << 20, 1 << 20));
    assert_eq!(daemon.flow_log_spool("vpc-1"), std::path::Path::new("/var/lib/palisade/vpc-1/flow-logs"));
    let daemon = vpc(
        "[daemon]\nflow_log_spool = \"/s\"\nflow_log_spool_limit = 1\nflow_log_records = 5\ncredentials_file = \"/c\"\n",
    )
    .daemon;
    assert_eq!((daemon.flow_log_spool_limit, daemon.flow_log_records), (1 << 20, 5));
    assert_eq!(daemon.flow_log_spool("vpc-1"), std::path::Path::new("/s"));
    assert_eq!(daemon.credentials_file.as_deref(), Some(std::path::Path::new("/c")));
}
