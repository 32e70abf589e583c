import json
import os
import platform
from dataclasses import replace
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

from tests.bundles import search_really
from tests.made_up import ask_and_start, give, searching, spec_of
from tests.refused import error_of
from tune_app import api, driver
from tune_app.api import name_now
from tune_app.cli import main
from tune_app.engine.search import Search
from tune_app.experiment.findings import Confirmation
from tune_app.experiment.settings import Settings
from tune_app.experiment.spec import check_name
from tune_app.output.progress import Progress, progress
from tune_app.storage.load import load_experiment
from tune_app.storage.location import paths
from tune_app.task.tutorial import tutorial

COMMANDS = main.commands


@pytest.fixture
def experiment(tmp_path: Path) -> str:
    """An experiment of three trials, made without Ray."""
    with searching(tmp_path / "experiments", "made", metric="valid_accuracy", end="completed") as search:
        give(search, ask_and_start(search), *[0.9] * 9)
        search.failed(ask_and_start(search), "Traceback (most recent call last):\nValueError: broken")
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
        (["search", "--address", "127.0.0.1:1"], 1, "Error: --address 127.0.0.1:1: "),
        (["search", "--address", "127.0.0.1:99999"], 1, "Error: --address 127.0.0.1:99999: "),
        (["search", "--address", "ray://127.0.0.1:1"], 1, "Error: --address ray://127.0.0.1:1: "),
        (["search", "--address", "nonsense"], 1, "Error: --address nonsense: "),
        (["search", "--address", "auto"], 1, "Error: --address auto: "),
        (["search", "--data", "https://me:secret@localhost/"], 1, "https://...: is no path on this machine, all"),
        (["search", "quik"], 1, "quik: no such file or shipped space, did you mean 'quick'?"),
        (["search", "--metric", "acc"], 1, "--metric is 'acc', allowed: valid_accuracy, valid_loss"),
        (["search", "--num-samples", "many"], 2, "'many' is not a valid integer"),
        (["search", "--nme", "x"], 2, "No such option '--nme'"),
        (["search", "--resume"], 2, "--resume needs a --name"),
        (["resume"], 1, "experiments: no experiments yet"),
        (["serach"], 2, "No such command 'serach'"),
        (["validate"], 2, "SPACE is missing"),
        (["status"], 1, "experiments: no experiments yet"),
        (["status", "../x"], 1, "name '../x' is not allowed"),
        (["remove", "x"], 1, "experiments: no experiment x"),
        (["remove", ".."], 1, "name '..' is not allowed"),
        (["export", "x"], 1, "experiments: no experiment"),
        (["train", "nothing.yaml"], 1, "nothing.yaml: cannot be read: No such file or directory"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(run, tmp_path, arguments, code, message) -> None:
    done = run(*arguments)
    assert done.exit_code == code
    assert message in done.stderr
    assert "Traceback" not in done.output
    if code == 1:
        assert done.stderr.startswith("Error: ")
        assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_experiment_is_answered_with_those_that_there_are(run, experiment: str) -> None:
    done = run("status", "mde")
    assert done.stderr == "Error: experiments: no experiment mde, did you mean 'made'? allowed: made\n"


def test_levels_lists_the_ladder(run) -> None:
    lines = run("levels").output.splitlines()
    assert [line.split()[1] for line in lines[:13]] == list(tutorial().levels)
    rows = json.loads(run("levels", "--json").output)["levels"]
    assert [row["name"] for row in rows] == list(tutorial().levels)
    assert rows[9]["defaults"] == {"lr": 0.1, "bs": 64, "momentum": 0.9, "weight_decay": 0.0, "width": 1}


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


def test_status_shows_a_failed_trial_with_its_traceback(run, experiment: str) -> None:
    shown = run("status", experiment).output
    assert "1 completed, 0 stopped early, 1 failed, 1 interrupted" in shown
    trial = run("status", experiment, "--trial", 1).output
    assert "error: ValueError: broken" in trial
    assert "Traceback (most recent call last):" in trial


def test_an_export_has_the_weights_of_the_best_result(run, experiment: str) -> None:
    assert run("export", experiment).exit_code == 0
    weights = load_file("made-best/weights.safetensors")
    assert list(weights) == ["weights"]
    assert weights["weights"].tolist() == [0.9] * 3
    manifest = json.loads(Path("made-best/manifest.json").read_text())
    assert manifest["results"]["valid_accuracy"] == [0.9]
    assert manifest["epochs"] == 1


def test_an_export_of_damaged_weights_leaves_nothing(run, experiment: str) -> None:
    state = next(Path("experiments/made/states").iterdir())
    state.write_bytes(state.read_bytes()[:-1])
    assert error_of(run("export", experiment)).startswith(f"{state}: damaged")
    assert [p.name for p in Path.cwd().iterdir()] == ["experiments"]


def test_an_experiment_without_result_cannot_be_exported(run, tmp_path: Path) -> None:
    Search.create(spec_of("empty"), paths(tmp_path / "experiments", "empty")).close()
    assert error_of(run("export", "empty")) == "experiment empty has no result yet"


def test_a_damaged_record_is_named_and_listed(run, experiment: str) -> None:
    record = Path("experiments/made/record.jsonl")
    content = bytearray(record.read_bytes())
    content[content.index(b"asked")] ^= 1
    record.write_bytes(content)
    said = f"{record}, line 3: the record is damaged: its checksum does not fit"
    assert error_of(run("status", experiment)) == said
    assert "damaged" in run("list").output


def test_reading_an_experiment_creates_and_changes_nothing(run, experiment: str) -> None:
    def content() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in Path("experiments").rglob("*") if p.is_file()}

    before = content()
    for arguments in (["status"], ["list"], ["status", "--trial", 0]):
        assert run(*arguments).exit_code == 0
    assert content() == before


def test_the_exported_threads_and_cpu_are_those_of_the_attempt_that_made_the_best(run, tmp_path: Path) -> None:
    with searching(tmp_path / "experiments", "two") as search:
        number = ask_and_start(search)
        give(search, number, 0.9)
        search.lost(number, "its worker died", "text")
        search.next_attempt()
        search.started(number, {"node": None, "pid": None, "cpu": None, "threads": None, "device": None})
    manifest = json.loads(run("export", "two", "--json").output)
    assert (manifest["threads"], manifest["cpu"]) == (1, "a CPU")


def test_what_an_error_says_is_shown_as_it_is(run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with searching(tmp_path / "experiments", "odd") as search:
        search.failed(ask_and_start(search), "RuntimeError: [enforce fail at x.cpp:118] in [/tmp/foo]")
    with progress(quiet=False) as shown:
        shown.show(search.history, 2)
        assert isinstance(shown, Progress)
        shown.refreshed = 0.001
        shown.told = set()
        shown.show(search.history, 2)
    assert "[enforce fail at x.cpp:118] in [/tmp/foo]" in capsys.readouterr().err
    assert "[enforce fail at x.cpp:118] in [/tmp/foo]" in run("status", "odd", "--trial", 0).output


def test_validate_takes_a_space_that_needs_more_than_this_machine_has(run) -> None:
    Path("big.yaml").write_text("space: {lr: 0.1}\nsearch: {cpus_per_trial: 500, early_stopping: false}")
    shown = run("validate", "big.yaml").output
    assert "500 CPUs; 0 at once on this machine" in shown
    assert "rungs         none (results" in shown


def test_a_name_is_made_from_any_file_name() -> None:
    for stem in ("my space", "x" * 300, "Räume", ".hidden", "---"):
        assert check_name(name_now(stem))


@pytest.fixture
def no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no command get as far as Ray."""

    def refuse(*_: object) -> None:
        raise AssertionError("a search was about to be started")

    monkeypatch.setattr(driver, "carry_out", refuse)


@pytest.fixture
def grid(tmp_path: Path) -> str:
    """A grid whose time budget was used up."""
    space = {"level": {"grid": ["linear", "cnn"]}}
    with searching(tmp_path / "experiments", "grid", space, end="time budget"):
        pass
    return "grid"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["made", "--num-samples", 24],
            "--num-samples is 24, allowed: more than the 24 trials that made has in all",
        ),
        (["made", "--num-samples", 0], "--num-samples is 0, allowed: greater than or equal to 1"),
        (
            ["made", "--time-budget", "10m"],
            "made: all its trials have ended, so time alone adds nothing; allowed: ",
        ),
        (["made", "--time-budget", "inf"], "--time-budget is 'inf', allowed: seconds, or 90s, 10m, 2h"),
        (
            ["made", "--max-epochs", 20],
            "--max-epochs 20: every rung and end would be another, so that is a new search, which the best configs"
            " can start: tune-app search SPACE --max-epochs 20 --enqueue made:5",
        ),
        (
            ["grid", "--num-samples", 99],
            "grid: is a grid, which tries each of its points once; allowed: --time-budget",
        ),
        (["mde", "--num-samples", 99], "experiments: no experiment mde, did you mean 'made'? allowed: "),
    ],
)
def test_an_extension_that_cannot_be_is_one_line_and_changes_nothing(
    run, experiment: str, grid: str, no_search: None, arguments: list[object], message: str
) -> None:
    before = {name: Path(f"experiments/{name}/record.jsonl").read_bytes() for name in (experiment, grid)}
    assert error_of(run("extend", *arguments)).startswith(message)
    assert before == {name: Path(f"experiments/{name}/record.jsonl").read_bytes() for name in (experiment, grid)}


def test_an_extension_says_what_is_missing(run, experiment: str, no_search: None) -> None:
    for arguments, message in (
        ([experiment], "Error: --num-samples or --time-budget is missing\n"),
        ([], "Error: Missing argument 'NAME'.\n"),
        ([experiment, "--num-samples", "many"], "'many' is not a valid integer"),
    ):
        done = run("extend", *arguments)
        assert done.exit_code == 2
        assert message in done.stderr
        assert "Usage: " in done.stderr


def test_an_experiment_that_is_being_searched_is_not_extended(run, tmp_path: Path, no_search: None) -> None:
    with searching(tmp_path / "experiments", "held") as search:
        before = search.record.path.read_bytes()
        said = f"held: is being searched by process {os.getpid()} on {platform.node()}"
        assert error_of(run("extend", "held", "--num-samples", 99)) == said
        assert search.record.path.read_bytes() == before


@pytest.fixture
def trained(tmp_path: Path, small_data: Path) -> str:
    """An experiment of two trials: one was trained to its end, no worker began with the other."""
    space = {"level": "linear", "lr": {"loguniform": [0.01, 1]}}
    half = {"max_epochs": 2, "results_per_epoch": 2}
    search_really(
        tmp_path, "trained", space, small_data, lambda search: search.history.count("completed") > 0, **half
    )
    search = Search.resume(paths(tmp_path / "experiments", "trained"))
    search.ask()
    search.close()
    return "trained"


def test_a_trial_is_trained_again_in_the_foreground_to_the_same_accuracies(run, trained, tmp_path) -> None:
    trial = load_experiment(trained, tmp_path / "experiments").trial(0)
    assert trial.state == "completed"
    done = run("train", trained, "--trial", 0)
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == "The same valid accuracies as in the search."
    told = json.loads(run("train", trained, "--trial", 0, "--json").output)
    assert told["valid_accuracies"] == [result.valid["valid_accuracy"] for result in trial.results]
    assert (told["same"], told["differences"]) == (True, [])


def test_a_trial_that_no_worker_began_is_trained_to_the_end_and_compared_with_nothing(run, trained: str) -> None:
    done = run("train", trained, "--trial", 1)
    assert done.exit_code == 0
    assert [line.split()[1] for line in done.output.splitlines()[:-1]] == ["0.5", "1", "1.5", "2"]
    assert done.output.splitlines()[-1] == "  different: there is no manifest to compare with"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["made", "--trial", -1], "experiment made has no trial -1, allowed: 0 to 2"),
        (["made", "--trial", 0, "--data", "nowhere"], "nowhere: "),
    ],
)
def test_a_trial_that_there_is_not_cannot_be_trained(run, experiment, arguments, message) -> None:
    assert error_of(run("train", *arguments)).startswith(message)
