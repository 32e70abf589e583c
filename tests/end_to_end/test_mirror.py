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
from tests.end_to_end.conftest import HASTY, Start, succeed, tune_app, wait_for
from tests.end_to_end.invariants import check, outcome
from tune_app.errors import TuneAppError
from tune_app.storage.bucket import Bucket
from tune_app.storage.load import load_experiment
from tune_app.storage.mirror import read_contents

SECONDS_ALIVE = 5
"""As hasty.py has it."""
SPACE = """
space: {level: {choice: [fit, cnn]}, lr: {loguniform: [0.01, 1]}, bs: 4}
search: {num_samples: 4, max_epochs: 4, results_per_epoch: 4, grace_period: 4}
"""


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


def test_a_copied_search_goes_on_elsewhere_to_what_an_uninterrupted_one_finds_and_one_that_comes_back_stops(
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
    later = start(*go_on, command=HASTY, folder=second)
    wait_for(copied(bucket, has.history.results + 2), "it goes on")
    later.process.send_signal(signal.SIGSTOP)
    last, known = (
        max(r.time for trial in load_experiment("x", place).history.trials for r in trial.results)
        for place in (local(second, bucket), bucket.url)
    )
    assert last - known < 10
    succeed(tmp_path, *arguments, "--name", "whole")
    wait_for(lambda: silent(bucket), "it is taken for dead", SECONDS_ALIVE + 20)
    done = resumed(tmp_path, bucket)
    assert done.returncode == 0, done.stderr
    later.process.send_signal(signal.SIGCONT)
    _, err = later.end(60, code=1)
    assert err.splitlines()[-1].startswith(f"Error: {bucket}/x: another process, which has ended, has taken the")
    assert "Traceback" not in err
    assert load_experiment("x", bucket.url).state == "finished"
    (tmp_path / "experiments" / "x").symlink_to(local(tmp_path, bucket) / "x")
    check(tmp_path, "x")
    assert outcome(tmp_path, "x") == outcome(tmp_path, "whole")


def test_without_its_server_a_search_goes_on_and_says_in_the_end_what_is_missing_until_resume_copies_it(
    tmp_path: Path, second: Path, start: Start, small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    bucket = Bucket("s3://test/x")
    arguments = ("search", "space.yaml", "--name", "x", "--data", small_data, "--in-process", "--num-samples", 12)
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
