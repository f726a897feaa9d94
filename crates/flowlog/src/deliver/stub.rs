//! A service for tests: notes every request and answers as it is told.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// In place of a status: the connection is closed, as if the service had died.
pub(super) const HANG_UP: u16 = 0;

/// A request that came.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    /// Names in lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Seen {
    /// The operation of a service that speaks JSON.
    pub(super) fn operation(&self) -> &str {
        self.headers["x-amz-target"].split_once('.').unwrap().1
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// A listener on the loopback, for as long as the test runs.
pub(super) struct Stub {
    pub(super) endpoint: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

type Answer = dyn FnMut(&Seen) -> (u16, String) + Send;

impl Stub {
    /// Answers each request by status and body.
    pub(super) fn new(answer: impl FnMut(&Seen) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&seen);
        let mut answer: Box<Answer> = Box::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = serve(stream.unwrap(), &noted, &mut answer);
            }
        });
        Self { endpoint, seen }
    }

    /// What came since the last time.
    pub(super) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// One request per connection.
fn serve(stream: TcpStream, seen: &Mutex<Vec<Seen>>, answer: &mut Answer) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let request = Seen { method, path, headers, body };
    let (status, content) = answer(&request);
    seen.lock().unwrap().push(request);
    if status == HANG_UP {
        return Ok(());
    }
    let head =
        format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", content.len());
    let mut stream = stream;
    stream.write_all(format!("{head}{content}").as_bytes())
}
