"""A search in Ray's dashboard and for Prometheus, as a browser and a scraper see it."""

import json
import re
import signal
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.browser import needs_browser, rendered
from tests.end_to_end.conftest import Start, descendants, temporary, wait_for
from tune_app.storage.load import load_experiment
from tune_app.task.task import config_words

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


def metric(texts: list[str], name: str, **labels: str) -> float | None:
    """The value of a metric in what was scraped."""
    for line in "\n".join(texts).splitlines():
        if line.startswith(f"ray_tune_app_{name}{{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
            return float(line.rsplit(" ", 1)[1])
    return None


def asked(url: str) -> Any:
    """What the dashboard's API answers."""
    return json.loads(urllib.request.urlopen(url, timeout=10).read())


def logs_of(url: str, class_name: str) -> str:
    """The logs that the pages of the actors of a class show."""
    actors = asked(f"{url}/api/v0/actors?limit=100")["data"]["result"]["result"]
    log = f"{url}/api/v0/logs/file?suffix=err&lines=10000&actor_id="
    ids = [actor["actor_id"] for actor in actors if actor["class_name"] == class_name]
    return "".join(urllib.request.urlopen(log + one, timeout=10).read().decode() for one in ids)


@needs_browser
def test_a_search_shows_in_the_dashboard_and_for_prometheus_and_on_this_machine_only(
    tmp_path: Path, start: Start, small_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_metrics_report_interval_ms", "500")
    running = start("search", "quick", "--name", "shown", "--data", small_data, "--dashboard")
    found = re.search(r"http://127\.0\.0\.1:\d+", running.wait_for_line("stays open until Ctrl-C: "))
    assert found
    url = found[0]
    assert listening({running.process.pid} | descendants(running.process.pid)) <= LOOPBACK

    history = load_experiment("shown", tmp_path / "experiments").history
    assert history.best is not None
    (targets,) = temporary(tmp_path).glob("tune-*/prom_metrics_service_discovery.json")

    def scrape() -> list[str]:
        addresses = json.loads(targets.read_text())[0]["targets"]
        return [urllib.request.urlopen(f"http://{a}/metrics", timeout=10).read().decode() for a in addresses]

    wait_for(lambda: metric(scrape(), "results") == history.results, "the last results are exported")
    texts = scrape()
    for state in ("pending", "running", "paused", "stopped", "completed", "failed"):
        assert metric(texts, "trials", state=state, experiment="shown") == history.count(state)
    assert metric(texts, "best_valid_accuracy") == pytest.approx(history.best.valid["valid_accuracy"])
    series = {line.rsplit(" ", 1)[0] for line in "\n".join(texts).splitlines() if line.startswith("ray_tune_app_")}
    assert len(series) == 6 + 3, "few, however many trials there are"

    (job,) = asked(f"{url}/api/jobs/")
    assert job["metadata"] == {"job_name": "shown", "space_digest": history.spec.digest}
    actors, _ = rendered(f"{url}/#/actors")
    workers = {attempt["pid"] for trial in history.trials for attempt in trial.attempts}
    assert actors.count("TrialWorker") == actors.count("tune_app worker") == len(workers)
    assert all(str(pid) in actors for pid in workers)
    assert "ImplicitFunc" not in actors
    said = logs_of(url, "TrialWorker")
    for trial in history.trials:
        for result in trial.results:
            words = f"trial {trial.number}, epoch {result.epoch:g}: {result.valid['valid_accuracy']:.4f}"
            assert f"{words}; {config_words(trial.config)}\n" in said

    running.process.send_signal(signal.SIGINT)
    out, _ = running.end(20)
    assert "Export it: tune-app export shown" in out
