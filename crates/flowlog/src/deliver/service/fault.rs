//! Why a service did not take what it was given.

use std::fmt;
use std::io;

/// A refusal, or no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// The service's word for it, such as `NoSuchBucket`; empty: there was no answer.
    pub(crate) code: String,
    pub(crate) message: String,
}

/// What AWS tells of failed deliveries (FL-77).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FaultKind {
    RateLimited,
    Access,
    Unknown,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            FaultKind::RateLimited => "Rate limited",
            FaultKind::Access => "Access error",
            FaultKind::Unknown => "Unknown error",
        })?;
        for part in [&self.code, &self.message] {
            if !part.is_empty() {
                write!(f, ": {part}")?;
            }
        }
        Ok(())
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::other(fault.to_string())
    }
}

impl Fault {
    /// Nobody answered, or the answer broke off.
    pub(super) fn silence(message: impl fmt::Display) -> Self {
        Self { kind: FaultKind::Unknown, code: String::new(), message: message.to_string() }
    }

    /// There is no key to sign with.
    pub(super) fn no_key(error: &io::Error) -> Self {
        Self { kind: FaultKind::Access, code: String::new(), message: error.to_string() }
    }

    /// An answer that is no success: XML of S3, JSON of the others.
    pub(super) fn answer(status: u16, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let (code, message) =
            in_json(&text).unwrap_or_else(|| (in_xml(&text, "Code"), in_xml(&text, "Message")));
        let code = if code.is_empty() { format!("HTTP {status}") } else { code };
        Self { kind: kind(status, &code), code, message }
    }
}

fn kind(status: u16, code: &str) -> FaultKind {
    let limits = ["Throttl", "SlowDown", "LimitExceeded", "TooManyRequests", "ServiceUnavailable"];
    let refusals = ["AccessDenied", "NoSuchBucket", "ResourceNotFound", "InvalidAccessKeyId", "Signature"];
    let tells = |words: &[&str]| words.iter().any(|word| code.contains(word));
    if status == 429 || status == 503 || tells(&limits) {
        FaultKind::RateLimited
    } else if matches!(status, 401 | 403) || tells(&refusals) {
        FaultKind::Access
    } else {
        FaultKind::Unknown
    }
}

/// `{"__type": "com.amazonaws…#Code", "message": "…"}`.
fn in_json(text: &str) -> Option<(String, String)> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    let word = |key: &str| value.get(key).and_then(serde_json::Value::as_str);
    let code = word("__type")?;
    let code = code.rsplit_once('#').map_or(code, |(_, code)| code);
    let message = word("message").or_else(|| word("Message")).unwrap_or_default();
    Some((code.to_owned(), message.to_owned()))
}

/// The text of the first element of a name; errors of S3 have no attributes and no nesting.
fn in_xml(text: &str, name: &str) -> String {
    let inner = text.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once("</"));
    inner.map_or_else(String::new, |(inner, _)| inner.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FL-77.
    #[test]
    fn fl_77_what_is_told_of_failures() {
        let told = |status, body: &str| Fault::answer(status, body.as_bytes()).to_string();
        let xml =
            "<?xml version=\"1.0\"?><Error><Code>NoSuchBucket</Code><Message>No bucket</Message></Error>";
        assert_eq!(told(404, xml), "Access error: NoSuchBucket: No bucket");
        let json = r#"{"__type":"com.amazonaws.logs#ThrottlingException","message":"Rate exceeded"}"#;
        assert_eq!(told(400, json), "Rate limited: ThrottlingException: Rate exceeded");
        assert_eq!(told(403, ""), "Access error: HTTP 403");
        assert_eq!(told(503, "<Code>SlowDown</Code>"), "Rate limited: SlowDown");
        assert_eq!(told(500, "<html>"), "Unknown error: HTTP 500");
    }
}
