//! One JSON request per line, one JSON answer per line.

use clap::ValueEnum;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Longest request in bytes, its newline included.
pub(crate) const MAX_REQUEST: usize = 65_536;

/// What a client may ask.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// What the daemon does.
    Status {},
    /// Tracked connections.
    Conns(ConnsRequest),
    /// End tracked connections.
    KillConns(KillRequest),
    /// Rules in force, and how many packets each decided.
    Rules {},
    /// Mirror sessions, and what became of their copies.
    Mirror {},
    /// Flows, which are watched for a while from then on.
    Flows(FlowsRequest),
    /// What would happen to a packet.
    Explain {
        /// The packet, in the notation of `palisade explain`.
        packet: String,
    },
    /// Read the configuration again.
    Reload {},
    /// Version of the daemon.
    Version {},
}

/// Which connections to list.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConnsRequest {
    /// Only those of this ENI, by name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) eni: Option<String>,
    /// Only those of which all these filter words are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) filter: Vec<String>,
    /// Most connections to list, 1 to 100,000.
    #[serde(default = "default_limit")]
    pub(crate) limit: u32,
}

/// Which connections to end.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KillRequest {
    /// Those of which all these filter words are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) filter: Vec<String>,
    /// Everything; must be said, and excludes `filter`.
    #[serde(default)]
    pub(crate) all: bool,
    /// End nothing.
    #[serde(default)]
    pub(crate) dry_run: bool,
    /// Most connections to list, 1 to 100,000.
    #[serde(default = "default_limit")]
    pub(crate) limit: u32,
}

/// Most connections that one answer lists.
pub(crate) const MAX_LIMIT: u32 = 100_000;

fn default_limit() -> u32 {
    1000
}

/// Which flows to show.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct FlowsRequest {
    /// Only those of which all these filter words are true.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) filter: Vec<String>,
    /// Which come first.
    pub(crate) sort: FlowOrder,
    /// Most flows to list, 1 to [`MAX_FLOWS`].
    pub(crate) limit: u32,
    /// Seconds over which rates are taken, one of [`INTERVALS`].
    pub(crate) interval: u8,
}

/// What flows are sorted by, the greatest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum FlowOrder {
    /// Bits per second of late
    #[default]
    Rate,
    /// Packets since they are watched
    Packets,
    /// Bytes since they are watched
    Bytes,
    /// Time of the last packet
    Last,
}

/// Most flows that one answer lists: all that are kept.
pub(crate) const MAX_FLOWS: u32 = 65_536;

/// Seconds over which rates can be taken.
pub(crate) const INTERVALS: std::ops::RangeInclusive<u8> = 1..=10;

impl Default for FlowsRequest {
    fn default() -> Self {
        Self { filter: Vec::new(), sort: FlowOrder::Rate, limit: 50, interval: 2 }
    }
}

impl FlowsRequest {
    /// Whether its numbers are in range.
    ///
    /// # Errors
    /// The interval is not.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if INTERVALS.contains(&self.interval) {
            return Ok(());
        }
        let what = format!("`interval`: rates cannot be taken over {} seconds", self.interval);
        let help = format!("write {} to {}", INTERVALS.start(), INTERVALS.end());
        Err(Refusal::new(Code::BadRequest, what, help))
    }
}

/// The answer to a request, as it crosses the socket.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Response<T> {
    /// What was asked for.
    Ok(T),
    /// Why it cannot be had.
    Error(Refusal),
}

/// Why a request is not carried out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Refusal {
    /// For programs.
    pub(crate) code: Code,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: String,
    /// Of a configuration with errors: each of them, as `palisade check --output json` shows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) errors: Option<serde_json::Value>,
    /// The same for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rendered: Option<String>,
}

/// Kinds of refusal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Code {
    /// The request is not one.
    BadRequest,
    /// The request is longer than [`MAX_REQUEST`].
    TooLong,
    /// Too many clients.
    Busy,
    /// Something that was named does not exist.
    Unknown,
    /// The configuration file has errors, or cannot be read.
    BadConfig,
    /// The change could not be carried out; what was in force still is.
    Failed,
    /// A fault of the daemon.
    Internal,
}

impl Refusal {
    /// A refusal without a list of errors.
    pub(crate) fn new(code: Code, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: help.into(), errors: None, rendered: None }
    }

    /// In one line: the places and texts of the errors if there are any, else what to do.
    pub(crate) fn details(&self) -> String {
        let errors = self.errors.as_ref().and_then(serde_json::Value::as_array);
        let one = |error: &serde_json::Value| {
            let message = error["message"].as_str().unwrap_or_default();
            format!("line {} column {}: {message}", error["line"], error["column"])
        };
        errors
            .map_or_else(|| self.help.clone(), |errors| errors.iter().map(one).collect::<Vec<_>>().join("; "))
    }
}

/// Reads one line, which need not be JSON.
pub(crate) fn read<T: DeserializeOwned>(line: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(line)
}

/// The line of [`Response::Ok`] with something that is JSON text already.
pub(crate) fn ok(json: &str) -> Vec<u8> {
    [b"{\"ok\":", json.as_bytes(), b"}\n"].concat()
}

/// One line with its newline.
///
/// # Errors
/// A value that JSON cannot express, which no type of the protocol is.
pub(crate) fn write<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<Request, serde_json::Error> {
        read(text.as_bytes())
    }

    #[test]
    fn requests_are_read_as_documented() {
        assert_eq!(request(r#"{"command":"status"}"#).unwrap(), Request::Status {});
        let all = Request::Conns(ConnsRequest { limit: 1000, ..ConnsRequest::default() });
        assert_eq!(request(r#"{"command":"conns"}"#).unwrap(), all);
        let some =
            ConnsRequest { eni: Some("web-1".to_owned()), limit: 5, filter: vec!["port=22".to_owned()] };
        let line = r#"{"command":"conns","eni":"web-1","limit":5,"filter":["port=22"]}"#;
        assert_eq!(request(line).unwrap(), Request::Conns(some));
        let kill = KillRequest { filter: vec!["port=22".to_owned()], limit: 1000, ..KillRequest::default() };
        let line = r#"{"command":"kill-conns","filter":["port=22"]}"#;
        assert_eq!(request(line).unwrap(), Request::KillConns(kill));
        assert_eq!(request(r#"{"command":"flows"}"#).unwrap(), Request::Flows(FlowsRequest::default()));
        let explain = Request::Explain { packet: "icmp 10.0.0.1 > 10.0.0.2".to_owned() };
        assert_eq!(request(r#"{"command":"explain","packet":"icmp 10.0.0.1 > 10.0.0.2"}"#).unwrap(), explain);
    }

    #[test]
    fn what_is_not_a_request_is_refused() {
        let wrong = [
            "",
            "status",
            "[]",
            r#"{"command":"halt"}"#,
            r#"{"command":"explain"}"#,
            r#"{"command":"conns","limit":-1}"#,
            r#"{"command":"conns","filter":"port=22"}"#,
            r#"{"command":"kill-conns","eni":"a"}"#,
            r#"{"command":"flows","sort":"size"}"#,
            r#"{"command":"flows","interval":256}"#,
            r#"{"command":"conns","enni":"a"}"#,
            r#"{"command":"status","x":1}"#,
            "\u{0}\u{1}",
        ];
        for text in wrong {
            assert!(request(text).is_err(), "{text:?} was taken for a request");
        }
    }

    #[test]
    fn the_documentation_shows_requests_and_answers_that_are() {
        let page = include_str!("../../../../docs/control-socket.md");
        let quoted: Vec<_> = page.split('`').filter(|text| text.starts_with("{\"command\"")).collect();
        assert!(quoted.len() >= 11, "every command is documented: {quoted:?}");
        for text in quoted {
            assert!(request(text).is_ok(), "{text}");
        }
        let blocks: Vec<_> =
            page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        let [error, status, conns, kill, rules, mirror, flows, explain, reload] = &blocks[..] else {
            panic!("nine examples: {blocks:?}")
        };
        assert!(read::<Response<()>>(error.as_bytes()).is_ok());
        assert!(read::<crate::report::status::StatusReport>(status.as_bytes()).is_ok());
        assert!(read::<crate::report::conns::ConnsReport>(conns.as_bytes()).is_ok());
        assert!(read::<crate::report::conns::KillReport>(kill.as_bytes()).is_ok());
        assert!(read::<crate::report::rules::RulesReport>(rules.as_bytes()).is_ok());
        assert!(read::<crate::report::mirror::MirrorReport>(mirror.as_bytes()).is_ok());
        assert!(read::<crate::report::flows::FlowsReport>(flows.as_bytes()).is_ok());
        assert!(read::<crate::report::explain::ExplainReport>(explain.as_bytes()).is_ok());
        assert!(read::<crate::report::reload::ReloadReport>(reload.as_bytes()).is_ok());
    }

    #[test]
    fn requests_survive_the_way_there() {
        for sent in [
            Request::Status {},
            Request::Conns(ConnsRequest { eni: Some("é".to_owned()), limit: 7, ..ConnsRequest::default() }),
            Request::KillConns(KillRequest { all: true, dry_run: true, limit: 7, ..KillRequest::default() }),
            Request::Rules {},
            Request::Mirror {},
            Request::Flows(FlowsRequest { sort: FlowOrder::Last, limit: 7, ..FlowsRequest::default() }),
            Request::Explain { packet: "a\n\"b".to_owned() },
            Request::Reload {},
            Request::Version {},
        ] {
            let line = write(&sent).unwrap();
            assert_eq!(
                line.iter().position(|byte| *byte == b'\n'),
                Some(line.len() - 1),
                "one line per request"
            );
            assert_eq!(read::<Request>(&line).unwrap(), sent);
        }
    }

    #[test]
    fn an_answer_is_ok_or_an_error() {
        let line = write(&Response::Ok(7)).unwrap();
        assert_eq!(line, b"{\"ok\":7}\n");
        assert_eq!(ok("7"), line);
        let refusal: Response<u8> = Response::Error(Refusal::new(Code::BadRequest, "no", "yes"));
        assert_eq!(
            write(&refusal).unwrap(),
            b"{\"error\":{\"code\":\"bad-request\",\"message\":\"no\",\"help\":\"yes\"}}\n"
        );
    }
}
