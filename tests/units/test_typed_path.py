"""A path means what a person means by it, wherever it is typed."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.made_up import ask_and_start, give, searching
from tests.refused import error_of, refusal
from tune_app.api import alone
from tune_app.cli import main
from tune_app.cluster.connect import Where
from tune_app.enqueue import read_config
from tune_app.errors import TuneAppError
from tune_app.experiment.space import load_space
from tune_app.storage.load import load_experiment
from tune_app.storage.location import folder_or_bucket
from tune_app.task.images import sources
from tune_app.task.tutorial import tutorial
from tune_app.typed_path import typed_path

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command beside a home and a finished experiment called made."""
    folder = tmp_path / "here"
    with searching(folder / "experiments", "made", metric="valid_accuracy", end="completed") as search:
        give(search, ask_and_start(search), *[0.9] * 9)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(folder)
    return lambda *arguments: CliRunner().invoke(main, [str(a) for a in arguments])


NAMED = {
    "list --experiments-dir": ("list", "--experiments-dir={}"),
    "report -o": ("report", "made", "-o", "{}"),
    "export": ("export", "made", "--output={}"),
    "search": ("search", "{}"),
    "enqueue": ("search", "--enqueue={}"),
    "data": ("search", "--data={}"),
    "experiments": ("search", "--address", "a..b:1", "--experiments-dir={}"),
    "image": ("predict", "best", "{}"),
}


@pytest.mark.parametrize("arguments", NAMED.values(), ids=NAMED)
def test_a_tilde_is_the_home_and_never_a_folder(run: Run, arguments: tuple[str, ...]) -> None:
    done = run(*(a.format("~/there.csv") for a in arguments))
    assert "Traceback" not in done.output
    assert not Path("~").exists()
    assert arguments[0] not in ("report", "results", "export") or (Path.home() / "there.csv").exists()


def test_a_tilde_is_the_home_in_the_environment_and_in_python_too(run, monkeypatch) -> None:
    home = Path.home()
    monkeypatch.setenv("TUNE_APP_EXPERIMENTS_DIR", "~/exps")
    assert run("list").stdout == f"{home}/exps: no experiments yet\n"
    assert folder_or_bucket("~/exps") == folder_or_bucket(Path("~/exps")) == home / "exps"
    Path("experiments").rename(home / "exps")
    assert load_experiment("made", "~/exps").name == "made"
    (home / "s.yaml").write_text("space: {lr: 0.1}\nsearch: {}")
    assert load_space("~/s.yaml").name == "s"
    (home / "c.yaml").write_text("config: {level: linear}")
    assert read_config(typed_path("~/c.yaml"), tutorial())["level"] == "linear"
    for data in ("~/c.yaml", Path("~/c.yaml")):
        assert refusal(sources.load, data).startswith(f"{home}/c.yaml: is no Parquet file")
    assert typed_path("./~/x") == Path("./~/x")


@pytest.mark.parametrize("arguments", NAMED.values(), ids=NAMED)
def test_a_url_or_the_home_of_nobody_is_one_line_and_makes_nothing(run: Run, arguments: tuple[str, ...]) -> None:
    for given in ("gs://me:secret@b/x", "S3://b/x", "file:///tmp/x", "r2:/b/x", " s3://b/x", "~nobody-here/x"):
        line = error_of(run(*(a.format(given) for a in arguments)))
        assert "allowed: " in line
        assert "secret" not in line or line.startswith(f"{given}: no such file or shipped space"), "only compared"
    assert [path.name for path in Path.cwd().iterdir()] == ["experiments"]


WRITTEN = {"report": ("report", "made"), "csv": ("results", "made")}


@pytest.mark.parametrize("arguments", WRITTEN.values(), ids=WRITTEN)
def test_what_is_no_file_is_refused_and_stays(run: Run, arguments: tuple[str, ...]) -> None:
    os.mkfifo("pipe.csv")
    Path("device.csv").symlink_to("/dev/null")
    Path("folder.csv").mkdir()
    before = sorted(Path.cwd().iterdir())
    for name in ("pipe.csv", "device.csv", "folder.csv"):
        line = error_of(run(*arguments, "-o", name))
        assert line == f"{name}: is no file that can be replaced, allowed: a file, there or not, with -o"
    assert sorted(Path.cwd().iterdir()) == before
    assert stat.S_ISFIFO(os.lstat("pipe.csv").st_mode)


@pytest.mark.parametrize("arguments", WRITTEN.values(), ids=WRITTEN)
@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_leads_to_what_was_written(run: Run, arguments: tuple[str, ...], there: bool) -> None:
    Path("far").mkdir()
    if there:
        Path("far/target.csv").write_text("old")
    Path("link.csv").symlink_to("far/target.csv")
    assert run(*arguments, "-o", "link.csv").exit_code == 0
    assert Path("link.csv").is_symlink()
    assert len(Path("far/target.csv").read_bytes()) > len("old")
    assert [path.name for path in Path("far").iterdir()] == ["target.csv"]


def test_a_link_that_leads_nowhere_becomes_an_exported_folder_and_links_in_a_circle_are_one_line(run: Run) -> None:
    Path("link").symlink_to("far/best")
    assert run("export", "made", "-o", "link").exit_code == 0
    assert Path("link").is_symlink()
    assert Path("far/best/manifest.json").exists()
    Path("a.csv").symlink_to("b.csv")
    Path("b.csv").symlink_to("a.csv")
    for arguments in (*WRITTEN.values(), ("export", "made")):
        assert error_of(run(*arguments, "-o", "a.csv")).startswith("a.csv: cannot be written: ")
    assert Path("a.csv").is_symlink()


@pytest.mark.parametrize("given", ["experiments", "./experiments", ".", "~/exps", "/somewhere/else"])
def test_a_search_has_whole_paths_and_its_errors_say_what_was_typed(run: Run, given: str) -> None:
    typed = folder_or_bucket(given)
    whole = Path.cwd() / str(typed)
    with (
        pytest.raises(TuneAppError, match=f"^{typed}/x: broken; /mnt{whole}$"),
        alone(given, Where(), True) as (folder, _),
    ):
        assert isinstance(folder, Path)
        assert folder.is_absolute()
        assert folder.resolve() == Path(os.path.expanduser(given)).resolve()  # noqa: PTH111
        raise TuneAppError(f"{folder / 'x'}: broken; /mnt{folder}")
