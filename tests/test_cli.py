import json
import shutil
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from tests.test_search import ask_and_start, give, spec_of
from tune_app.cli import main
from tune_app.experiment.spec import paths
from tune_app.tuning.search import Search
from tune_app.tutorial.levels import LEVELS

COMMANDS = main.commands


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def experiment(tmp_path: Path) -> str:
    """An experiment of three trials, made without Ray."""
    search = Search.create(spec_of("made", metric="valid_accuracy"), paths(tmp_path / "experiments", "made"))
    search.begin()
    give(search, ask_and_start(search), *[0.9] * 9)
    search.failed(ask_and_start(search), "Traceback (most recent call last):\nValueError: broken")
    search.ask()
    search.end("completed")
    search.close()
    return "made"


def test_every_command_has_help_with_an_example() -> None:
    assert set(COMMANDS) == {
        "search",
        "resume",
        "extend",
        "list",
        "remove",
        "status",
        "export",
        "train",
        "levels",
        "validate",
    }
    for name, command in {"": main, **COMMANDS}.items():
        text = CliRunner().invoke(main, [name, "--help"] if name else ["--help"]).output
        assert f"Example: tune-app {name}".strip() in " ".join(text.split()), name
        for option in command.params:
            assert isinstance(option, click.Argument) or option.help, (name, option.name)


def test_the_options_of_search_are_those_of_the_settings_and_no_others() -> None:
    from tune_app.experiment.settings import Settings

    options = {p.name for p in COMMANDS["search"].params}
    assert set(Settings.model_fields) - {"early_stopping"} <= options
    assert "no_early_stopping" in options


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["search", "--name", "../x"], 1, "name '../x' is not allowed: letters, digits"),
        (["search", "--name", "a/b"], 1, "name 'a/b' is not allowed"),
        (["search", "--name", "-x"], 1, "name '-x' is not allowed"),
        (["search", "--name", ""], 1, "name '' is not allowed"),
        (["search", "~nobody-here/x.yaml"], 1, "no such file or shipped space"),
        (["search", "x" * 300], 1, "no such file or shipped space"),
        (["search", "--address", "a..b:1"], 1, "--address a..b:1: no Ray cluster answers"),
        (["search", "--data", "https://me:secret@localhost/"], 1, "a URL with a user or password is not taken"),
        (["search", "quik"], 1, "quik: no such file or shipped space, did you mean 'quick'?"),
        (["search", "--metric", "acc"], 1, "--metric is 'acc', allowed: 'valid_accuracy' or 'valid_loss'"),
        (["search", "--num-samples", "0"], 1, "--num-samples is 0, allowed: greater than or equal to 1"),
        (["search", "--max-epochs", "2", "--grace-period", "3"], 1, "--grace-period is 3, allowed: at most"),
        (["search", "--cpus-per-trial", "0"], 1, "--cpus-per-trial is 0.0, allowed: greater than 0"),
        (["search", "--time-budget", "soon"], 1, "--time-budget is 'soon', allowed: seconds, or 90s, 10m, 2h"),
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
def test_a_mistake_is_one_line_and_leaves_nothing(
    run, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
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
    assert [line.split()[1] for line in lines] == list(LEVELS)
    rows = json.loads(run("levels", "--json").output)
    assert [row["name"] for row in rows] == list(LEVELS)
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


def test_the_schema_is_printed(run) -> None:
    schema = json.loads(run("validate", "--schema").output)
    assert set(schema["properties"]) == {"space", "search"}


def test_status_shows_a_failed_trial_with_its_traceback(run, experiment: str) -> None:
    shown = run("status", experiment).output
    assert "1 completed, 0 stopped early, 1 failed, 1 interrupted" in shown
    trial = run("status", experiment, "--trial", 1).output
    assert "error: ValueError: broken" in trial
    assert "Traceback (most recent call last):" in trial


def test_an_export_has_the_weights_of_the_best_result(run, experiment: str) -> None:
    from safetensors.numpy import load_file

    done = run("export", experiment)
    assert done.exit_code == 0
    weights = load_file("made-best/weights.safetensors")
    assert list(weights) == ["weights"]
    assert weights["weights"].tolist() == [0.9] * 3
    manifest = json.loads(Path("made-best/manifest.json").read_text())
    assert manifest["valid_accuracies"] == [0.9]
    assert manifest["epochs"] == 1


def test_an_export_of_damaged_weights_leaves_nothing(run, experiment: str) -> None:
    state = next(Path("experiments/made/states").iterdir())
    state.write_bytes(state.read_bytes()[:-1])
    done = run("export", experiment)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: {state}: damaged")
    assert [p.name for p in Path.cwd().iterdir()] == ["experiments"]


def test_an_experiment_without_result_cannot_be_exported(run, tmp_path: Path) -> None:
    Search.create(spec_of("empty"), paths(tmp_path / "experiments", "empty")).close()
    done = run("export", "empty")
    assert (done.exit_code, done.stderr) == (1, "Error: experiment empty has no result yet\n")


def test_a_damaged_record_is_named_and_listed(run, experiment: str) -> None:
    record = Path("experiments/made/record.jsonl")
    content = bytearray(record.read_bytes())
    content[content.index(b"asked")] ^= 1
    record.write_bytes(content)
    done = run("status", experiment)
    assert done.exit_code == 1
    assert done.stderr == f"Error: {record}, line 3: the record is damaged: its checksum does not fit\n"
    assert "damaged" in run("list").output


def test_reading_an_experiment_creates_and_changes_nothing(run, experiment: str) -> None:
    def content() -> dict[str, bytes]:
        return {str(p): p.read_bytes() for p in Path("experiments").rglob("*") if p.is_file()}

    before = content()
    for arguments in (["status"], ["list"], ["status", "--trial", 0]):
        assert run(*arguments).exit_code == 0
    assert content() == before


def test_a_folder_with_a_name_that_no_experiment_has_is_passed_over(run, experiment: str) -> None:
    shutil.copytree("experiments/made", "experiments/made copy")
    assert [row["name"] for row in json.loads(run("list", "--json").output)] == ["made"]
    assert run("status").output.startswith("made: finished")


def test_the_exported_threads_and_cpu_are_those_of_the_attempt_that_made_the_best(run, tmp_path: Path) -> None:
    search = Search.create(spec_of("two"), paths(tmp_path / "experiments", "two"))
    search.begin()
    number = ask_and_start(search)
    give(search, number, 0.9)
    search.lost(number, "its worker died", "text")
    search.next_attempt()
    search.started(number, {"node": None, "pid": None, "cpu": None, "threads": None, "device": None})
    search.close()
    manifest = json.loads(run("export", "two", "--json").output)
    assert (manifest["threads"], manifest["cpu"]) == (1, "a CPU")


def test_what_an_error_says_is_shown_as_it_is(run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tune_app.tuning.progress import progress

    search = Search.create(spec_of("odd"), paths(tmp_path / "experiments", "odd"))
    search.begin()
    search.failed(ask_and_start(search), "RuntimeError: [enforce fail at x.cpp:118] in [/tmp/foo]")
    search.close()
    with progress(quiet=False) as shown:
        shown.show(search.history, 2)
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
    from tune_app.api import name_now
    from tune_app.experiment.spec import check_name

    for stem in ("my space", "x" * 300, "Räume", ".hidden", "---"):
        assert check_name(name_now(stem))
