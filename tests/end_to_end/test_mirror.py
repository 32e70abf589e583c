"""Searches that are copied to a bucket: killed, interrupted, stopped, cut off, and gone on with on another machine.

Another machine is another home, and another cache folder in it. Minutes are seconds here: `hasty.py`. Who trains
makes no difference to copying, so most of these searches do without Ray.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bundles import run
from tests.conftest import AWS, running_s3_server
from tests.end_to_end.conftest import HASTY, Running, Start, alive, descendants, succeed, tune_app, wait_for
from tests.end_to_end.invariants import check, outcome
from tests.made_up import ask_and_start, give, spec_of
from tune_app.engine.search import Search
from tune_app.errors import TuneAppError
from tune_app.storage import mirroring
from tune_app.storage.bucket import Bucket
from tune_app.storage.load import load_experiment
from tune_app.storage.location import paths
from tune_app.storage.mirror import read_contents
from tune_app.storage.mirroring import Mirror, mirrored

SECONDS_ALIVE = 5
"""As hasty.py has it."""
SPACE = """
space: {level: {choice: [fit, cnn]}, lr: {loguniform: [0.01, 1]}, bs: 4}
search: {num_samples: 4, max_epochs: 4, results_per_epoch: 4, grace_period: 4}
"""
LONG = "space: {level: cnn, bs: 2, lr: 0.01}\nsearch: {num_samples: 2, max_epochs: 50, results_per_epoch: 20}"


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """Another machine."""
    folder = tmp_path / "second"
    folder.mkdir()
    return folder


def copied(bucket: Bucket, results: int) -> Callable[[], bool]:
    """Whether the bucket has so many results of x."""

    def there() -> bool:
        try:
            return load_experiment("x", bucket.url).history.results >= results
        except TuneAppError:
            return False

    return there


def kill(running: Running) -> None:
    """End a search and all that it started, at once."""
    for pid in {running.process.pid} | descendants(running.process.pid):
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
    running.process.wait()


def local(folder: Path, bucket: Bucket) -> Path:
    """The experiments of a machine that it copies to the bucket."""
    (place,) = (folder / ".cache" / "tune_app" / "s3").glob(f"*/{bucket.path}")
    return place


def resumed(folder: Path, bucket: Bucket) -> subprocess.CompletedProcess[str]:
    return tune_app(folder, "resume", "x", "--in-process", "--experiments-dir", bucket, command=HASTY)


def silent(bucket: Bucket) -> bool:
    """Whether nobody has said for long enough that they search x."""
    seen = read_contents(bucket / "x")
    return seen is not None and time.time() - seen.written > SECONDS_ALIVE + 1


def test_an_interrupted_search_goes_on_elsewhere_at_once_and_a_killed_one_to_what_an_uninterrupted_one_finds(
    tmp_path: Path, second: Path, start: Start, small_data: Path, bucket: Bucket
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    arguments = ("search", "space.yaml", "--data", small_data, "--in-process")
    running = start(*arguments, "--name", "x", "--experiments-dir", bucket, command=HASTY)
    wait_for(copied(bucket, 2), "two results are copied")
    told = resumed(second, bucket)
    assert (told.returncode, told.stderr.count("\n")) == (1, 1), told.stderr
    assert told.stderr.startswith(f"Error: {bucket}/x: is being searched by process {running.process.pid} on ")
    assert "if it has died, the search can be taken over in " in told.stderr
    assert load_experiment("x", bucket.url).state == "running"
    running.process.send_signal(signal.SIGTERM)
    out, _ = running.end(30, code=130)
    assert "Go on: tune-app resume x" in out
    had, has = load_experiment("x", local(tmp_path, bucket)), load_experiment("x", bucket.url)
    assert (has.state, has.history.results) == ("interrupted", had.history.results)

    go_on = ("resume", "x", "--in-process", "--experiments-dir", bucket)
    later = Running(second, *go_on, command=HASTY)
    wait_for(copied(bucket, has.history.results + 2), "it goes on")
    kill(later)
    last, known = (
        max(r.time for trial in load_experiment("x", place).history.trials for r in trial.results)
        for place in (local(second, bucket), bucket.url)
    )
    assert last - known < 10
    succeed(tmp_path, *arguments, "--name", "whole")
    wait_for(lambda: silent(bucket), "it is taken for dead", SECONDS_ALIVE + 20)
    done = resumed(tmp_path, bucket)
    assert done.returncode == 0, done.stderr
    assert load_experiment("x", bucket.url).state == "finished"
    (tmp_path / "experiments" / "x").symlink_to(local(tmp_path, bucket) / "x")
    check(tmp_path, "x")
    assert outcome(tmp_path, "x") == outcome(tmp_path, "whole")


def searching(bucket: Bucket, pid: int) -> bool:
    """Whether that process says that it searches x."""
    seen = read_contents(bucket / "x")
    return seen is not None and seen.holder is not None and seen.holder.pid == pid


@pytest.mark.soak
def test_one_that_was_stopped_and_is_replaced_stops_with_a_clear_line(
    tmp_path: Path, second: Path, start: Start, small_data: Path, bucket: Bucket
) -> None:
    (tmp_path / "space.yaml").write_text(LONG)
    arguments = ("search", "space.yaml", "--name", "x", "--data", small_data, "--no-dashboard")
    running = start(*arguments, "--experiments-dir", bucket, command=HASTY)
    wait_for(copied(bucket, 2), "two results are copied")
    processes = {running.process.pid} | descendants(running.process.pid)
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: silent(bucket), "it is taken for dead", 30)
    later = Running(second, "resume", "x", "--no-dashboard", "--experiments-dir", bucket, command=HASTY)
    try:
        wait_for(lambda: searching(bucket, later.process.pid), "the other machine goes on")
        for pid in processes:
            os.kill(pid, signal.SIGCONT)
        _, err = running.end(60, code=1)
        assert err.splitlines()[-1].startswith(f"Error: {bucket}/x: process {later.process.pid} on ")
        assert err.splitlines()[-1].endswith("has taken the search over, so this one has stopped")
        assert "Traceback" not in err
        later.process.send_signal(signal.SIGINT)
        later.end(30, code=130)
    finally:
        kill(later)


@pytest.mark.soak
def test_without_its_server_a_search_goes_on_and_says_in_the_end_what_is_missing_until_resume_copies_it(
    tmp_path: Path, second: Path, start: Start, small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    bucket = Bucket("s3://test/x")
    arguments = ("search", "space.yaml", "--name", "x", "--data", small_data, "--no-dashboard", "--num-samples", 12)
    with running_s3_server() as (url, server):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        running = start(*arguments, "--experiments-dir", bucket, command=HASTY)
        wait_for(copied(bucket, 2), "two results are copied")
        server.send_signal(signal.SIGSTOP)
        out, err = running.end(200, code=4)
        server.send_signal(signal.SIGCONT)
        done = resumed(tmp_path, bucket)
        assert done.returncode == 0, done.stderr
        experiment = load_experiment("x", bucket.url)
        assert experiment.paths.record.read_bytes() == (local(tmp_path, bucket) / "x" / "record.jsonl").read_bytes()
    assert "12 trials: " in out
    assert err.count("the search goes on, and copying is tried again") == 1
    assert AWS["AWS_SECRET_ACCESS_KEY"] not in out + err
    last = err.splitlines()[-1]
    assert last.startswith(f"Error: {bucket}/x: the last ")
    assert str(local(tmp_path, bucket)) in last
    (tmp_path / "experiments").symlink_to(local(tmp_path, bucket))
    check(tmp_path, "x")


def test_a_confirmation_of_a_search_in_a_bucket_is_interrupted_and_ends_on_another_machine(
    tmp_path: Path, second: Path, start: Start, small_data: Path, bucket: Bucket
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE.replace("bs: 4", "bs: 16"))
    there = ("--in-process", "--experiments-dir", bucket)
    small = ("--max-epochs", 1, "--grace-period", 1, "--data", small_data)
    succeed(tmp_path, "search", "space.yaml", "--name", "x", *small, *there)
    confirm = ("confirm", "x", "--top", 2, "--seeds", 2, "--json", *there)
    running = start(*confirm)
    record = local(tmp_path, bucket) / "x" / "confirmation-1" / "record.jsonl"
    wait_for(lambda: record.exists() and record.read_text().count('"kind":"result"') >= 4, "there are 4 results")
    os.kill(running.process.pid, signal.SIGINT)
    running.end(code=130)
    done = succeed(second, *confirm)
    ended = local(second, bucket) / "x" / "confirmation-1" / "record.jsonl"
    assert ended.read_bytes().startswith(record.read_bytes())
    status = json.loads(run("status", "x", "--json", "--experiments-dir", bucket).stdout)
    assert status["confirmation"]["winner"] == json.loads(done.stdout)["winner"]


def test_a_server_that_goes_away_is_told_once_and_what_is_missing_and_where_in_the_end(monkeypatch) -> None:
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(mirroring, "SECONDS_BETWEEN_COPIES", 0.2)
    told: list[str] = []
    tries: list[bool] = []
    copy_all = Mirror.copy_all

    def counted(self: Mirror, last: bool) -> None:
        tries.append(last)
        copy_all(self, last)

    monkeypatch.setattr(Mirror, "copy_all", counted)
    with running_s3_server() as (url, server):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        at = paths(Bucket("s3://test/there"), "y")
        assert at.copy is not None
        copy = at.copy
        with mirrored(at, told.append) as copying:
            other = Search.create(spec_of("y"), at)
            other.begin()
            wait_for(lambda: (seen := read_contents(copy)) and seen.bytes > 0, "it is copied")
            server.kill()
            server.wait()
            give(other, ask_and_start(other), 0.5, 0.6)
            wait_for(lambda: told, "the loss is told")
            before = len(tries)
            wait_for(lambda: len(tries) >= before + 2, "it is tried again")
            other.close()
    assert len(told) == 1
    assert told[0].endswith("the search goes on, and copying is tried again")
    assert copying.missing is not None
    assert str(at.root) in copying.missing
    assert AWS["AWS_SECRET_ACCESS_KEY"] not in told[0] + copying.missing
