import json
import os
import platform
from dataclasses import replace
from functools import cache
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

from tests.bundles import search_really
from tests.made_up import ask_and_start, give, searching, spec_of
from tests.refused import error_of
from tune_app import api, driver
from tune_app.cli import main
from tune_app.cluster.ray_private import found_by_ray
from tune_app.engine.search import Search
from tune_app.experiment.findings import Confirmation
from tune_app.experiment.settings import Settings
from tune_app.output.progress import progress
from tune_app.output.terminal import console
from tune_app.storage.load import load_experiment
from tune_app.storage.location import paths

COMMANDS = main.commands
ODD = "RuntimeError: [enforce fail at x.cpp:118] in [/tmp/foo]"
"""An error that looks like the markup of a terminal."""


@pytest.fixture
def experiment(tmp_path: Path) -> str:
    """An experiment of three trials, made without Ray."""
    with searching(tmp_path / "experiments", "made", metric="valid_accuracy", end="completed") as search:
        give(search, ask_and_start(search), *[0.9] * 9)
        search.failed(ask_and_start(search), f"Traceback (most recent call last):\n{ODD}")
        search.ask()
    return "made"


def test_every_command_has_help_with_an_example() -> None:
    for name, command in {"": main, **COMMANDS}.items():
        text = CliRunner().invoke(main, [name, "--help"] if name else ["--help"]).output
        assert f"Example: tune-app {name}".strip() in " ".join(text.split()), name
        for option in command.params:
            assert isinstance(option, click.Argument) or option.help, (name, option.name)


def test_a_search_that_confirms_says_that_its_confirmation_was_not_copied(experiment, tmp_path, monkeypatch):
    found = load_experiment(experiment, tmp_path / "experiments")
    runs = replace(found, not_copied="s3://bucket/made: the last 7 bytes are not there")
    monkeypatch.setattr(api, "search", lambda *_: found)
    monkeypatch.setattr(api, "confirm", lambda *_, **__: Confirmation(found, runs, 0))
    result = CliRunner().invoke(main, ["search", "--confirm"])
    assert (result.exit_code, str(runs.not_copied) in result.output) == (4, True)


def test_each_setting_is_an_option_of_search_and_a_row_of_the_docs() -> None:
    options = {p.name: p for p in COMMANDS["search"].params if isinstance(p, click.Option)}
    rows = []
    for name, field in Settings.model_fields.items():
        assert field.description
        assert options[name].help == f"{field.description[0].upper()}{field.description[1:]}."
        default = "" if field.default is None else f"{str(field.default).lower()} "
        rows.append(f"| `{name}` | {default}| {field.description} |")
    docs = (Path(__file__).parents[2] / "docs" / "spaces.md").read_text()
    assert "\n".join(["| key | default | meaning |", "|--|--|--|", *rows, "\n"]) in docs


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search", "--name", "../x"], 1, "name '../x' is not allowed: letters, digits"),
        (["search", "--name", ""], 1, "name '' is not allowed"),
        (["search", "~nobody-here/x.yaml"], 1, "no such file or shipped space"),
        (["search", "--address", "a..b:1"], 1, "--address a..b:1: no Ray cluster answers"),
        (["search", "--address", "127.0.0.1:99999"], 1, "--address 127.0.0.1:99999: "),
        (["search", "--address", "ray://127.0.0.1:1"], 1, "--address ray://127.0.0.1:1: "),
        (["search", "quik"], 1, "quik: no such file or shipped space, did you mean 'quick'?"),
        (["search", "--in-process", "--gpus-per-trial", 1], 1, "--gpus-per-trial is 1.0, allowed: 0, torch can"),
        (["search", "--resume"], 2, "--resume needs a --name"),
        (["extend", "x"], 2, "--num-samples or --time-budget is missing"),
        (["resume"], 1, "experiments: no experiments yet"),
        (["remove", "x"], 1, "experiments: no experiment x"),
        (["remove", ".."], 1, "name '..' is not allowed"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(run, tmp_path, arguments, code, message) -> None:
    done = run(*arguments)
    assert done.exit_code == code
    assert message in (error_of(done) if code == 1 else done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_ray_knows_and_that_is_gone_is_not_waited_for(run, tmp_path, monkeypatch) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", cache(set))  # others may run on this machine
    said = "--address auto: no Ray cluster answers at "
    assert error_of(run("search", "--address", "auto")).startswith(said)


def test_a_cluster_that_ray_noted_in_other_words_is_none(tmp_path, monkeypatch) -> None:
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("nonsense")
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", cache(set))
    assert found_by_ray() is None


def test_validate_shows_dimensions_rungs_trials_and_resources(run) -> None:
    (Path.cwd() / "s.yaml").write_text(
        "space: {level: {choice: [linear, cnn]}, momentum: {uniform: [0, 0.9], when: {level: [cnn]}}}\n"
        "search: {num_samples: 7, max_epochs: 10, grace_period: 0.5, reduction_factor: 4}"
    )
    shown = run("validate", "s.yaml").output
    assert "s: 7 trials of up to 10 epochs" in shown
    assert "momentum      uniform from 0 to 0.9, when level is cnn" in shown
    assert "rungs         0.5, 2, 8 epochs (results 4 times an epoch)" in shown
    assert "at once on this machine" in shown
    content = json.loads(run("validate", "s.yaml", "--json").output)
    assert (content["trials"], content["rungs"]) == (7, [0.5, 2, 8])
    # Also of one that needs more than this machine has.
    Path("big.yaml").write_text("space: {lr: 0.1}\nsearch: {cpus_per_trial: 500, early_stopping: false}")
    shown = run("validate", "big.yaml").output
    assert "500 CPUs; 0 at once on this machine" in shown
    assert "rungs         none (results" in shown


def test_a_failed_trial_is_shown_with_its_traceback_and_its_error_as_it_is(run, experiment, capsys) -> None:
    assert "1 completed, 0 stopped early, 1 failed, 1 interrupted" in run("status", experiment).output
    trial = run("status", experiment, "--trial", 1).output
    assert f"error: {ODD}" in trial
    assert "Traceback (most recent call last):" in trial
    with progress(quiet=False) as shown:
        shown.announce(ODD)
    console().print(ODD)
    assert all(ODD in stream for stream in capsys.readouterr())


def test_an_export_has_the_weights_of_the_best_result(run, experiment: str) -> None:
    assert run("export", experiment).exit_code == 0
    weights = load_file("made-best/weights.safetensors")
    assert list(weights) == ["weights"]
    assert weights["weights"].tolist() == [0.9] * 3
    manifest = json.loads(Path("made-best/manifest.json").read_text())
    assert manifest["results"]["valid_accuracy"] == [0.9]
    assert manifest["epochs"] == 1
    assert error_of(run("export", experiment)) == "made-best: exists already, allowed: another folder with -o"


def test_an_export_of_damaged_weights_leaves_nothing(run, experiment: str) -> None:
    state = next(Path("experiments/made/states").iterdir())
    state.write_bytes(state.read_bytes()[:-1])
    assert error_of(run("export", experiment)).startswith(f"{state}: damaged")
    assert [p.name for p in Path.cwd().iterdir()] == ["experiments"]


def test_a_damaged_record_is_named_and_listed(run, experiment: str) -> None:
    record = Path("experiments/made/record.jsonl")
    content = bytearray(record.read_bytes())
    content[content.index(b"asked")] ^= 1
    record.write_bytes(content)
    said = f"{record}, line 3: the record is damaged: its checksum does not fit"
    assert error_of(run("status", experiment)) == said
    assert "damaged" in run("list").output


def test_the_exported_threads_and_cpu_are_those_of_the_attempt_that_made_the_best(run, tmp_path: Path) -> None:
    with searching(tmp_path / "experiments", "two") as search:
        number = ask_and_start(search)
        give(search, number, 0.9)
        search.lost(number, "its worker died", "text")
        search.next_attempt()
        search.started(number, {"node": None, "pid": None, "cpu": None, "threads": None, "device": None})
    manifest = json.loads(run("export", "two", "--json").output)
    assert (manifest["threads"], manifest["cpu"]) == (1, "a CPU")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("made --num-samples 24", "--num-samples is 24, allowed: more than the 24 trials that made has in all"),
        ("made --time-budget 10m", "all its trials have ended, so time alone adds nothing; allowed: --num-samples"),
        ("grid --num-samples 99", "is a grid, which tries each of its points once; allowed: --time-budget"),
        ("held --num-samples 99", "held: is being searched by process {pid} on {host}"),
    ],
)
def test_an_extension_that_cannot_be_is_one_line_and_changes_nothing(
    run, tmp_path, experiment, monkeypatch, arguments, message
) -> None:
    monkeypatch.setattr(driver, "carry_out", None)  # no search begins
    with searching(tmp_path / "experiments", "grid", {"level": {"grid": ["linear", "cnn"]}}, "time budget"):
        pass
    with searching(tmp_path / "experiments", "held"):
        before = {path: path.read_bytes() for path in tmp_path.glob("experiments/*/record.jsonl")}
        assert len(before) == 3
        assert message.format(pid=os.getpid(), host=platform.node()) in error_of(run("extend", *arguments.split()))
        assert all(path.read_bytes() == content for path, content in before.items())


def test_a_trial_that_no_worker_began_is_trained_to_the_end_and_compared_with_nothing(run, tmp_path, small_data):
    half = {"max_epochs": 2, "results_per_epoch": 2}
    search_really(tmp_path, "x", {"level": "linear"}, small_data, lambda _: True, **half)
    search = Search.resume(paths(tmp_path / "experiments", "x"))
    search.ask()
    search.close()
    done = run("train", "x", "--trial", 1)
    assert done.exit_code == 0
    assert [line.split()[1] for line in done.output.splitlines()[:-1]] == ["0.5", "1", "1.5", "2"]
    assert done.output.splitlines()[-1] == "  different: there is no manifest to compare with"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status", "mde"], "experiments: no experiment mde, did you mean 'made'? allowed: "),
        (["export", "empty"], "experiment empty has no result yet"),
        (["train", "made", "--trial", -1], "experiment made has no trial -1, allowed: 0 to 2"),
        (["train", "made", "--trial", 0, "--data", "nowhere"], "nowhere: "),
    ],
)
def test_what_there_is_not_is_one_line_and_nothing_is_written(run, experiment, arguments, said) -> None:
    Search.create(spec_of("empty"), paths(Path("experiments"), "empty")).close()
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert error_of(run(*arguments)).startswith(said)
    for reading in (["status", "made"], ["list"], ["status", "made", "--trial", 0]):
        assert run(*reading).exit_code == 0
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
