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

from tests.units.test_idx import idx_bytes
from tune_app.errors import TuneAppError
from tune_app.task.images import download, mnist, sources
from tune_app.task.images.idx import IMAGES, LABELS
from tune_app.task.images.mnist import Mnist, Split
from tune_app.task.images.sources import load

Pairs = list[tuple[np.ndarray, np.ndarray]]

# ---- a server on the loopback interface ----------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers each path as the test says; notes what was asked for."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        answer = self.server.answers.get(self.path, status(404))
        (answer.pop(0) if isinstance(answer, list) else answer)(self)

    def log_message(self, format: str, *args: object) -> None:
        """Quietly."""


Answer = Callable[[Handler], None]


class Server(http.server.ThreadingHTTPServer):
    """`answers`: what a path gets, or a list of what it gets one time after the other."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, Answer | list[Answer]] = {}
        self.asked: list[str] = []
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


def file(content: bytes, **headers: str) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        for name, value in ({"Content_Length": str(len(content))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def status(code: int) -> Answer:
    return lambda handler: handler.send_error(code)


def moved_to(url: str) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", url)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def closed_in_the_middle(content: bytes) -> Answer:
    """Promises everything and sends the half."""

    def answer(handler: Handler) -> None:
        file(content[: len(content) // 2], Content_Length=str(len(content)))(handler)

    return answer


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
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
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
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "SECONDS_BETWEEN_TRIES", 0)
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 20)


@pytest.fixture
def left(tmp_path: Path) -> Callable[[], list[str]]:
    """The files that lie in the caches, or among the temporary files, now."""

    def list_files() -> list[str]:
        caches = [path for top in ("home", "cache") for path in (tmp_path / top).rglob("*") if path.is_file()]
        return sorted(str(path.relative_to(tmp_path)) for path in [*caches, *(tmp_path / "tmp").iterdir()])

    return list_files


def refusal(source: str, names: str) -> str:
    """The one line with which `source` is refused; it begins with `names`."""
    with pytest.raises(TuneAppError) as error:
        load(source)
    assert str(error.value).startswith(f"{names}: ")
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{names}: ")


# ---- IDX files below a URL -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(small_data: Path) -> Mnist:
    """The first 240 training and 60 validation images."""
    data = load(str(small_data))
    return Mnist(Split(data.train.x[:240], data.train.y[:240]), Split(data.valid.x[:60], data.valid.y[:60]))


@pytest.fixture(scope="module")
def contents(small: Mnist) -> dict[str, bytes]:
    """The two IDX files of the first 240 images."""
    return {IMAGES: idx_bytes(small.train.x.reshape(-1, 28, 28)), LABELS: idx_bytes(small.train.y)}


def offer(server: Server, contents: dict[str, bytes], packed: bool = True) -> None:
    for name, content in contents.items():
        server.answers[f"/{name}" + ".gz" * packed] = file(gzip.compress(content, 1) if packed else content)


def test_packed_files_are_downloaded_and_split(server, contents, small, left):
    offer(server, contents)
    found = load(server.url)
    assert np.array_equal(found.train.x, small.train.x[:200])
    assert np.array_equal(found.valid.x, small.train.x[200:])
    assert np.array_equal(np.concatenate([found.train.y, found.valid.y]), small.train.y)
    assert server.asked == [f"/{IMAGES}.gz", f"/{LABELS}.gz"]
    assert not found.train.x.flags.writeable
    assert left() == []


def test_plain_files_are_downloaded_where_there_are_no_packed_ones(server, contents, small, left):
    offer(server, contents, packed=False)
    assert np.array_equal(load(server.url).train.x, small.train.x[:200])
    assert server.asked == [f"/{IMAGES}.gz", f"/{IMAGES}", f"/{LABELS}.gz", f"/{LABELS}"]
    assert left() == []


def test_a_url_may_have_a_path_and_redirect_and_the_server_may_unpack_on_the_way(server, contents, small):
    for name, content in contents.items():
        server.answers[f"/a/b/{name}.gz"] = moved_to(f"{server.url}/there/{name}")
        server.answers[f"/there/{name}"] = file(gzip.compress(content, 1), Content_Encoding="gzip")
    assert np.array_equal(load(f"{server.url}/a/b/").train.x, small.train.x[:200])


@pytest.mark.parametrize("length", ["", "many", "-1"])
def test_a_length_that_is_no_number_is_ignored(server, contents, length):
    server.answers = {f"/{name}.gz": file(content, Content_Length=length) for name, content in contents.items()}
    assert len(load(server.url).train.x) == 200


@pytest.mark.parametrize("bad", [status(500), reset, closed_in_the_middle(bytes(5000))])
def test_a_server_that_works_at_the_third_try_is_enough_after_a_wait_between(
    server, contents, left, monkeypatch, bad
):
    waits: list[float] = []
    monkeypatch.setattr(download, "SECONDS_BETWEEN_TRIES", 1.5)
    monkeypatch.setattr("tune_app.task.images.download.time.sleep", waits.append)
    offer(server, contents)
    server.answers[f"/{IMAGES}.gz"] = [bad, bad, server.answers[f"/{IMAGES}.gz"]]
    assert len(load(server.url).train.x) == 200
    assert server.asked == [f"/{IMAGES}.gz"] * 3 + [f"/{LABELS}.gz"]
    assert waits == [1.5, 1.5]
    assert left() == []


HTML = file(b"<!DOCTYPE html>\n<html>Sign in</html>")
NO_IDX = "not an IDX file of {} dimensions of bytes, it starts with '<!DOCTYPE html>'"


@pytest.mark.parametrize(
    ("name", "answer", "said", "asked"),
    [
        (IMAGES, status(500), "cannot be downloaded: the server answers 500 Internal Server Error", 3),
        (IMAGES, status(403), "the server answers 403 Forbidden", 1),
        (IMAGES, closed_in_the_middle(bytes(5000)), "cannot be downloaded: ", 3),
        (IMAGES, reset, "cannot be downloaded: ", 3),
        (IMAGES, silent, "cannot be downloaded: no answer in time", 3),
        (IMAGES, endless, "sends more than 1000000 bytes", 1),
        (IMAGES, file(gzip.compress(bytes(30_000_000), 1), Content_Encoding="gzip"), "sends more than 1000000", 1),
        (IMAGES, HTML, NO_IDX.format(3), 2),
        (LABELS, HTML, NO_IDX.format(1), 2),
    ],
)
def test_what_is_no_answer_with_the_file_is_refused_with_its_url_and_leaves_nothing(
    server, contents, left, monkeypatch, name, answer, said, asked
):
    monkeypatch.setattr(download, "MOST_BYTES", 1_000_000)
    monkeypatch.setattr(download, "TIMEOUT_SECONDS", 0.05 if answer is silent else 20)
    offer(server, contents)
    server.answers[f"/{name}.gz"] = answer
    assert refusal(server.url, f"{server.url}/{name}.gz").startswith(said)
    assert len(server.asked) == asked
    assert left() == []


@pytest.mark.parametrize("there", [[], [IMAGES]])
def test_files_that_do_not_exist_are_refused_with_their_url_and_tried_once(server, contents, left, there):
    offer(server, {name: contents[name] for name in there})
    missing = LABELS if there else IMAGES
    assert refusal(server.url, f"{server.url}/{missing}") == "the server answers 404 Not Found"
    assert server.asked[-2:] == [f"/{missing}.gz", f"/{missing}"]
    assert left() == []


def test_a_server_that_is_not_there_is_refused(left):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, but nobody listens
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert refusal(url, f"{url}/{IMAGES}.gz").startswith("cannot be downloaded: ")
    assert left() == []


@pytest.mark.parametrize("url", ["http://", "http://[", "http://127.0.0.1:x", f"http://{'a' * 70}.invalid"])
def test_a_url_that_is_none_is_refused(url, left):
    assert "cannot be downloaded: " in refusal(url, f"{url.rstrip('/')}/{IMAGES}.gz")
    assert left() == []


# ---- the tutorial's file -------------------------------------------------------------------------------


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
    """Images as floats and labels of train, valid and (here two of valid) test, as in the tutorial's file."""
    splits = (data.train, data.valid, Split(data.valid.x[:2], data.valid.y[:2]))
    return [(split.x / np.float32(256), split.y) for split in splits]


@pytest.fixture
def publish(server: Server, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bytes]:
    """Make packed bytes what the tutorial's server has and is known to have."""

    def publish(content: bytes) -> bytes:
        server.answers["/mnist.pkl.gz"] = file(content)
        monkeypatch.setattr(download, "TUTORIAL_URL", f"{server.url}/mnist.pkl.gz")
        monkeypatch.setattr(download, "TUTORIAL_BYTES", len(content))
        monkeypatch.setattr(download, "TUTORIAL_MD5", hashlib.md5(content).hexdigest())
        return content

    return publish


@pytest.fixture
def tutorial(small: Mnist, publish: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small tutorial's file; its images stand for the original ones."""
    digests = {"train": small.train.digests, "valid": small.valid.digests}
    monkeypatch.setattr(mnist, "SPLIT_DIGESTS", digests)
    return publish(packed(pairs(small)))


CACHED = "cache/tune_app/mnist.pkl.gz"


def test_the_tutorials_file_is_downloaded_once_and_then_read_from_the_cache(
    tutorial, small, server, left, tmp_path
):
    first = load("tutorial")
    assert first.digest() == small.digest()
    assert np.array_equal(first.train.x, small.train.x) and not first.train.x.flags.writeable
    assert (tmp_path / CACHED).read_bytes() == tutorial
    server.answers.clear()
    assert load("tutorial").digest() == first.digest()
    assert server.asked == ["/mnist.pkl.gz"]
    assert left() == [CACHED]


def test_without_xdg_cache_home_the_cache_is_below_the_home_folder(tutorial, left, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")
    load("tutorial")
    assert left() == ["home/.cache/tune_app/mnist.pkl.gz"]


def test_a_download_that_failed_can_be_repeated(tutorial, small, server, left):
    good = server.answers["/mnist.pkl.gz"]
    server.answers["/mnist.pkl.gz"] = [status(404), reset, good]
    assert refusal("tutorial", download.TUTORIAL_URL) == "the server answers 404 Not Found"
    assert left() == []
    assert load("tutorial").digest() == small.digest()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda packed: file(packed[:-1]), "sent {less} bytes, not {size}: not the tutorial's file"),
        (lambda packed: file(packed + b"\0"), "sends more than {size} bytes"),
        (lambda packed: endless, "sends more than {size} bytes"),
        (lambda packed: file(b"<html>Sign in</html>"), "sent 20 bytes, not {size}: not the tutorial's file"),
        (
            lambda packed: file(packed[:-1] + bytes((packed[-1] ^ 1,))),
            "MD5 {other}, not {md5}: not the tutorial's file",
        ),
    ],
)
def test_another_file_is_refused_with_its_url_neither_kept_nor_even_unpacked(
    tutorial, server, left, monkeypatch, answer, said
):
    server.answers["/mnist.pkl.gz"] = answer(tutorial)
    monkeypatch.setattr(download, "unpickle", None)  # not even callable
    flipped = hashlib.md5(tutorial[:-1] + bytes((tutorial[-1] ^ 1,))).hexdigest()
    digests = {"md5": hashlib.md5(tutorial).hexdigest(), "other": flipped}
    line = said.format(size=len(tutorial), less=len(tutorial) - 1, **digests)
    assert refusal("tutorial", download.TUTORIAL_URL) == line
    assert left() == []


class Command:
    """Something whose pickle names a function and calls it with these arguments."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def hostile(marker: Path) -> dict[str, Command]:
    """Objects that would make `marker` when they are unpickled."""
    return {
        "posix.system": Command(os.system, f"touch {marker}"),
        "builtins.open": Command(open, str(marker), "w"),
        "builtins.exec": Command(exec, f"open({str(marker)!r}, 'w')"),
        "numpy.fromfile": Command(np.fromfile, str(marker)),
    }


@pytest.mark.parametrize("name", hostile(Path()))
@pytest.mark.parametrize("place", ["everything", "among the arrays"])
def test_a_pickle_that_names_anything_but_arrays_is_refused_and_nothing_of_it_is_executed(
    tutorial, small, publish, left, tmp_path, name, place
):
    marker = tmp_path / "executed"
    command = hostile(marker)[name]
    content = command if place == "everything" else [*pairs(small)[:2], command]
    publish(gzip.compress(pickle.dumps(content, 2), 1))
    named = "__builtin__" + name.removeprefix("builtins") if name.startswith("builtins") else name
    line = refusal("tutorial", download.TUTORIAL_URL)
    assert line.startswith("not the tutorial's file: it names ")
    assert line.endswith(f"{named.rpartition('.')[2]}, allowed: NumPy arrays")
    assert not marker.exists()
    assert left() == []


# ---- the tutorial's file on disk -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mnist.pkl.gz", "MNIST.PKL.GZ", "mnist.pkl (1).gz", "downloaded"])
def test_the_tutorials_file_is_read_where_it_lies_alone_or_in_a_folder(
    tutorial, small, server, left, tmp_path, name
):
    (tmp_path / "data").mkdir()
    path = tmp_path / "data" / name
    path.write_bytes(tutorial)
    assert load(str(path)).digest() == small.digest()
    if name == "mnist.pkl.gz":
        assert load(str(path.parent)).digest() == small.digest()
    assert (server.asked, left()) == ([], [])


def test_its_test_images_are_mnists(tutorial, tmp_path, monkeypatch):
    path = tmp_path / "mnist.pkl.gz"
    path.write_bytes(tutorial)
    original = Split(np.zeros((3, 784), np.uint8), np.zeros(3, np.int64))
    monkeypatch.setattr(sources, "original_test", lambda: original)
    assert [sources.load_test(str(source)) for source in (path, "tutorial")] == [original] * 2


@pytest.mark.parametrize(
    "content", [b"", b"<html>Sign in</html>", gzip.compress(b"something", mtime=0)], ids=["nothing", "HTML", "gzip"]
)
def test_what_is_not_the_tutorials_file_is_refused_with_its_path(tutorial, tmp_path, content):
    path = tmp_path / "mnist.pkl.gz"
    path.write_bytes(content)
    line = f"{len(content)} bytes, not {len(tutorial)}: not the tutorial's file"
    assert refusal(str(path), str(path)) == line
    with pytest.raises(TuneAppError, match=line):
        sources.load_test(str(path))


def test_a_file_larger_than_the_memory_is_not_read(tutorial, tmp_path):
    path = tmp_path / "mnist.pkl.gz"
    with path.open("wb") as file:
        file.truncate(100_000_000_000)  # sparse
    assert refusal(str(path), str(path)).startswith("100000000000 bytes, not ")


CHANGES: dict[str, Callable[[Pairs], object]] = {
    "one train label": lambda content: content[0][1].__setitem__(239, (content[0][1][239] + 1) % 10),
    "one valid label": lambda content: content[1][1].__setitem__(0, (content[1][1][0] + 1) % 10),
    "one train pixel": lambda content: content[0][0].__setitem__((0, 0), 1 / 256),
    "one valid pixel": lambda content: content[1][0].__setitem__((59, 783), 255 / 256),
    "swapped splits": lambda content: content.insert(0, content.pop(1)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_other_images_or_labels_than_mnists_are_refused_and_not_kept(tutorial, small, publish, left, change):
    content = [(x.copy(), y.copy()) for x, y in pairs(small)]
    CHANGES[change](content)
    publish(packed(content))
    assert " are not MNIST's: SHA-256 " in refusal("tutorial", download.TUTORIAL_URL)
    assert left() == []


def test_the_last_images_of_the_tutorials_file_are_not_looked_at(tutorial, small, publish):
    content = pairs(small)
    content[2] = (np.full((3, 3), np.nan), np.array([99]))
    publish(packed(content))
    assert load("tutorial").digest() == small.digest()


@pytest.mark.parametrize("pixel", [0.001, -1 / 256, 1.0, 2.0, np.nan, np.inf])
def test_pixels_that_no_byte_gives_are_refused(tutorial, small, publish, left, pixel):
    content = pairs(small)
    content[0][0][5, 5] = pixel
    publish(packed(content))
    line = refusal("tutorial", download.TUTORIAL_URL)
    assert line == "the pixels are not multiples of 1/256 from 0 to 255/256"
    assert left() == []


OTHERS: dict[str, Callable[[Mnist], object]] = {
    "nothing": lambda data: [],
    "two pairs": lambda data: pairs(data)[:2],
    "text": lambda data: "mnist",
    "pairs of None": lambda data: [(None, None)] * 3,
    "pairs of text": lambda data: [("x", "y")] * 3,
    "small integers for labels": lambda data: [(x, y.astype(np.int32)) for x, y in pairs(data)],
    "doubles for pixels": lambda data: [(x.astype(float), y) for x, y in pairs(data)],
    "lists for labels": lambda data: [(x, y.tolist()) for x, y in pairs(data)],
    "square images": lambda data: [(x.reshape(-1, 28, 28), y) for x, y in pairs(data)],
    "fewer labels": lambda data: [(x, y[:-1]) for x, y in pairs(data)],
    "no images": lambda data: [(x[:0], y[:0]) for x, y in pairs(data)],
    "labels out of range": lambda data: [(x, y + 1) for x, y in pairs(data)],
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_pickle_of_another_shape_is_refused_and_not_kept(tutorial, small, publish, left, other):
    publish(packed(OTHERS[other](small)))
    assert refusal("tutorial", download.TUTORIAL_URL)
    assert left() == []


NO_PICKLE = {
    "empty": gzip.compress(b""),
    "cut off": gzip.compress(pickle.dumps([1, 2, 3], 2)[:-3]),
    "a stack that is too short": gzip.compress(b"\x80\x02a."),
    "an unknown memo": gzip.compress(b"\x80\x02h\x05."),
    "HTML": gzip.compress(b"<html>Sign in</html>"),
    "not packed": pickle.dumps([1, 2, 3], 2),
    "cut off gzip": packed([1, 2, 3])[:-4],
    "damaged gzip": packed([1, 2, 3])[:12] + b"\xff\xff\xff\xff" + bytes(8),
}


@pytest.mark.parametrize("content", NO_PICKLE)
def test_what_is_no_packed_pickle_is_refused_and_not_kept(tutorial, publish, left, content):
    publish(NO_PICKLE[content])
    assert refusal("tutorial", download.TUTORIAL_URL).startswith("not the tutorial's file: ")
    assert left() == []


def test_a_file_that_unpacks_to_more_than_mnist_is_refused(tutorial, publish, left, monkeypatch):
    monkeypatch.setattr(download, "MOST_UNPACKED", 1_000_000)
    publish(gzip.compress(bytes(1_000_001), 1))
    assert refusal("tutorial", download.TUTORIAL_URL) == "unpacks to more than 1000000 bytes"
    assert left() == []


def test_a_cache_folder_that_cannot_be_made_is_refused_with_its_path(tutorial, server, tmp_path):
    (tmp_path / "cache").write_text("a file")
    line = refusal("tutorial", str(tmp_path / "cache" / "tune_app"))
    assert line == "cannot be written: Not a directory"
    assert server.asked == []


def test_a_full_disk_is_told_and_leaves_nothing(tutorial, left, tmp_path, monkeypatch):
    def receive(url: str, file: io.BufferedWriter, size: int | None) -> None:
        file.write(b"the first bytes")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "receive", receive)
    line = refusal("tutorial", str(tmp_path / "cache" / "tune_app"))
    assert line == "cannot be written: No space left on device"
    assert left() == []


def test_an_interrupted_download_leaves_nothing(tutorial, server, left, monkeypatch):
    def interrupt(response: object, size: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("requests.Response.iter_content", interrupt)
    with pytest.raises(KeyboardInterrupt):
        load("tutorial")
    assert server.asked == ["/mnist.pkl.gz"]
    assert left() == []
