import gzip
import hashlib
import http.server
import io
import os
import pickle
import socket
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests import refused
from tune_app.errors import TuneAppError
from tune_app.task.images import download, mnist, sources
from tune_app.task.images.mnist import Mnist, Split
from tune_app.task.images.sources import load

Pairs = list[tuple[np.ndarray, np.ndarray]]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers one time after the other as the test says, the last way from then on."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.asked += 1
        answers = self.server.answers
        (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, format: str, *args: object) -> None:
        """Quietly."""


Answer = Callable[[Handler], None]


class Server(http.server.ThreadingHTTPServer):
    """A server on the loopback interface."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Answer] = []
        self.asked = 0
        self.over = threading.Event()


def file(content: bytes, length: int | None = None) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content) if length is None else length))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def status(code: int) -> Answer:
    return lambda handler: handler.send_error(code)


def reset(handler: Handler) -> None:
    """Close the connection without any answer."""
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.connection.close()


def endless(handler: Handler) -> None:
    """Send until the other side has enough."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(bytes(1 << 16))
    except OSError:
        handler.close_connection = True


def silent(handler: Handler) -> None:
    """Send nothing until the test is over."""
    handler.server.over.wait(30)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """In the place of the tutorial's."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(download, "URL", f"http://127.0.0.1:{server.server_port}/mnist.pkl.gz")
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Caches and temporary files below tmp_path, no proxy, no waiting."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "SECONDS_BETWEEN_TRIES", 0)


@pytest.fixture
def left(tmp_path: Path) -> Callable[[], list[str]]:
    """The files and temporary folders that are there now."""

    def list_files() -> list[str]:
        found = [*(tmp_path / "tmp").rglob("*"), *(tmp_path / "cache" / "tune_app").glob("*")]
        return sorted(str(path.relative_to(tmp_path)) for path in found)

    return list_files


def refusal() -> str:
    """The one line with which the tutorial's file is refused, after its URL."""
    line = refused.refusal(load, "tutorial")
    assert line.startswith(f"{download.URL}: ")
    return line.removeprefix(f"{download.URL}: ")


Pickler: Any = pickle._Pickler


class LikePython2(Pickler):  # type: ignore[misc]
    """Writes arrays as the tutorial's file has them, which Python 2 made: their bytes as a string."""

    dispatch: ClassVar = dict(Pickler.dispatch)

    def save_bytes(self, content: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(content)))
        self.write(content)
        self.memoize(content)

    dispatch[bytes] = save_bytes

    def save_global(self, obj: Any, name: str | None = None) -> None:
        if getattr(obj, "__module__", None) != "numpy._core.multiarray":
            return super().save_global(obj, name)
        self.write(f"cnumpy.core.multiarray\n{obj.__name__}\n".encode())  # where it was then
        return self.memoize(obj)


def packed(content: object) -> bytes:
    """A gzipped pickle of protocol 2."""
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as zipped:
        LikePython2(zipped, 2).dump(content)
    return file.getvalue()


def pairs(data: Mnist) -> Pairs:
    """Images as floats and labels of train, valid and test, as in the tutorial's file."""
    splits = (data.train, data.valid, Split(data.valid.x[:2], data.valid.y[:2]))
    return [(split.x / np.float32(256), split.y) for split in splits]


@pytest.fixture
def publish(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Make packed bytes what the tutorial's server has and is known to have."""

    def publish(content: bytes) -> None:
        server.answers = [file(content)]
        monkeypatch.setattr(download, "BYTES", len(content))
        monkeypatch.setattr(download, "MD5", hashlib.md5(content).hexdigest())

    return publish


@pytest.fixture
def few(small: Mnist, monkeypatch: pytest.MonkeyPatch) -> Mnist:
    """A few images, which stand for the original ones."""
    few = Mnist(Split(small.train.x[:240], small.train.y[:240]), Split(small.valid.x[:60], small.valid.y[:60]))
    monkeypatch.setattr(mnist, "SPLIT_DIGESTS", {"train": few.train.digests, "valid": few.valid.digests})
    return few


@pytest.fixture
def tutorial(few: Mnist, publish: Callable[[bytes], None]) -> bytes:
    """A small tutorial's file."""
    content = packed(pairs(few))
    publish(content)
    return content


CACHED = "cache/tune_app/mnist.pkl.gz"


def test_the_tutorials_file_is_downloaded_once_and_then_read_from_the_cache(tutorial, few, server, left, tmp_path):
    first = load("tutorial")
    assert first.digest() == few.digest()
    assert np.array_equal(first.train.x, few.train.x) and not first.train.x.flags.writeable
    assert (tmp_path / CACHED).read_bytes() == tutorial
    assert load("tutorial").digest() == first.digest()
    assert server.asked == 1
    assert left() == [CACHED]


def test_its_test_images_are_mnists(monkeypatch):
    original = Split(np.zeros((3, 784), np.uint8), np.zeros(3, np.int64))
    monkeypatch.setattr(sources, "original_test", lambda: original)
    assert sources.load_test("tutorial") == original


@pytest.mark.parametrize("bad", [status(500), reset])
def test_a_server_that_works_at_the_third_try_is_enough(tutorial, few, server, left, bad):
    server.answers = [bad, bad, file(tutorial)]
    assert load("tutorial").digest() == few.digest()
    assert server.asked == 3
    assert left() == [CACHED]


@pytest.mark.parametrize(
    ("answer", "said", "asked"),
    [
        (lambda packed: status(404), "cannot be downloaded: 404 Client Error", 1),
        (lambda packed: status(500), "cannot be downloaded: ", 3),
        (lambda packed: reset, "cannot be downloaded: ", 3),
        (lambda packed: silent, "cannot be downloaded: ", 3),
        (lambda packed: file(packed[:99], len(packed)), "99 bytes, not {size} bytes: not the tutorial's file", 1),
        (lambda packed: file(packed[:-1]), "{less} bytes, not {size} bytes: not the tutorial's file", 1),
        (lambda packed: file(packed + b"\0"), "more than {size} bytes: not the tutorial's file", 1),
        (lambda packed: endless, "more than {size} bytes: not the tutorial's file", 1),
        (lambda packed: file(b"<html>Sign in</html>"), "20 bytes, not {size} bytes: not the tutorial's file", 1),
        (lambda packed: file(packed[:-1] + bytes((packed[-1] ^ 1,))), "MD5 {other}, not {md5}: not the tut", 1),
    ],
)
def test_another_answer_is_refused_neither_kept_nor_even_unpacked_and_the_next_may_be_right(
    tutorial, server, left, monkeypatch, answer, said, asked
):
    server.answers = [answer(tutorial)]
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.05 if server.answers == [silent] else 20)
    with monkeypatch.context() as patched:
        patched.setattr(gzip, "decompress", None)  # not even callable
        line = refusal()
    flipped = hashlib.md5(tutorial[:-1] + bytes((tutorial[-1] ^ 1,))).hexdigest()
    digests = {"md5": hashlib.md5(tutorial).hexdigest(), "other": flipped}
    assert line.startswith(said.format(size=len(tutorial), less=len(tutorial) - 1, **digests))
    assert (server.asked, left()) == (asked, [])
    server.answers = [file(tutorial)]
    load("tutorial")


def test_a_file_in_the_cache_that_is_another_is_refused_with_its_path(tutorial, server, tmp_path):
    load("tutorial")
    (tmp_path / CACHED).write_bytes(tutorial[:-1])
    assert refused.refusal(load, "tutorial").startswith(f"{tmp_path / CACHED}: {len(tutorial) - 1} bytes, not ")
    assert server.asked == 1


class Command:
    """Something whose pickle names a function and calls it with these arguments."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def hostile(marker: Path) -> dict[str, Command]:
    """Objects that would make `marker` when they are unpickled, by the function that they name."""
    return {
        "system": Command(os.system, f"touch {marker}"),
        "open": Command(open, str(marker), "w"),
        "exec": Command(exec, f"open({str(marker)!r}, 'w')"),
        "fromfile": Command(np.fromfile, str(marker)),
    }


@pytest.mark.parametrize("name", hostile(Path()))
@pytest.mark.parametrize("place", ["everything", "among the arrays"])
def test_a_pickle_that_names_anything_but_arrays_is_refused_and_nothing_of_it_is_executed(
    few, publish, left, tmp_path, name, place
):
    marker = tmp_path / "executed"
    command = hostile(marker)[name]
    content = command if place == "everything" else [*pairs(few)[:2], command]
    publish(gzip.compress(pickle.dumps(content, 2), 1))
    line = refusal()
    assert line.startswith("not the tutorial's file: it names ")
    assert line.endswith(f".{name}, allowed: NumPy arrays")
    assert not marker.exists()
    assert left() == []


OTHERS: dict[str, Callable[[Pairs], object]] = {
    "one train label": lambda content: content[0][1].__setitem__(239, (content[0][1][239] + 1) % 10),
    "one valid pixel": lambda content: content[1][0].__setitem__((59, 783), 255 / 256),
    "swapped splits": lambda content: content.insert(0, content.pop(1)),
    "a pixel that is no number": lambda content: content[0][0].__setitem__((5, 5), np.nan),
    "a pixel that is too bright": lambda content: content[0][0].__setitem__((5, 5), 1),
    "one pair": lambda content: content.__delitem__(slice(1, 3)),
    "text": lambda content: content.__setitem__(0, "mnist"),  # type: ignore[call-overload]
    "no images": lambda content: content.__setitem__(0, (content[0][0][:0], content[0][1][:0])),
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_does_not_hold_mnist_is_refused_and_not_kept(few, publish, left, other):
    content = [(x.copy(), y.copy()) for x, y in pairs(few)]
    OTHERS[other](content)
    publish(packed(content))
    assert refusal()
    assert left() == []


@pytest.mark.parametrize(
    "content", [b"no gzip", gzip.compress(b"", mtime=0), gzip.compress(b"\x80\x02h\x05.", mtime=0)]
)
def test_what_is_no_packed_pickle_is_refused_and_not_kept(publish, left, content):
    publish(content)
    assert refusal().startswith("not the tutorial's file: ")
    assert left() == []


def test_a_cache_that_cannot_be_written_is_refused_with_its_path(tutorial, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert refused.refusal(load, "tutorial") == f"{tmp_path / CACHED}: cannot be read or written: Not a directory"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_disk_that_is_full_or_an_interruption_leaves_nothing(tutorial, left, monkeypatch, error):
    written = Path.write_bytes

    def half(path: Path, content: bytes) -> int:
        written(path, content[:99])
        raise error

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises((TuneAppError, KeyboardInterrupt)):
        load("tutorial")
    assert left() == []
