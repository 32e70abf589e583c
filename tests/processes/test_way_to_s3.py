"""The way to S3 as a company has it: through a proxy, and with certificates of its own."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest

from tune_app.errors import TuneAppError
from tune_app.storage.bucket import Bucket

PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
VARIABLES = (*PROXIES, "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")


class Relay(ThreadingTCPServer):
    """Passes bytes on to a server, or to where CONNECT says, and keeps the first lines of what it was asked."""

    daemon_threads = True

    def __init__(self, server: str, certificate: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.there, self.address = server.rpartition("/")[2], f"127.0.0.1:{self.server_address[1]}"
        self.asked: list[str] = []
        if certificate:
            self.socket = certificate.wrap_socket(self.socket, server_side=True)


class Connection(StreamRequestHandler):
    server: Relay

    def handle(self) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (line := self.rfile.readline()):
                return  # closed without a word
            head += line
        self.server.asked.append(head.decode().split("\r\n")[0])
        method, target, _ = self.server.asked[-1].split()
        host, _, port = (target if method == "CONNECT" else self.server.there).rpartition(":")
        with socket.create_connection((host, int(port))) as there:
            if method == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                there.sendall(head)
            threading.Thread(target=self.answer, args=[there], daemon=True).start()
            while some := self.rfile.read1(65536):
                there.sendall(some)

    def answer(self, there: socket.socket) -> None:
        with suppress(OSError):
            while some := there.recv(65536):
                self.wfile.write(some)


@contextmanager
def relay(server: str, certificate: ssl.SSLContext | None = None) -> Iterator[Relay]:
    with Relay(server, certificate) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield one
        one.shutdown()


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def company(tmp_path: Path, s3_server: str) -> Iterator[tuple[Relay, Path]]:
    """The S3 server by https, with a certificate that no system knows, and the file with that certificate."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=company"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with relay(s3_server, context) as one:
        yield one, certificate


def goes_round(bucket: Bucket) -> None:
    """Write, list and read something."""
    bucket.write("folder/x", b"content")
    assert list(bucket.objects(recursive=True)) == ["folder/x"]
    assert bucket.read("folder/x", 100) == b"content"


@pytest.mark.parametrize(("name", "value"), [("http_proxy", "{}/"), ("HTTP_PROXY", "http://me:p%40ss@{}")])
def test_a_proxy_of_the_environment_is_used(bucket, s3_server, monkeypatch, name, value) -> None:
    with relay(s3_server) as proxy:
        monkeypatch.setenv(name, value.format(proxy.address))
        goes_round(bucket)
    assert proxy.asked[0].startswith(f"PUT {s3_server}/{bucket.path}/folder/x")


@pytest.mark.parametrize(("name", "value"), [("NO_PROXY", "10.0.0.1,127.0.0.1"), ("no_proxy", "*")])
def test_it_is_not_used_where_no_proxy_says_so(bucket, s3_server, monkeypatch, name, value) -> None:
    with relay(s3_server) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.address}")
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        monkeypatch.setenv(name, value)
        goes_round(bucket)
    assert proxy.asked == []


@pytest.mark.parametrize("name", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_a_certificate_of_the_environment_is_taken_and_without_it_the_server_is_refused(
    bucket: Bucket, company: tuple[Relay, Path], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    server, certificate = company
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://{server.address}")
    with pytest.raises(TuneAppError, match=r"^s3://test/\w+: .*SSL peer certificate [^\n]*$"):
        bucket.objects()
    monkeypatch.setenv(name, str(certificate))
    goes_round(bucket)


def test_a_proxy_passes_on_what_is_encrypted(bucket, company, monkeypatch) -> None:
    server, certificate = company
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"https://{server.address}")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    with relay(server.address) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.address}")
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")  # not meant for https
        goes_round(bucket)
    assert set(proxy.asked) == {f"CONNECT {server.address} HTTP/1.1"}


@pytest.mark.parametrize("value", ["http://me:secret@[proxy:1", "socks5://secret:1080"])
def test_what_is_no_proxy_is_one_line_without_a_password(bucket, monkeypatch, value) -> None:
    monkeypatch.setenv("HTTP_PROXY", value)
    with pytest.raises(TuneAppError) as refused:
        bucket.objects()
    assert (
        str(refused.value) == "HTTP_PROXY: is no address of a proxy, allowed: http(s)://[USER:PASSWORD@]HOST:PORT"
    )
