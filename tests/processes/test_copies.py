"""Copies of experiments in a bucket of a real S3 server: whole at any moment, searched by one, read by all."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.bundles import run
from tests.conftest import AWS
from tests.made_up import ask_and_start, give, give_one, spec_of
from tests.refused import error_of, refusal
from tune_app.engine.search import Search
from tune_app.errors import TuneAppError
from tune_app.experiment.history import replay
from tune_app.experiment.spec import Paths
from tune_app.storage import mirror
from tune_app.storage.bucket import Bucket
from tune_app.storage.load import load_experiment
from tune_app.storage.location import folder_or_bucket, paths
from tune_app.storage.mirror import (
    Contents,
    Holder,
    Segment,
    TakenOver,
    alone_here,
    download_record,
    download_state,
    kept_state,
    names,
    refuse_held,
    take,
    write_contents,
)
from tune_app.storage.mirroring import Mirror, mirrored, needed

OTHER = Holder(id="0" * 16, host="elsewhere", pid=7)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine that a test begins on."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "first"))


@pytest.fixture
def at(bucket: Bucket) -> Paths:
    return paths(bucket, "x")


@pytest.fixture
def search(at: Paths) -> Iterator[Search]:
    """A search that has begun, with results of two trials of which one runs."""
    search = Search.create(spec_of("x"), at)
    search.begin()
    give(search, ask_and_start(search), 0.5, 0.6)
    give(search, ask_and_start(search), *[0.9] * 9)
    yield search
    with suppress(OSError):  # some tests close it themselves
        search.close()


@pytest.fixture
def copy(bucket: Bucket) -> Bucket:
    """Of the search."""
    return bucket / "x"


def mirror_of(at: Paths) -> Mirror:
    """What copies `at` for this process, step by step."""
    me, copy = Holder.this(), at.copy
    assert copy is not None
    refuse_held(at, copy)
    with alone_here(at, me):
        contents = take(copy, me)
    return Mirror(at, copy, me, contents, print)


def assert_whole(copy: Bucket, folder: Path) -> bytes:
    """All that the record in the bucket needs is there; the record."""
    record = folder / f"{time.monotonic_ns()}.jsonl"
    download_record(copy, record)
    for result in needed(replay(record)).values():
        download_state(copy, result)
    return record.read_bytes()


def test_a_copy_is_what_was_copied_and_keeps_no_state_that_is_not_needed(search, at, bucket, tmp_path) -> None:
    copy, copier = bucket / "x", mirror_of(at)
    copier.copy_all(last=False)
    assert assert_whole(copy, tmp_path) == at.record.read_bytes()
    for k in range(3, 6):
        give_one(search, 0, k, 0.6)
    copier.copy_all(last=True)
    assert assert_whole(copy, tmp_path) == at.record.read_bytes()
    kept = {path.stem for path in at.states.iterdir()}
    assert {name.rpartition("-")[0] for name in (copy / "states").objects()} == kept
    experiment = load_experiment("x", bucket.url)
    assert (experiment.held, experiment.history.results) == (False, search.history.results)
    assert experiment.history.best is not None
    assert kept_state(experiment.paths, experiment.history.best) == at.state(1, 1).read_bytes()


def test_at_no_moment_does_the_copy_refer_to_what_is_not_there(search, at, copy, tmp_path, monkeypatch) -> None:
    copier = mirror_of(at)
    copier.copy_all(last=False)
    written: list[str] = []
    for name in ("write", "remove"):
        real = getattr(Bucket, name)

        def looked_at(self: Bucket, *what: object, real: Callable[..., None] = real) -> None:
            real(self, *what)
            written.append(str(what[0]))
            assert_whole(copy, tmp_path)

        monkeypatch.setattr(Bucket, name, looked_at)
    for k in range(3, 7):
        give_one(search, 0, k, 0.6)
        copier.copy_all(last=k == 6)
    assert len(written) > 12
    assert assert_whole(copy, tmp_path) == at.record.read_bytes()


def test_a_record_that_has_not_grown_is_not_written_again(search, at, monkeypatch) -> None:
    copier = mirror_of(at)
    copier.copy_all(last=False)
    written = []
    monkeypatch.setattr(Bucket, "write", lambda self, name, content: written.append(name))
    copier.copy_all(last=False)
    assert written == ["mirror.json"]


def test_a_copy_in_several_segments_as_before_is_read_and_gone_on_with(search, at, copy, tmp_path) -> None:
    mirror_of(at).copy_all(last=True)
    content = at.record.read_bytes()
    pieces = [content[i : i + 1000] for i in range(0, len(content), 1000)]
    segments = [Segment(name=f"{n:05d}-{'a' * 16}", bytes=len(piece)) for n, piece in enumerate(pieces)]
    for segment, piece in zip(segments, pieces, strict=True):
        (copy / "record").write(segment.name, piece + b"and more of the last one" * (segment is segments[-1]))
    write_contents(copy, Contents(created=1.0, record=tuple(segments)))
    assert assert_whole(copy, tmp_path) == content
    give_one(search, 0, 3, 0.6)
    copier = mirror_of(at)
    copier.copy_all(last=True)
    assert assert_whole(copy, tmp_path) == at.record.read_bytes()
    assert list((copy / "record").objects()) == [f"00000-{copier.me.id}"]


def test_what_cannot_be_copied_now_is_copied_later(search, at, copy, tmp_path, monkeypatch) -> None:
    """The server fails at each write in turn; what it holds is whole, and in the end all is there."""
    copier = mirror_of(at)
    copier.copy_all(last=False)
    real = Bucket.write
    writes = 0

    def failing(self: Bucket, name: str, content: bytes) -> None:
        nonlocal writes
        writes -= 1
        if writes < 0:
            raise TuneAppError("S3 fails")
        real(self, name, content)

    monkeypatch.setattr(Bucket, "write", failing)
    for successes in range(3):
        give_one(search, 0, 3 + successes, 0.6)
        writes = successes
        assert "S3 fails" in refusal(copier.copy_all, False)
        assert_whole(copy, tmp_path)
    writes = 99
    copier.copy_all(last=False)
    assert assert_whole(copy, tmp_path) == at.record.read_bytes()


def test_of_two_that_come_at_the_same_time_the_earlier_stops_at_its_next_look(search, at, copy, tmp_path) -> None:
    earlier, later = (Mirror(at, copy, me, take(copy, me), print) for me in (Holder.this(), OTHER))
    later.copy_all(last=False)
    with pytest.raises(TakenOver, match=f"{OTHER} has taken the search over, so this one has stopped"):
        earlier.copy_all(last=False)
    assert assert_whole(copy, tmp_path) == at.record.read_bytes()


def test_the_later_is_told_who_searches_until_that_one_has_been_silent_for_long(
    search, at, bucket, copy, tmp_path, monkeypatch
) -> None:
    copier = mirror_of(at)
    copier.copy_all(last=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "second"))
    assert load_experiment("x", bucket.url).state == "running"
    elsewhere = paths(bucket, "x")
    with pytest.raises(TuneAppError, match=rf"is being searched by {copier.me}, which said so \d s ago; if it has"):
        mirror_of(elsewhere)
    monkeypatch.setattr(mirror, "SECONDS_ALIVE", 0)
    assert load_experiment("x", bucket.url).state == "interrupted"
    later = mirror_of(elsewhere)
    give_one(search, 0, 3, 0.6)
    before = copy.objects(recursive=True)
    with pytest.raises(TakenOver, match=f"{later.me} has taken the search over, so this one has stopped"):
        copier.copy_all(last=False)
    assert copy.objects(recursive=True).keys() == before.keys()


def test_one_that_died_on_this_machine_is_not_waited_for(search: Search, at: Paths, bucket: Bucket) -> None:
    mirror_of(at).copy_all(last=False)  # and is heard of no more
    assert load_experiment("x", bucket.url).state == "interrupted"
    mirror_of(at).copy_all(last=False)
    me = Holder.this()
    with alone_here(at, me):
        take(bucket / "x", me)
        assert load_experiment("x", bucket.url).state == "running"
        assert f"is being searched by {me}, which said so " in refusal(refuse_held, at, bucket / "x")
        with pytest.raises(TuneAppError, match="by another process on this machine"), alone_here(at, OTHER):
            pass


def test_a_search_goes_on_on_another_machine_and_then_on_the_first_again(
    search, bucket, tmp_path, monkeypatch
) -> None:
    search.close()
    told: list[str] = []

    def go_on(k: int) -> Paths:
        here = paths(bucket, "x")
        with mirrored(here, told.append):
            again = Search.resume(here)
            assert again.last_state(again.history.trials[0])[0] == k - 1
            give_one(again, 0, k, 0.6)
            again.close()
        return here

    go_on(3)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "second"))
    second = go_on(4)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "first"))
    first = go_on(5)
    assert told == []
    assert first.record.read_bytes().startswith(second.record.read_bytes())
    # The second now has something that the bucket does not know, for the first has gone on.
    alone = Search.resume(Paths(second.root))
    give_one(alone, 0, 5, 0.61)
    alone.close()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "second"))
    go_on(6)
    assert len(told) == 1
    aside = Path(told[0].rpartition(" ")[2])
    assert [r.valid["valid_accuracy"] for r in replay(aside / "record.jsonl").trials[0].results][-1] == 0.61
    assert second.record.read_bytes().startswith(first.record.read_bytes())
    assert names(bucket) == ["x"]


def test_a_search_that_cannot_begin_leaves_nothing_in_the_bucket(bucket: Bucket) -> None:
    with pytest.raises(RuntimeError), mirrored(paths(bucket, "x"), print):
        raise RuntimeError("Ray does not start")
    assert bucket.objects(recursive=True) == {}
    assert names(bucket) == []


URLS = "s3://key:secret@bucket/x s3://bucket/x?access_key=secret s3:// s3://B/x s3://bucket/../x s3:///x"


@pytest.mark.parametrize("url", URLS.split())
def test_a_url_with_a_password_or_that_is_none_is_refused_in_one_line_that_does_not_show_it(url: str) -> None:
    line = error_of(run("status", "--experiments-dir", url))
    assert "allowed: s3://BUCKET/FOLDER" in line
    assert "secret" not in line.lower().replace("aws_secret_access_key", "")


def test_a_path_is_the_url_that_it_was_made_of(tmp_path: Path) -> None:
    assert folder_or_bucket(Path("s3://bucket/x")) == folder_or_bucket("s3://bucket/x/") == Bucket("s3://bucket/x")
    assert folder_or_bucket(str(tmp_path)) == tmp_path


def test_commands_read_what_lies_in_a_bucket_and_remove_it_once_nobody_searches_it(
    search, at, bucket, copy, tmp_path, monkeypatch
) -> None:
    copier = mirror_of(at)
    copier.copy_all(last=True)
    search.close()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "second"))
    monkeypatch.setenv("TUNE_APP_EXPERIMENTS_DIR", bucket.url)
    status = json.loads(run("status", "--json").stdout)
    assert (status["name"], status["state"], len(status["trials"])) == ("x", "interrupted", 2)
    (row,) = json.loads(run("list", "--json").stdout)
    stored = copy.objects(recursive=True).values()
    assert (row["name"], row["bytes"]) == ("x", sum(s.bytes for s in stored))
    manifest = json.loads(run("export", "x", "-o", "best", "--json").stdout)
    assert manifest["metrics"]["valid_accuracy"] == 0.9
    write_contents(copy, copier.contents.model_copy(update={"holder": OTHER}))
    assert error_of(run("remove", "x")) == f"{copy}: is being searched right now; end that first"
    write_contents(copy, copier.contents)
    assert run("remove", "x").stdout == f"removed {copy}\n"
    assert copy.objects(recursive=True) == {}
    assert error_of(run("remove", "x")) == f"{bucket}: no experiment x"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"{", "Invalid JSON"),
        (b'{"format":2,"created":0}', "format"),
        (b'{"created":0,"record":[{"name":"../../x","bytes":1}]}', "record.0.name"),
        (b'{"created":0,"record":[{"name":"00000-0000000000000000","bytes":99999999999}]}', "record.0.bytes"),
        (b'{"created":0,"more":1}', "more"),
        (b" " * 1_000_001, "is larger than 1000000 bytes"),
    ],
)
def test_what_a_stranger_put_into_a_bucket_is_one_line(bucket: Bucket, content: bytes, what: str) -> None:
    bucket.write("x/mirror.json", content)
    line = refusal(load_experiment, "x", bucket.url)
    assert "mirror.json" in line
    assert what in line


def test_a_flipped_bit_in_the_copy_or_a_missing_part_is_noticed_and_named(search, at, bucket, copy) -> None:
    copier = mirror_of(at)
    copier.copy_all(last=True)
    (segment,) = copier.contents.record
    content = bytearray((copy / "record").read(segment.name, 10**6))
    content[len(content) // 2] ^= 1
    (copy / "record").write(segment.name, bytes(content))
    with pytest.raises(TuneAppError, match=rf"^{copy}/record.jsonl, line \d+: the record is damaged"):
        load_experiment("x", bucket.url)
    (copy / "record").write(segment.name, bytes(content[:-1]))
    assert "a part of the record is missing" in refusal(load_experiment, "x", bucket.url)
    (copy / "record").remove(segment.name)
    assert f"{copy}/record/{segment.name}: is not there" in refusal(load_experiment, "x", bucket.url)
    best = search.history.best
    assert best is not None
    (state,) = [name for name in (copy / "states").objects() if name.startswith("00001-000001-")]
    (copy / "states").write(state, b"something else")
    assert "damaged: its SHA-256 is" in refusal(kept_state, Paths(at.root, copy), best)


def test_a_secret_in_what_the_server_says_is_not_shown(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TuneAppError) as error, bucket.explained("x"):
        raise OSError(f"no {AWS['AWS_SECRET_ACCESS_KEY']} of {AWS['AWS_ACCESS_KEY_ID']}")
    assert str(error.value) == f"{bucket}/x: no ... of ..."
