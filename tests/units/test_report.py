"""The report of a search, made from the record alone."""

import base64
import json
import os
import re
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from tests.made_up import SCRIPT, WORKER, ask_and_start, give, searching, spec_of, tutorial_experiment
from tune_app.cli import main
from tune_app.engine.search import Search
from tune_app.experiment.experiment import Experiment
from tune_app.experiment.space import load_space
from tune_app.experiment.spec import Paths
from tune_app.output.report.page import report_html
from tune_app.output.report.sections import repetition
from tune_app.output.results import write_results
from tune_app.storage.load import load_experiment


class Reader(HTMLParser):
    """What a browser would see: texts by section, tables, and scripts that are not data."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.anchors: list[str] = []
        self.scripts = 0
        self.figures: dict[str, Any]
        self.texts: dict[str, str] = {"": ""}
        self.tables: dict[str, list[list[list[str]]]] = {}
        self.within, self.section, self.json = "", "", ""
        self.feed(page)
        self.close()
        self.figures = json.loads(self.json)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.within = "figures" if given.get("id") == "figures" else tag
        if tag == "section":
            self.section = str(given["id"])
            self.anchors.append(self.section)
            self.texts[self.section], self.tables[self.section] = "", []
        elif tag == "script" and self.within == "script":
            self.scripts += 1
        elif tag == "table":
            self.tables[self.section].append([])
        elif tag == "tr":
            self.tables[self.section][-1].append([])
        elif tag in ("td", "th"):
            self.tables[self.section][-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self.within = ""

    def handle_data(self, data: str) -> None:
        if self.within == "figures":
            self.json += data
        elif self.within in ("td", "th"):
            self.tables[self.section][-1][-1][-1] += data
        if self.within not in ("script", "style", "figures"):
            self.texts[self.section] += data


def read(experiment: Experiment) -> Reader:
    return Reader(report_html(experiment))


def values(coded: Any) -> list[Any]:
    """The numbers of an axis, which plotly packs where it can."""
    if isinstance(coded, dict):
        return list(np.frombuffer(base64.b64decode(coded["bdata"]), dtype=coded["dtype"]))
    return list(coded)


def points(reader: Reader, chart: str, *traces: str) -> int:
    """How many points a chart draws, in all of its traces or in those of these names."""
    return sum(
        sum(y is not None for y in values(trace["y"]))
        for trace in reader.figures[f"chart-{chart}"]["data"]
        if not traces or trace.get("name") in traces
    )


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Experiment]:
    """A finished search of the default space with so many trials."""
    return partial(tutorial_experiment, tmp_path, "made")


@pytest.fixture(scope="module")
def sixty(tmp_path_factory: pytest.TempPathFactory) -> tuple[Experiment, Reader]:
    """An experiment of sixty trials, and its report."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        experiment = tutorial_experiment(tmp_path_factory.mktemp("sixty"), "made", 60)
    return experiment, read(experiment)


def test_the_numbers_are_those_that_pandas_finds_in_the_results(sixty, tmp_path: Path) -> None:
    experiment, reader = sixty
    write_results(experiment, tmp_path / "results.parquet")
    frame: Any = pd.read_parquet(tmp_path / "results.parquet")

    best = frame.loc[frame.valid_accuracy.idxmax()]
    assert f"{best.valid_accuracy:.4f} valid accuracy" in reader.texts["answer"]
    assert f"Trial {best.trial} at epoch {best.epoch:g}, valid loss {best.valid_loss:.4f}" in reader.texts["answer"]
    before = frame[(frame.trial == best.trial) & (frame.k <= best.k)]
    took = (before.train_seconds + before.valid_seconds).sum()
    assert f"{took:.1f} s of training and validating" in reader.texts["answer"]
    gain = best.valid_accuracy - frame[frame.trial == 0].valid_accuracy.max()
    assert f"{gain:.4f} better than the baseline" in reader.texts["answer"]

    by_trial = frame.groupby("trial").valid_accuracy.max()
    (history,) = reader.tables["optimisation-history"]
    assert [(int(n), float(v), float(b)) for n, v, b in history[1:]] == [
        (n, v, b) for n, v, b in zip(by_trial.index, by_trial, by_trial.cummax(), strict=True)
    ]
    (curves,) = reader.tables["learning-curves"]
    assert [(int(n), float(e), float(v)) for n, e, v in curves[1:]] == list(
        frame[["trial", "epoch", "valid_accuracy"]].itertuples(index=False, name=None)
    )
    at_rungs = frame.dropna(subset="rung").groupby(["family", "rung"]).decision
    reached = at_rungs.agg(len).reset_index(name="reached")
    stopped = at_rungs.agg(lambda decisions: (decisions != "continue").sum())
    for row, of_rung, n in zip(
        reader.tables["rungs"][0][1:], reached.itertuples(index=False), stopped, strict=True
    ):
        expected = [of_rung.family, f"{of_rung.rung:g}", of_rung.reached, of_rung.reached - n, n]
        assert row[:5] == list(map(str, expected))


def test_each_chart_has_as_many_points_as_the_record_gives(sixty) -> None:
    experiment, reader = sixty
    trials = [trial for trial in experiment.history.trials if trial.results]
    results = [result for trial in trials for result in trial.results]
    assert points(reader, "history", "best of a trial") == len(trials) == 58
    assert points(reader, "curves") == len(results) + experiment.history.count("stopped")
    assert points(reader, "slice-lr") == points(reader, "slice-epochs") == len(trials)
    with_momentum = sum("momentum" in trial.config for trial in trials)
    assert points(reader, "slice-momentum") == with_momentum < len(trials)
    assert points(reader, "cost") == len(trials)
    assert points(reader, "importance") == len(["level", "lr", "bs", "momentum", "epochs"])
    rows = reader.tables["failures"][0][1:]
    assert [row[:3] for row in rows] == [["error: ValueError", "2", "28, 58"], ["diverged", "2", "29, 59"]]


def test_importances_say_on_how_many_trials_they_rest_and_are_left_out_below_twenty(sixty, make) -> None:
    assert "On 58 trials" in sixty[1].texts["importance-of-the-dimensions"]
    reader = read(make(19))
    assert "Left out: 19 trials with a result say too little" in reader.texts["importance-of-the-dimensions"]
    assert "chart-importance" not in reader.figures


def test_a_script_hidden_anywhere_in_a_record_stays_text(at: Paths) -> None:
    spec = spec_of(SCRIPT, num_samples=2)
    data = spec.data.model_copy(update={"source": SCRIPT})
    search = Search.create(spec.model_copy(update={"data": data}), at)
    give(search, ask_and_start(search, {**WORKER, "node": SCRIPT}), 0.5)
    search.lost(0, "its worker died", SCRIPT)
    search.failed(ask_and_start(search), f"Traceback\nValueError: {SCRIPT}")
    search.close()
    page = report_html(load_experiment("x", at.root.parent))
    assert SCRIPT not in page
    reader = Reader(page)
    assert reader.scripts == 2, "plotly.js and what draws"
    assert SCRIPT in reader.texts["failures"]


def test_the_page_may_load_nothing_and_run_only_its_own_scripts(make) -> None:
    page = report_html(make(2))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy.split("style-src")[0]
    assert page.count("plotly.js v") == 1


def test_a_search_without_a_result_yet_is_a_page_that_says_so(tmp_path: Path) -> None:
    with searching(tmp_path, "x") as search:
        ask_and_start(search)
        reader = read(load_experiment("x", tmp_path))
        assert "There is no result yet." in reader.texts["answer"]
        assert "still running" in reader.texts["answer"]
        assert reader.anchors == ["answer", "trials", "failures", "repeat-it"]


def test_a_space_in_which_nothing_varies_and_early_stopping_off_are_no_mistake(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"early_stopping": False, "metric": "valid_loss", "num_samples": 25}
    with searching(tmp_path, "x", {"level": "linear", "lr": 0.1}, **settings) as search:
        for i in range(25):
            give(search, ask_and_start(search), *[0.5 + i / 100] * 9)
    reader = read(load_experiment("x", tmp_path))
    assert "Early stopping was off" in reader.texts["rungs"]
    assert points(reader, "slice-epochs") == 25


@pytest.mark.parametrize("kind", ["parquet", "csv", "html"])
def test_half_a_surrogate_pair_in_a_traceback_does_no_harm(tmp_path: Path, kind: str) -> None:
    with searching(tmp_path, "x") as search:
        give(search, number := ask_and_start(search), 0.5)
        search.failed(number, "Traceback\nValueError: \udc80")
    path = tmp_path / f"found.{kind}"
    command = "report" if kind == "html" else "results"
    done = CliRunner().invoke(main, [command, "x", "-o", str(path), "--experiments-dir", str(tmp_path)])
    assert done.exit_code == 0, done.exception
    assert path.stat().st_size > 0


@pytest.mark.parametrize(
    ("space", "settings"),
    [
        ("quick", {"num_samples": 7, "seed": 3, "early_stopping": False, "grace_period": 0.5}),
        ("grid", {"time_budget": "2m"}),
        ("digits", {"target": 0.9, "metric": "valid_loss"}),
    ],
)
def test_the_files_that_repeat_a_search_search_the_same(tmp_path, space, settings) -> None:
    source = load_space(space, settings)
    spec = spec_of("x", source.content, **source.settings.model_dump())
    spec = spec.model_copy(update={"task": source.task, "task_path": str(source.home)})
    command, files = repetition(spec)
    assert command == "tune-app search x.yaml"
    (tmp_path / "x.yaml").write_text(files["x.yaml"])
    again = load_space(str(tmp_path / "x.yaml"))
    assert (again.content, again.settings) == (source.content, source.settings)
    assert again.task.digest == source.task.digest


def test_data_and_enqueued_configs_belong_to_the_command(tmp_path: Path) -> None:
    spec = spec_of("x")
    data = spec.data.model_copy(update={"source": "my images.parquet"})
    config = {"level": "linear", "lr": 0.1, "bs": 64}
    command, files = repetition(spec.model_copy(update={"data": data, "enqueued": (config,)}))
    assert command == "tune-app search x.yaml --enqueue x-first-0.yaml --data 'my images.parquet'"
    assert files["x-first-0.yaml"] == "config:\n  level: linear\n  lr: 0.1\n  bs: 64\n"
