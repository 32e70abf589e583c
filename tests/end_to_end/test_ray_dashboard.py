"""A search in Ray's dashboard and for Prometheus, as a browser and a scraper see it."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.browser import browse, needs_browser
from tests.end_to_end.conftest import COMMAND, Running, descendants, needs_mounts, temporary, tune_app, wait_for
from tests.end_to_end.nodes import Nodes, nodes, python_without
from tests.end_to_end.test_cluster import SPACE
from tests.end_to_end.test_search import LONG
from tune_app.experiment.history import load_experiment
from tune_app.tuning.job import LOST, WHERE_TO_LOOK

LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
"""127.0.0.1, the same in IPv6, and ::1, as /proc/net/tcp writes them."""


def listening(pids: set[int]) -> set[str]:
    """The addresses at which processes listen."""
    sockets = {
        link
        for pid in pids
        for descriptor in Path(f"/proc/{pid}/fd").glob("*")
        if descriptor.is_symlink() and (link := str(descriptor.readlink())).startswith("socket:")
    }
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                found.add(fields[1].split(":")[0])
    return found


def rendered(url: str) -> str:
    """A page as a browser without a screen has it after some seconds."""
    command = [
        "chromium",
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--virtual-time-budget=15000",
        "--dump-dom",
        url,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout


def metric(texts: list[str], name: str, **labels: str) -> float | None:
    """The value of a metric in what was scraped."""
    for line in "\n".join(texts).splitlines():
        if line.startswith(f"ray_tune_app_{name}{{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
            return float(line.rsplit(" ", 1)[1])
    return None


@needs_browser
def test_a_search_shows_in_the_dashboard_and_for_prometheus_and_on_this_machine_only(
    tmp_path: Path, start: Callable[..., Running], small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_metrics_report_interval_ms", "500")
    running = start("search", "quick", "--name", "shown", "--data", small_data, "--dashboard")
    assert running.process.stderr is not None
    url = None
    for line in running.process.stderr:
        found = re.search(r"stays open until Ctrl-C: (http://127\.0\.0\.1:\d+)", line)
        if found:
            url = found[1]
            break
    assert url
    assert listening({running.process.pid} | descendants(running.process.pid)) <= LOOPBACK

    history = load_experiment("shown", tmp_path / "experiments").history
    assert history.best is not None
    (targets,) = temporary(tmp_path).glob("tune-*/prom_metrics_service_discovery.json")

    def scrape() -> list[str]:
        addresses = json.loads(targets.read_text())[0]["targets"]
        return [urllib.request.urlopen(f"http://{a}/metrics", timeout=10).read().decode() for a in addresses]

    wait_for(lambda: metric(scrape(), "results") == history.results, "the last results are exported")
    texts = scrape()
    for state in ("pending", "running", "stopped", "completed", "failed"):
        assert metric(texts, "trials", state=state, experiment="shown") == history.count(state)
    assert metric(texts, "best_valid_accuracy") == pytest.approx(history.best["valid_accuracy"])
    series = {line.rsplit(" ", 1)[0] for line in "\n".join(texts).splitlines() if line.startswith("ray_tune_app_")}
    assert len(series) == 5 + 3, "few, however many trials there are"

    (job,) = json.loads(urllib.request.urlopen(f"{url}/api/jobs/", timeout=10).read())
    best = f"{history.best['valid_accuracy']:.4f} (trial {history.best['trial']})"
    labels = {"job_name": "shown", "space_digest": history.spec.digest, "best_valid_accuracy": best}
    assert job["metadata"] == labels
    assert (job["status"], job["message"]) == ("SUCCEEDED", "The search ended: completed.")
    assert 1000 < job["end_time"] - job["start_time"] < 60_000
    assert re.search(r">\s*shown\s*<", rendered(f"{url}/#/jobs"))
    log = "tune-app status shows it"
    browse(lambda page: page.wait_for_text(f"{url}/#/jobs/{job['job_id']}", best, log))
    actors = rendered(f"{url}/#/actors")
    workers = {attempt["pid"] for trial in history.trials for attempt in trial.attempts}
    assert actors.count("TutorialTrial") == actors.count("tune_app worker") == len(workers)
    assert all(str(pid) in actors for pid in workers)
    assert "ImplicitFunc" not in actors

    running.process.send_signal(signal.SIGINT)
    code, out, _ = running.end(20)
    assert code == 0
    assert "Export it: tune-app export shown" in out


@pytest.mark.parametrize("host", ["203.0.113.1", "no-such-host.invalid"])
def test_a_dashboard_host_that_is_not_of_this_machine_is_one_line(tmp_path: Path, host: str) -> None:
    done = tune_app(tmp_path, "search", "quick", "--dashboard-host", host, timeout=30)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: --dashboard-host {host}: ")
    assert done.stderr.endswith("; allowed: an address of this machine, 0.0.0.0 for all of them\n")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "experiments").exists()


def test_a_dashboard_for_others_needs_a_token(tmp_path: Path, small_data: Path) -> None:
    done = tune_app(tmp_path, "search", "quick", "--data", small_data, "--dashboard-host", "0.0.0.0")
    assert done.returncode == 1
    assert done.stderr.startswith(
        "Error: --dashboard-host 0.0.0.0: without a token, anyone who reaches it could run"
    )
    assert "RAY_AUTH_MODE=token" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "experiments").exists()


def jobs_of(cluster: Nodes, **labels: str) -> list[dict[str, Any]]:
    """What the dashboard of a cluster shows of the jobs with these metadata."""
    jobs = json.loads(urllib.request.urlopen(f"{cluster.dashboard}/api/jobs/", timeout=10).read())
    return [job for job in jobs if labels.items() <= (job["metadata"] or {}).items()]


def supervisors(cluster: Nodes) -> list[str]:
    """The names of the actors that look after jobs, or will."""
    url = f"{cluster.dashboard}/api/v0/actors?filter_keys=state&filter_predicates=%21%3D&filter_values=DEAD"
    found = json.loads(urllib.request.urlopen(url, timeout=10).read())["data"]["result"]["result"]
    return [actor["name"] for actor in found if actor["class_name"] == "Supervisor"]


def ray_job(cluster: Nodes, *arguments: str, **env: str) -> str:
    """What Ray's own command says about jobs."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "job", arguments[0], "--address", cluster.dashboard]
    env = {**cluster.env, **env}
    done = subprocess.run(
        [*command, *arguments[1:]], env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_mounts
def test_a_search_that_joined_a_cluster_is_a_job_with_its_best_that_can_be_stopped_and_ends_with_its_process(
    tmp_path: Path, small_data: Path
) -> None:
    (tmp_path / "long.yaml").write_text(LONG)
    (tmp_path / "short.yaml").write_text(SPACE)
    head = python_without(tmp_path / "head", "tune_app", "optuna", "safetensors", "rich")
    with nodes(tmp_path, "--num-cpus", 0, python=head) as cluster:
        cluster.start("--num-cpus", 1)

        joining = ("--data", small_data, "--address", cluster.address)

        def search(name: str) -> Running:
            running = Running(tmp_path, "search", "long.yaml", *joining, "--name", name)
            running.wait_for_results(name, 1)
            wait_for(lambda: "best_valid_accuracy" in jobs_of(cluster, job_name=name)[0]["metadata"], "a label")
            return running

        stopped = search("stopped")
        (job,) = jobs_of(cluster, job_name="stopped")
        history = load_experiment("stopped", tmp_path / "experiments").history
        assert job["metadata"]["space_digest"] == history.spec.digest
        assert re.fullmatch(r"0\.\d{4} \(trial \d+\)", job["metadata"]["best_valid_accuracy"])
        assert (job["status"], job["type"], job["end_time"]) == ("RUNNING", "SUBMISSION", None)
        assert job["driver_info"]["pid"] == str(stopped.process.pid)
        assert supervisors(cluster) == [f"_ray_internal_job_actor_{job['submission_id']}"]
        assert WHERE_TO_LOOK in ray_job(cluster, "logs", job["submission_id"])
        ray_job(cluster, "stop", job["submission_id"])
        code, _, err = stopped.end()
        assert code == 130, err
        (job,) = jobs_of(cluster, job_name="stopped")
        assert (job["status"], job["message"]) == ("STOPPED", "The search ended: interrupted.")
        wait_for(lambda: not supervisors(cluster), "its supervisor has ended")

        killed = search("killed")
        killed.process.kill()
        killed.end()
        wait_for(lambda: jobs_of(cluster, job_name="killed")[0]["status"] == "FAILED", "its end is entered")
        assert jobs_of(cluster, job_name="killed")[0]["message"] == LOST
        wait_for(lambda: not supervisors(cluster), "its supervisor has ended")

        refused = tune_app(tmp_path, "search", "short.yaml", *joining, "--cpus-per-trial", 64, "--name", "refused")
        assert refused.returncode == 1
        (job,) = jobs_of(cluster, job_name="refused")
        assert (job["status"], job["message"]) == ("FAILED", "The search ended: error.")
        wait_for(lambda: not supervisors(cluster), "its supervisor has ended")

        done = tune_app(tmp_path, "search", "short.yaml", *joining, "--name", "done")
        assert done.returncode == 0, done.stderr
        (job,) = jobs_of(cluster, job_name="done")
        assert (job["status"], job["message"]) == ("SUCCEEDED", "The search ended: completed.")
        wait_for(lambda: not supervisors(cluster), "its supervisor has ended")


def test_what_runs_in_a_job_of_rays_own_labels_it_and_in_a_job_of_another_cluster_is_one_of_its_own(
    tmp_path: Path, small_data: Path
) -> None:
    (tmp_path / "short.yaml").write_text(SPACE)
    search = [*COMMAND, "search", str(tmp_path / "short.yaml"), "--data", str(small_data), "--quiet"]
    search += ["--experiments-dir", str(tmp_path / "experiments"), "--name"]
    with nodes(tmp_path, "--num-cpus", 1) as cluster:
        named = ("--metadata-json", json.dumps({"job_name": "nightly"}))
        ray_job(cluster, "submit", *named, "--", *search, "inside", "--address", "auto")
        (job,) = jobs_of(cluster, job_name="nightly")
        history = load_experiment("inside", tmp_path / "experiments").history
        assert history.best is not None
        best = f"{history.best['valid_accuracy']:.4f} (trial {history.best['trial']})"
        assert job["metadata"]["space_digest"] == history.spec.digest
        assert job["metadata"]["best_valid_accuracy"] == best
        assert not supervisors(cluster)

        config = json.dumps({"metadata": {"job_submission_id": "of-another"}})
        env = {**cluster.env, "RAY_JOB_CONFIG_JSON_ENV_VAR": config}
        subprocess.run([*search, "elsewhere", "--address", cluster.address], env=env, timeout=120, check=True)
        (job,) = jobs_of(cluster, job_name="elsewhere")
        assert (job["submission_id"], job["status"]) == ("of-another", "SUCCEEDED")
        wait_for(lambda: not supervisors(cluster), "its supervisor has ended")

        alone = [*search, "alone", "--address", cluster.address, "--no-dashboard"]
        subprocess.run(alone, env=cluster.env, timeout=120, check=True)
        (job,) = jobs_of(cluster, job_name="alone")
        assert (job["type"], job["submission_id"]) == ("DRIVER", None)
        assert job["metadata"] == {"job_name": "alone", "space_digest": history.spec.digest}
