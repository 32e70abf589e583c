"""GPUs that a cluster only claims to have: shared, waited for, and left alone where they cannot be used."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.bundles import run
from tests.end_to_end.conftest import COMMAND, HASTY, MADE_UP, Start, environment, succeed, tune_app
from tests.end_to_end.test_cluster import HEAD, running_head
from tests.refused import error_of
from tune_app.storage.load import load_experiment

ONE = "space: {level: linear}\nsearch: {num_samples: 1, max_epochs: 1, results_per_epoch: 2}"
SEARCH = ("search", "space.yaml", "--no-dashboard", "--data")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Ray that claims two GPUs, which torch cannot use."""
    assert not torch.cuda.is_available()
    with running_head(
        tmp_path_factory.mktemp("head"), HEAD.replace("num_cpus=2", "num_cpus=4, num_gpus=2")
    ) as found:
        yield found


def test_they_are_shared_and_each_trial_sees_its_own_and_a_token_is_refused_where_none_is_known(
    tmp_path: Path, small_data: Path, address: str
) -> None:
    (tmp_path / "space.yaml").write_text(ONE)
    (tmp_path / "token").write_text("a" * 64)
    arguments = (*SEARCH, small_data, "--address", address)
    token = ["env", "RAY_AUTH_MODE=token", f"RAY_AUTH_TOKEN_PATH={tmp_path / 'token'}", *COMMAND]
    refused = tune_app(tmp_path, *arguments, command=token)
    assert error_of(refused) == (
        f"--address {address}: the cluster knows no tokens, and its workers would die of this one;"
        " allowed: RAY_AUTH_MODE=disabled"
    )
    assert not (tmp_path / "experiments").exists()
    done = succeed(tmp_path, "meeting", tmp_path, address, command=MADE_UP)
    # 4 CPUs for 2 GPUs: two trials share each, and no trial sees more than one.
    assert json.loads(done.stdout.splitlines()[-1]) == {"gpus": 0.5, "at_once": 4}
    trials = load_experiment("x", tmp_path / "experiments").history.trials
    seen = {attempt["pid"]: attempt["gpus"] for trial in trials for attempt in trial.attempts}
    assert sorted(seen.values()) == ["0", "0", "1", "1"]


USABLE = """
from tune_app.cli import main
from tune_app.cluster import resources

resources.cuda_memory = lambda: 5e9  # as if torch could use it when one looks, and no longer in a trial
main()
"""


@pytest.mark.usefixtures("one_thread")
def test_the_same_error_in_the_first_trials_stops_the_search_and_one_of_them_is_repeated_in_the_foreground(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_data: Path, address: str
) -> None:
    """It stops again when it is resumed: tests/units/test_search.py."""
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text(ONE)
    usable = [sys.executable, "-c", USABLE]
    on_gpu = ("--address", address, "--gpus-per-trial", 1, "--max-concurrent-trials", 1, "--num-samples", 10)
    done = tune_app(tmp_path, *SEARCH, small_data, "--name", "x", *on_gpu, command=usable)
    assert done.returncode == 1
    assert done.stdout.startswith("The search was stopped: the first trials all failed with the same error.\n")
    assert "Ray offers a GPU that torch cannot use; allowed: --gpus-per-trial 0\n" in done.stdout
    assert "Go on: tune-app resume x\n" in done.stdout
    assert "Repeat it in the foreground: tune-app train x --trial 0\n" in done.stdout
    status = json.loads(run("status", "x", "--json").stdout)
    assert (status["state"], status["reason"]) == ("interrupted", "error")
    assert [trial["state"] for trial in status["trials"]] == ["failed"] * 3

    repeated = run("train", "x", "--trial", 0)  # on the CPU, which can do it
    assert repeated.exit_code == 0, repeated.stderr
    assert [line.split()[:2] for line in repeated.stdout.splitlines()[:2]] == [["epoch", "0.5"], ["epoch", "1"]]
    assert "different: device: cuda in the search, cpu now" in repeated.stdout


HOLDER = """
import sys, ray
ray.init(address=sys.argv[1], log_to_driver=False)
@ray.remote(num_cpus=0, num_gpus=2)
class Other: ...
other = Other.remote()
ray.get(other.__ray_ready__.remote())
print("held", flush=True)
sys.stdin.read()
"""


def test_gpus_that_others_hold_are_waited_for_as_long_as_told_and_then_do_not_count(
    tmp_path: Path, small_data: Path, address: str, start: Start
) -> None:
    (tmp_path / "space.yaml").write_text(ONE)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, address],
        env=environment(tmp_path),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    arguments = (*SEARCH, small_data, "--address", address)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        asked = tune_app(tmp_path, *arguments, "--gpus-per-trial", 1, command=HASTY)
        assert asked.returncode == 1
        assert asked.stderr.splitlines()[-3:] == [
            "Waiting up to 2 s for GPUs that others may hold.",
            "Ray offers 2 GPUs that others hold; trials do without.",
            "Error: --gpus-per-trial is 1, allowed: up to the 0 that one machine has here",
        ]
        auto = succeed(tmp_path, *arguments, command=HASTY)
        assert "Ray offers 2 GPUs that others hold; trials do without." in auto.stderr
        waiting = start(*arguments, "--wait-for-resources", 100, command=HASTY)
        waiting.wait_for_line("Waiting up to 100 s for GPUs")
        holder.communicate(timeout=30)
    _, err = waiting.end(120)
    assert "Ray offers 2 GPUs that torch cannot use (no CUDA); trials do without." in err
