"""Objects below an s3:// URL. Nothing else here talks to S3, and pyarrow is imported only when something does.

Credentials come from where all AWS tools find them: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile in
~/.aws, or the machine's role; the region from AWS_REGION. AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL names another
server than Amazon's, HTTPS_PROXY, HTTP_PROXY and NO_PROXY the way there, AWS_CA_BUNDLE or REQUESTS_CA_BUNDLE who
vouches for it: pyarrow takes no notice of these, so they are read here.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from tune_app.errors import TuneAppError

SCHEME = "s3://"
URL = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_=+-][A-Za-z0-9._=+-]*)*")
SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_SECURITY_TOKEN", "AWS_ACCESS_KEY_ID")
SECONDS_TO_CONNECT, TRIES = 5, 3


class Missing(TuneAppError):
    """An object that is not there."""


@dataclass(frozen=True)
class Stored:
    """An object as it is listed; `written`: when, in seconds since 1970 by the server's clock."""

    bytes: int
    written: float


@dataclass(frozen=True)
class Bucket:
    """A bucket, or a folder in one. Each method raises `TuneAppError` where S3 does not do what it should."""

    url: str

    @classmethod
    def at(cls, url: str) -> Self:
        """The folder at a URL; `TuneAppError` where it is none, or holds a password."""
        if "@" in url or "?" in url:
            raise TuneAppError(
                "--experiments-dir: an s3 URL with a user, password or options is not taken: it would be shown;"
                " allowed: s3://BUCKET/FOLDER, with credentials in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or"
                " a profile"
            )
        if not URL.fullmatch(url.rstrip("/")):
            raise TuneAppError(f"--experiments-dir {url}: is no S3 URL, allowed: s3://BUCKET/FOLDER")
        return cls(url.rstrip("/"))

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> "Bucket":
        return Bucket(f"{self.url}/{name}")

    @property
    def path(self) -> str:
        """How pyarrow calls it."""
        return self.url.removeprefix(SCHEME)

    def read(self, name: str, most_bytes: int) -> bytes:
        """The content of an object; `Missing` where there is none."""
        with self.explained(name), connection().open_input_stream(f"{self.path}/{name}") as stream:
            content: bytes = stream.read(most_bytes + 1)
        if len(content) > most_bytes:
            raise TuneAppError(f"{self}/{name}: is larger than {most_bytes} bytes")
        return content

    def write(self, name: str, content: bytes) -> None:
        """Put an object there, or in the place of one: it appears at once, or not at all."""
        with self.explained(name), connection().open_output_stream(f"{self.path}/{name}") as stream:
            stream.write(content)

    def remove(self, name: str) -> None:
        """Remove an object if it is there."""
        with suppress(Missing), self.explained(name):
            connection().delete_file(f"{self.path}/{name}")

    def remove_all(self) -> None:
        """Remove everything here."""
        with self.explained():
            connection().delete_dir(self.path)

    def stat(self, name: str) -> Stored | None:
        """An object, if it is there."""
        with self.explained(name):
            info = connection().get_file_info(f"{self.path}/{name}")
        return Stored(info.size, info.mtime_ns / 1e9) if info.is_file else None

    def objects(self, recursive: bool = False) -> dict[str, Stored]:
        """The objects here by name, below this folder; with those in folders here where it is `recursive`."""
        found = [info for info in self.listed(recursive) if info.is_file]
        return {info.path.removeprefix(f"{self.path}/"): Stored(info.size, info.mtime_ns / 1e9) for info in found}

    def folders(self) -> list[str]:
        """The names of the folders here."""
        return [info.base_name for info in self.listed() if not info.is_file]

    def listed(self, recursive: bool = False) -> list[Any]:
        """The entries that pyarrow lists here."""
        from pyarrow.fs import FileSelector

        with self.explained():
            selector = FileSelector(self.path, allow_not_found=True, recursive=recursive)
            return list(connection().get_file_info(selector))

    @contextmanager
    def explained(self, name: str = "") -> Iterator[None]:
        """Within the block, what pyarrow raises becomes one line without credentials."""
        import pyarrow

        where = f"{self}/{name}" if name else str(self)
        try:
            yield
        except FileNotFoundError:
            raise Missing(f"{where}: is not there") from None
        except (OSError, pyarrow.ArrowException) as error:
            words = " ".join(str(error).split())
            for secret in filter(None, map(os.environ.get, SECRETS)):
                words = words.replace(secret, "...")
            raise TuneAppError(f"{where}: {words[:300]}") from None


def endpoint() -> str | None:
    """The server to talk to, as a URL; None is Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def server() -> str:
    """The server's name, as a folder can be called."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", (endpoint() or "aws").rpartition("//")[2]).strip("-")


def proxy(scheme: str, host: str) -> str | None:
    """The URL of the proxy on the way to a server, as all tools read it from HTTPS_PROXY and NO_PROXY."""
    found = None if proxy_bypass(host) else getproxies_environment().get(scheme)
    return found if not found or "://" in found else f"http://{found}"


def connection() -> Any:
    """The connection to S3 by the environment of now; `TuneAppError` for an endpoint or proxy that is none."""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    url = urlsplit(endpoint() or f"https://s3.{region}.amazonaws.com")
    if url.scheme not in ("http", "https") or not url.netloc or "@" in url.netloc:
        raise TuneAppError("AWS_ENDPOINT_URL: is no address of a server, allowed: http(s)://HOST:PORT")
    host = url.netloc if endpoint() else None
    certificates = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE") or None
    return filesystem(url.scheme, host, proxy(url.scheme, url.netloc), certificates)


@cache
def filesystem(scheme: str, endpoint: str | None, proxy: str | None, certificates: str | None) -> Any:
    """The connection to a server, Amazon's if it is None; `TuneAppError` for a proxy that is none."""
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    try:
        return S3FileSystem(
            proxy_options=proxy,
            tls_ca_file_path=certificates,
            endpoint_override=endpoint,
            scheme=scheme,
            connect_timeout=SECONDS_TO_CONNECT,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=TRIES),
            allow_delayed_open=True,  # an object that is small goes there in one request
            background_writes=False,
        )
    except ValueError:  # whose words may hold a password
        allowed = "http(s)://[USER:PASSWORD@]HOST:PORT"
        raise TuneAppError(f"{scheme.upper()}_PROXY: is no address of a proxy, allowed: {allowed}") from None
