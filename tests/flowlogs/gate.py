"""A gate in front of a server that speaks S3, CloudWatch Logs and Firehose.

The gate checks every signature against botocore's own computation of it, which the server does not, and can end whoever asks
behind a request that the server has taken, before the answer.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import ipaddress
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Callable, Collection

import boto3
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDTEST", "AWS_SECRET_ACCESS_KEY": "s3cr3t/+=", "AWS_SESSION_TOKEN": "t0ken"}
HEADER = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status"
)
PASSED = 0


def same(what: str, found: object, expected: object) -> None:
    """Ends the test unless both are the same."""
    global PASSED
    if found != expected:
        sys.exit(f"{what}:\n  found    {found}\n  expected {expected}\ntest result: FAILED. {PASSED} passed; 1 failed")
    PASSED += 1


def free_port() -> int:
    """A port of the loopback that nobody has."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class QuietServer(ThreadingHTTPServer):
    """Whoever breaks off a connection knows why."""

    def handle_error(self, *_: object) -> None:
        """Says nothing."""


class Gate:
    """Between publisher and server."""

    def __init__(self, server: int, tls: ssl.SSLContext | None = None) -> None:
        self.port, self.tls = free_port(), tls
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.lock = threading.Lock()
        self.taken: Callable[[int], bool] = lambda _: False
        # Called before the server is asked; may take its time. True: the server is not asked, and is said to be overloaded.
        self.refuses: Callable[[], bool] = lambda: False
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_request(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                gate.faults += [f"{self.command} {self.path}: {fault}" for fault in unsigned(self, body)]
                if gate.refuses():
                    self.answer(503, b"<Error><Code>SlowDown</Code></Error>")
                    return
                upstream = http.client.HTTPConnection("127.0.0.1", server, timeout=30)
                upstream.request(self.command, self.path, body, dict(self.headers))
                answer = upstream.getresponse()
                content = as_aws(answer.read())
                with gate.lock:
                    gate.requests.append(self.headers.get("X-Amz-Target", f"{self.command} {self.path}"))
                    is_end = gate.taken(len(gate.requests))
                if is_end:
                    self.close_connection = True
                    return
                self.answer(answer.status, content)

            def answer(self, status: int, content: bytes) -> None:
                # Whoever asked may have been killed for another request.
                with contextlib.suppress(OSError):
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)

            do_PUT = do_POST = do_GET = do_HEAD = handle_request  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.handler = Handler
        self.server: QuietServer | None = None

    @property
    def endpoint(self) -> str:
        """Where the publisher asks."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def open(self) -> None:
        """Lets requests through."""
        self.server = QuietServer(("127.0.0.1", self.port), self.handler)
        if self.tls:
            self.server.socket = self.tls.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """An outage: nobody answers."""
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


def as_aws(content: bytes) -> bytes:
    """An answer of the server as AWS gives it, whose index of the last event that is too old is the one behind it."""
    if b'"tooOldLogEventEndIndex"' not in content:
        return content
    answer = json.loads(content)
    answer["rejectedLogEventsInfo"]["tooOldLogEventEndIndex"] += 1
    return json.dumps(answer).encode()


def authority(folder: str) -> tuple[ssl.SSLContext, str]:
    """TLS for the loopback, and the file of the authority that vouches for it."""
    now = datetime.now(timezone.utc)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("authority", "gate")]
    loopback = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    limits = [x509.BasicConstraints(ca=True, path_length=0), x509.BasicConstraints(ca=False, path_length=None)]
    files = []
    for key, name, limit in zip(keys, names, limits):
        made = x509.CertificateBuilder(names[0], name, key.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        made = made.add_extension(limit, critical=True).add_extension(loopback, critical=False)
        certificate = made.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files.append(Path(folder, f"{len(files)}.pem"))
        files[-1].write_bytes(certificate + (secret if len(files) == 2 else b""))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files[1])
    return context, str(files[0])


def unsigned(request: BaseHTTPRequestHandler, body: bytes) -> list[str]:
    """What is wrong with the signature of a request."""
    given = request.headers.get("Authorization", "")
    fields = dict(part.strip().split("=", 1) for part in given.partition(" ")[2].split(","))
    _, _, region, service, _ = fields["Credential"].split("/")
    keys = Credentials(*KEYS.values())
    auth = (S3SigV4Auth if service == "s3" else SigV4Auth)(keys, service, region)
    signed = {name: request.headers[name] for name in fields["SignedHeaders"].split(";")}
    url = f"http://{request.headers['Host']}{request.path}"
    copy = AWSRequest(method=request.command, url=url, data=body, headers=signed)
    copy.context["timestamp"] = request.headers["X-Amz-Date"]
    signature = auth.signature(auth.string_to_sign(copy, auth.canonical_request(copy)), copy)
    faults = []
    if signature != fields["Signature"]:
        faults.append("the signature is not botocore's")
    if request.headers["X-Amz-Content-SHA256"] != hashlib.sha256(body).hexdigest():
        faults.append("the hash is not that of the body")
    if request.headers["X-Amz-Security-Token"] != KEYS["AWS_SESSION_TOKEN"]:
        faults.append("the token of the session is missing")
    return faults


class Server:
    """moto_server, and its clients."""

    def __init__(self, program: str) -> None:
        self.port = free_port()
        command = [program, "-H", "127.0.0.1", "-p", str(self.port)]
        quiet = subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet)
        self.s3, self.logs, self.firehose = (self.client(name) for name in ("s3", "logs", "firehose"))
        self.wait()

    def client(self, name: str):  # noqa: ANN201
        """A client of boto3."""
        endpoint = f"http://127.0.0.1:{self.port}"
        return boto3.client(
            name, endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
        )

    def wait(self) -> None:
        """Until it answers."""
        for _ in range(200):
            try:
                self.ask("GET", "/moto-api/")
                return
            except OSError:
                time.sleep(0.1)
        sys.exit("moto_server does not answer\ntest result: FAILED. 0 passed; 1 failed")

    def ask(self, method: str, path: str) -> None:
        """A request to the server itself."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        connection.request(method, path)
        connection.getresponse().read()

    def empty(self) -> None:
        """Nothing but empty buckets and a delivery stream into one of them."""
        self.ask("POST", "/moto-api/reset")
        for bucket in ("text", "parquet", "delivered"):
            self.s3.create_bucket(Bucket=bucket)
        role = {"RoleARN": "arn:aws:iam::123456789012:role/x", "BucketARN": "arn:aws:s3:::delivered"}
        self.firehose.create_delivery_stream(DeliveryStreamName="flows", S3DestinationConfiguration=role)

    def objects(self, bucket: str, but: Collection[str] = ()) -> dict[str, bytes]:
        """Content of every object, by key, but those of some keys."""
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        keys = [it["Key"] for page in pages for it in page.get("Contents", [])]
        return {key: self.s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys if key not in but}

    def text_lines(self) -> list[str]:
        """Records in the objects of text."""
        texts = [gzip.decompress(content).decode() for content in self.objects("text").values()]
        assert all(text.startswith(HEADER + "\n") for text in texts)
        return [line for text in texts for line in text.splitlines()[1:]]

    def events(self) -> dict[str, list[dict]]:
        """Events of every stream."""
        if not self.logs.describe_log_groups()["logGroups"]:
            return {}
        streams = self.logs.describe_log_streams(logGroupName="flows")["logStreams"]
        pages = self.logs.get_paginator("filter_log_events")
        found = {}
        for name in (stream["logStreamName"] for stream in streams):
            of_stream = pages.paginate(logGroupName="flows", logStreamNames=[name])
            found[name] = [event for page in of_stream for event in page["events"]]
        return found

    def delivered_lines(self) -> list[str]:
        """Lines that Firehose has put into its bucket."""
        return b"".join(self.objects("delivered").values()).decode().splitlines()


def packets(lines: list[str]) -> int:
    """Packets that records tell of."""
    return sum(int(fields[8]) for fields in (line.split() for line in lines) if fields[13] == "OK")


def passed() -> str:
    """The last line of a test."""
    return f"test result: ok. {PASSED} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"
