//! The daemon's end: takes requests from any number of clients, and cannot be held up by any of them.
//!
//! At most [`CLIENTS`] are served at a time, more are told so. A request has a greatest length, a client that neither
//! asks nor reads is cut off. Answers are worked out on threads of their own, never on the one that serves sockets.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::protocol::{self, Code, MAX_REQUEST, Refusal, Request, Response};

/// Clients served at a time.
const CLIENTS: usize = 64;
/// How long a client may be silent.
const IDLE: Duration = Duration::from_secs(30);
/// How long an answer may take to be read.
const READING: Duration = Duration::from_secs(30);
/// How much of a request that is too long is still read, so that its sender gets to read the answer, and for how long.
const EXCESS: (u64, Duration) = (1 << 20, Duration::from_secs(1));

/// What answers: the daemon, or a stand-in in tests.
pub(crate) trait Backend: Send + Sync + 'static {
    /// Carries out a request. Blocks as long as that takes. The answer is JSON text, of one line: a list of connections is
    /// long enough without a tree of it.
    ///
    /// # Errors
    /// Why it is not carried out.
    fn answer(&self, request: Request) -> Result<String, Refusal>;
}

/// Serves clients for ever.
pub(crate) async fn serve(listener: UnixListener, backend: Arc<dyn Backend>) {
    let places = Arc::new(Semaphore::new(CLIENTS));
    loop {
        match listener.accept().await {
            Ok((client, _)) => admit(client, &places, &backend),
            Err(error) => {
                tracing::warn!(%error, "the control socket cannot take a client");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn admit(mut client: UnixStream, places: &Arc<Semaphore>, backend: &Arc<dyn Backend>) {
    let backend = Arc::clone(backend);
    let Ok(place) = Arc::clone(places).try_acquire_owned() else {
        let refusal =
            Refusal::new(Code::Busy, format!("{CLIENTS} clients are being served"), "try again later");
        tell_off(&client, refusal);
        return;
    };
    tokio::spawn(async move {
        let (read, write) = client.split();
        if let Err(error) = converse(read, write, backend).await {
            tracing::debug!(%error, "a control client was cut off");
        }
        drop(place);
    });
}

/// Says no without waiting for anything.
fn tell_off(client: &UnixStream, refusal: Refusal) {
    if let Ok(line) = protocol::write(&Response::<()>::Error(refusal)) {
        // A client that cannot take a line at once goes without.
        let _ = client.try_write(&line);
    }
}

/// Answers one client's requests until it hangs up.
async fn converse(
    read: impl AsyncRead + Unpin,
    mut write: impl AsyncWrite + Unpin,
    backend: Arc<dyn Backend>,
) -> io::Result<()> {
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut bounded = (&mut read).take(MAX_REQUEST as u64);
        let length = timeout(IDLE, bounded.read_until(b'\n', &mut line)).await??;
        if length == 0 {
            return Ok(());
        }
        if length == MAX_REQUEST && !line.ends_with(b"\n") {
            // What follows is the rest of this request, so there is no going on.
            let message = format!("a request has at most {MAX_REQUEST} bytes");
            let refusal = Refusal::new(Code::TooLong, message, "ask in fewer words");
            send(&mut write, protocol::write(&Response::<()>::Error(refusal))?).await?;
            return swallow(read).await;
        }
        if !line.trim_ascii().is_empty() {
            send(&mut write, answer(&line, &backend).await?).await?;
        }
    }
}

/// Reads on to no purpose: a socket that is closed with bytes unread takes the answer with it.
async fn swallow(read: impl AsyncRead + Unpin) -> io::Result<()> {
    let mut excess = read.take(EXCESS.0);
    timeout(EXCESS.1, tokio::io::copy(&mut excess, &mut tokio::io::sink())).await?.map(drop)
}

async fn send(write: &mut (impl AsyncWrite + Unpin), answer: Vec<u8>) -> io::Result<()> {
    timeout(READING, write.write_all(&answer)).await?
}

async fn answer(line: &[u8], backend: &Arc<dyn Backend>) -> io::Result<Vec<u8>> {
    let request: Request = match protocol::read(line) {
        Ok(request) => request,
        Err(error) => return Ok(protocol::write(&Response::<()>::Error(not_a_request(&error)))?),
    };
    let backend = Arc::clone(backend);
    let work = move || {
        // Only this answer is lost; the state behind the backend is guarded by locks that survive a panic.
        let result = std::panic::catch_unwind(AssertUnwindSafe(|| backend.answer(request)));
        match result {
            Ok(Ok(answer)) => Ok(protocol::ok(&answer)),
            Ok(Err(refusal)) => protocol::write(&Response::<()>::Error(refusal)),
            Err(_) => protocol::write(&Response::<()>::Error(internal())),
        }
    };
    Ok(tokio::task::spawn_blocking(work).await??)
}

fn not_a_request(error: &serde_json::Error) -> Refusal {
    let help = r#"send one JSON object per line, such as {"command":"status"}; see docs/control-socket.md"#;
    Refusal::new(Code::BadRequest, format!("this is not a request: {error}"), help)
}

fn internal() -> Refusal {
    Refusal::new(Code::Internal, "the daemon failed to work out the answer", "see its log, and report a bug")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use tokio::io::{AsyncBufReadExt, DuplexStream};

    /// Answers with what it was asked.
    struct Echo;

    impl Backend for Echo {
        fn answer(&self, request: Request) -> Result<String, Refusal> {
            match request {
                Request::Reload {} => Err(Refusal::new(Code::BadConfig, "no", "mend it")),
                Request::Version {} => panic!("a bug"),
                Request::Explain { packet } => Ok(json!({ "length": packet.len() }).to_string()),
                other => Ok(serde_json::to_string(&other).unwrap()),
            }
        }
    }

    struct Client {
        stream: BufReader<DuplexStream>,
    }

    impl Client {
        fn connect() -> Self {
            let (ours, theirs) = tokio::io::duplex(1024);
            tokio::spawn(async move {
                let (read, write) = tokio::io::split(theirs);
                converse(read, write, Arc::new(Echo)).await
            });
            Self { stream: BufReader::new(ours) }
        }

        async fn send(&mut self, bytes: &[u8]) {
            self.stream.get_mut().write_all(bytes).await.unwrap();
        }

        async fn receive(&mut self) -> Value {
            let mut line = String::new();
            self.stream.read_line(&mut line).await.unwrap();
            serde_json::from_str(&line).unwrap()
        }

        async fn ask(&mut self, line: &str) -> Value {
            self.send(line.as_bytes()).await;
            self.send(b"\n").await;
            self.receive().await
        }
    }

    #[tokio::test]
    async fn requests_are_answered_in_order_on_one_connection() {
        let mut client = Client::connect();
        assert_eq!(client.ask(r#"{"command":"status"}"#).await, json!({"ok": {"command": "status"}}));
        let answer = client.ask(r#"{"command":"conns","limit":3}"#).await;
        assert_eq!(answer, json!({"ok": {"command": "conns", "limit": 3}}));
        let answer = client.ask(r#"{"command":"reload"}"#).await;
        assert_eq!(answer, json!({"error": {"code": "bad-config", "message": "no", "help": "mend it"}}));
    }

    #[tokio::test]
    async fn hostile_lines_get_an_error_and_the_connection_lives_on() {
        let mut client = Client::connect();
        for line in ["nonsense", "{", "{\"command\":7}", "\u{fffd}", "[[[[[[[["] {
            assert_eq!(client.ask(line).await["error"]["code"], "bad-request", "{line}");
        }
        client.send(b"\xff\xfe\x00\n").await;
        assert_eq!(client.receive().await["error"]["code"], "bad-request");
        client.send(b"\n  \n").await;
        assert_eq!(client.ask(r#"{"command":"status"}"#).await["ok"]["command"], "status");
    }

    /// Requests of the documentation, with bytes and words exchanged: each line gets one answer, and none ends the rest.
    #[tokio::test]
    async fn any_line_gets_one_answer() {
        let page = include_str!("../../../../docs/control-socket.md");
        let requests: Vec<_> = page.split('`').filter(|text| text.starts_with("{\"command\"")).collect();
        let (mut rng, mut client) = (fastrand::Rng::new(), Client::connect());
        let seed = rng.get_seed();
        let (mut read, mut refused) = (0, 0);
        for _ in 0..3_000 {
            let mut line = rng.choice(&requests).unwrap().as_bytes().to_vec();
            for _ in 0..rng.usize(..4) {
                let (at, other) = (rng.usize(..line.len()), rng.choice(&requests).unwrap().as_bytes());
                match rng.u8(..3) {
                    0 => line[at] = rng.u8(..),
                    1 => drop(line.splice(at.., other[rng.usize(..other.len())..].iter().copied())),
                    _ => line.truncate(at.max(1)),
                }
            }
            line.retain(|byte| *byte != b'\n');
            if line.trim_ascii().is_empty() {
                continue;
            }
            client.send(&[&line[..], b"\n"].concat()).await;
            match client.receive().await {
                answer if answer["error"]["code"] == "bad-request" => refused += 1,
                answer => {
                    let known = answer.get("ok").is_some() || answer.get("error").is_some();
                    assert!(known, "seed {seed}: {answer}");
                    read += 1;
                }
            }
        }
        assert!(read > 300 && refused > 300, "seed {seed}: {read} read, {refused} refused");
        assert_eq!(client.ask(r#"{"command":"status"}"#).await["ok"]["command"], "status");
    }

    #[tokio::test]
    async fn the_longest_request_passes_and_a_longer_one_is_cut_off() {
        let frame = r#"{"command":"explain","packet":""}"#.len() + 1;
        let packet = "x".repeat(MAX_REQUEST - frame);
        let mut client = Client::connect();
        let answer = client.ask(&format!(r#"{{"command":"explain","packet":"{packet}"}}"#)).await;
        assert_eq!(answer["ok"]["length"], packet.len());
        client.send(&vec![b'x'; 2 * MAX_REQUEST]).await;
        assert_eq!(client.receive().await["error"]["code"], "too-long");
        let mut rest = Vec::new();
        client.stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty(), "the connection is closed");
    }

    #[tokio::test]
    async fn a_fault_of_the_backend_is_an_answer() {
        let mut client = Client::connect();
        assert_eq!(client.ask(r#"{"command":"version"}"#).await["error"]["code"], "internal");
        assert_eq!(client.ask(r#"{"command":"status"}"#).await["ok"]["command"], "status");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_cut_off() {
        let mut client = Client::connect();
        client.send(b"{\"comm").await;
        let mut rest = Vec::new();
        client.stream.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_cut_off() {
        let (mut ours, theirs) = tokio::io::duplex(16);
        let (read, write) = tokio::io::split(theirs);
        let served = tokio::spawn(converse(read, write, Arc::new(Echo)));
        ours.write_all(b"{\"command\":\"st").await.unwrap();
        ours.write_all(b"atus\"}\n").await.unwrap();
        let error = served.await.unwrap().expect_err("the answer does not fit and nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn one_client_too_many_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.sock");
        tokio::spawn(serve(UnixListener::bind(&path).unwrap(), Arc::new(Echo)));
        let mut clients = Vec::new();
        for _ in 0..CLIENTS {
            let mut client = BufReader::new(UnixStream::connect(&path).await.unwrap());
            client.write_all(b"{\"command\":\"status\"}\n").await.unwrap();
            let mut line = String::new();
            client.read_line(&mut line).await.unwrap();
            clients.push(client);
        }
        let mut line = String::new();
        let extra = UnixStream::connect(&path).await.unwrap();
        BufReader::new(extra).read_line(&mut line).await.unwrap();
        assert!(line.contains("\"busy\""), "{line}");
        clients.pop();
        tokio::task::yield_now().await;
    }
}
