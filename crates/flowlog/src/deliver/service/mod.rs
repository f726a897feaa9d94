//! AWS services, and others that speak their protocols: one signed request at a time, each with an end.

mod credentials;
mod fault;
mod sign;

use std::fs::{self, File};
use std::io;
use std::time::{Duration, Instant};

use palisade_policy::flow_log::Service;
use sha2::{Digest as _, Sha256};
use ureq::Agent;
use ureq::http::{self, Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

pub(crate) use credentials::Keyring;
pub(crate) use fault::{Fault, FaultKind};
use sign::{Scope, Signed};

/// How long it may take to reach a service.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a service may think about a request that it has.
const ANSWER: Duration = Duration::from_secs(30);

/// How long a request may take in all: the largest object over a slow line.
const WHOLE: Duration = Duration::from_mins(5);

/// Bytes of an answer that are read; the longest asked for tells of 500 records.
const LONGEST_ANSWER: u64 = 1 << 20;

/// Asks one service.
#[derive(Debug)]
pub(crate) struct Client {
    /// Made with the first request.
    agent: Option<Agent>,
    /// `https://HOST[:PORT]`.
    origin: String,
    region: String,
    name: &'static str,
    keyring: Keyring,
}

/// The time of day, from the moment at which a round of deliveries began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    now: u32,
    began: Instant,
}

/// What is sent.
pub(crate) enum Body<'a> {
    Text(&'a [u8]),
    File {
        file: &'a File,
        /// Of the content.
        sha256: [u8; 32],
    },
}

impl Clock {
    pub(crate) fn at(now: u32) -> Self {
        Self { now, began: Instant::now() }
    }

    /// Unix seconds. A round may last longer than a signature is good for, which is some minutes.
    fn now(self) -> u32 {
        let elapsed = u32::try_from(self.began.elapsed().as_secs()).unwrap_or(u32::MAX);
        self.now.saturating_add(elapsed)
    }
}

impl Client {
    /// Asks a service by its name in signatures; `host` is where AWS has it.
    pub(crate) fn new(service: &Service, name: &'static str, host: &str, keyring: Keyring) -> Self {
        let own = || format!("https://{host}");
        let origin = service.endpoint.clone().unwrap_or_else(own);
        Self { agent: None, origin, region: service.region.clone(), name, keyring }
    }

    /// Puts an object.
    pub(crate) fn put(&mut self, path: &str, body: &Body<'_>, clock: Clock) -> Result<(), Fault> {
        self.send("PUT", &sign::encode(path), &[], body, clock).map(drop)
    }

    /// Calls an operation of a service that speaks JSON.
    pub(crate) fn call(
        &mut self,
        operation: &str,
        content: &serde_json::Value,
        clock: Clock,
    ) -> Result<serde_json::Value, Fault> {
        let text = content.to_string();
        let headers = [
            ("content-type", "application/x-amz-json-1.1".to_owned()),
            ("x-amz-target", operation.to_owned()),
        ];
        let answer = self.send("POST", "/", &headers, &Body::Text(text.as_bytes()), clock)?;
        if answer.is_empty() {
            return Ok(serde_json::Value::Null);
        }
        serde_json::from_slice(&answer)
            .map_err(|error| Fault::silence(format_args!("{}: {error}", self.origin)))
    }

    fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&'static str, String)],
        body: &Body<'_>,
        clock: Clock,
    ) -> Result<Vec<u8>, Fault> {
        let silence =
            |error: &dyn std::fmt::Display| Fault::silence(format_args!("{}: {error}", self.origin));
        let request = self.request(method, path, headers, body, clock)?;
        let agent = match &self.agent {
            Some(agent) => agent.clone(),
            None => self.agent.insert(agent().map_err(|error| Fault::silence(&error))?).clone(),
        };
        let answer = match body {
            Body::Text(text) => agent.run(request.map(|()| *text)),
            Body::File { file, .. } => agent.run(request.map(|()| *file)),
        };
        let mut answer: Response<ureq::Body> = answer.map_err(|error| silence(&error))?;
        let content = answer.body_mut().with_config().limit(LONGEST_ANSWER).read_to_vec();
        let content = content.map_err(|error| silence(&error))?;
        match answer.status() {
            StatusCode::OK => Ok(content),
            status => Err(Fault::answer(status.as_u16(), &content)),
        }
    }

    /// The request with its signature.
    fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&'static str, String)],
        body: &Body<'_>,
        clock: Clock,
    ) -> Result<http::Request<()>, Fault> {
        let credentials = self.keyring.find(|name| std::env::var(name).ok());
        let credentials = credentials.map_err(|error| Fault::no_key(&error))?;
        let payload = match body {
            Body::Text(text) => sign::hex(&Sha256::digest(text)),
            Body::File { sha256, .. } => sign::hex(sha256),
        };
        let now = clock.now();
        let mut headers = headers.to_vec();
        headers.push(("host", self.host().to_owned()));
        headers.push(("x-amz-content-sha256", payload.clone()));
        headers.push(("x-amz-date", sign::timestamp(now)));
        headers.extend(credentials.token().map(|token| ("x-amz-security-token", token.to_owned())));
        headers.sort_by_key(|(name, _)| *name);
        let signed = Signed { method, path, headers: &headers, payload: &payload };
        let scope = Scope { region: &self.region, service: self.name, now };
        let signature = sign::authorization(&signed, scope, &credentials);
        let mut request = http::Request::builder().method(method).uri(format!("{}{path}", self.origin));
        for (name, value) in &headers {
            request = request.header(*name, value);
        }
        request.header("authorization", signature).body(()).map_err(|error| Fault::silence(&error))
    }

    /// Host and port, as the request says them.
    fn host(&self) -> &str {
        self.origin.split_once("://").map_or(&*self.origin, |(_, host)| host)
    }
}

/// Where AWS has its services of a Region.
pub(crate) fn domain(region: &str) -> &'static str {
    if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" }
}

fn agent() -> io::Result<Agent> {
    let tls = TlsConfig::builder();
    let tls = match std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) {
        Some(path) => tls.root_certs(bundle(path.as_ref())?),
        None => tls,
    };
    // Neither redirects nor proxies: what is signed for one host goes to no other.
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .proxy(None)
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(ANSWER))
        .timeout_recv_body(Some(ANSWER))
        .timeout_global(Some(WHOLE))
        .user_agent(concat!("palisade/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls.build());
    Ok(config.build().new_agent())
}

/// The authorities that a file names instead of the usual ones.
fn bundle(path: &std::path::Path) -> io::Result<RootCerts> {
    let told =
        |what: &dyn std::fmt::Display| io::Error::other(format!("AWS_CA_BUNDLE: {}: {what}", path.display()));
    let text = fs::read(path).map_err(|error| told(&error))?;
    let mut found = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| told(&error))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(told(&"there is no certificate in it"));
    }
    Ok(RootCerts::from(found))
}
