"""README and docs do what they say: each console block is run and its output compared, numbers masked."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.conftest import environment, succeed, temporary
from tune_app.bundle.manifest import FILES, MANIFEST
from tune_app.cli import main
from tune_app.storage.load import load_experiment
from tune_app.task.tutorial import tutorial

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REST = "..."
SHORTER = {
    "scripts/search": "scripts/search --num-samples 2 --max-epochs 2",  # on Ray
    "search quick --name mine ": "search quick --name mine --num-samples 3 --in-process ",
    "search quick --name demo --max": "search quick --name demo --num-samples 3 --max",  # which are confirmed
    "search mine.yaml ": "search mine.yaml --num-samples 4 ",
    "--top 3 --seeds 5": "--top 3 --seeds 2",
    "--no-dashboard": "--no-dashboard --in-process",
    "load_space, search  # and resume, extend, Where": "load_space, search, Where",
    ", quiet=True)": ", quiet=True, where=Where(in_process=True))",
}
"""What takes longer, and what stands in its place here; scripts/soak runs what is written."""


def commands(block: str) -> list[tuple[str, list[str]]]:
    """The commands of a console block, each with the lines that it is shown to print."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        else:
            found[-1][1].append(line)
    return found


def masked(line: str) -> str:
    """A line without what differs from run to run: numbers, configs, and who won."""
    names = "|".join(tutorial().levels)
    line = re.sub(rf"\b({names}), lr [^;*]*\*?", "CONFIG", line)
    line = re.sub(r"^  (It is|[\d.]+ better than) the baseline.*$", "  COMPARISON", line)
    line = re.sub(r"\b\d+ (h|min) \d+ (min|s)\b|\b\d+ s\b", "TIME", line)
    line = re.sub(r"attempt (\d+) on \S+,", r"attempt \1 on NODE,", line)
    return re.sub(r"[-+]?\d[\d.:-]*", "#", " ".join(line.split()))


def assert_shown(shown: list[str], printed: list[str]) -> None:
    """Line by line; "..." stands for any number of lines."""
    if REST in shown:
        at = shown.index(REST)
        tail = shown[at + 1 :]
        assert_shown(shown[:at], printed[:at])
        assert_shown(tail, printed[len(printed) - len(tail) :])
        return
    assert [masked(line) for line in printed] == [masked(line) for line in shown]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_shows_happens(tmp_path: Path, document: Path, pytestconfig: pytest.Config) -> None:
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    (tmp_path / "search_spaces").symlink_to(ROOT / "search_spaces")
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    env = environment(tmp_path)
    env["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env["OMP_WAIT_POLICY"] = "passive"  # threads that wait take no time from other tests
    for language, block in BLOCK.findall(document.read_text()):
        for long, short in {} if pytestconfig.getoption("soak") else SHORTER.items():
            block = block.replace(long, short)
        if language == "yaml":
            (tmp_path / "space.yaml").write_text(block)
        elif language == "python":
            subprocess.run([sys.executable, "-c", block], cwd=tmp_path, env=env, check=True, timeout=120)
        elif language == "console":
            for command, shown in commands(block):
                done = subprocess.run(
                    ["bash", "-o", "pipefail", "-c", command],
                    cwd=tmp_path,
                    env=env,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT if shown and shown[0].startswith("Error") else subprocess.PIPE,
                    text=True,
                    timeout=400,
                    check=False,
                )
                assert done.returncode == (1 if shown and shown[0].startswith("Error") else 0), done.stderr
                assert_shown(shown, done.stdout.splitlines())


def test_three_commands_lead_from_nothing_to_a_config_that_was_found_on_two_nodes(
    tmp_path: Path, small_data: Path
) -> None:
    block = next(block for _, block in BLOCK.findall((ROOT / "docs" / "cluster.md").read_text()))
    start, search, export = block.splitlines()
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    path = f"PATH={Path(sys.executable).parent}:{os.environ['PATH']}"
    there = ["env", "-u", "RAY_AUTH_MODE", path, f"TUNE_APP_CLUSTER={temporary(tmp_path)}/c", "bash", "-c"]

    def run(command: str) -> str:
        done = succeed(tmp_path, command, command=there)
        return done.stdout

    try:
        printed = run(start)
        (address,) = re.findall(r"^2 nodes with 1 CPU each: (\S+)$", printed, re.MULTILINE)
        assert f"RAY_AUTH_MODE=token tune-app search --address {address}\n" in printed
        small = f"--data {small_data} --num-samples 4"
        run(re.sub(r"--address \S+", f"--address {address} {small}", search))
        run(export)
    finally:
        run("scripts/cluster stop")
    assert {path.name for path in (tmp_path / "best").iterdir()} == {*FILES, MANIFEST, "tune_app"}
    history = load_experiment("on-cluster", tmp_path / "experiments").history
    assert len({attempt["pid"] for trial in history.trials for attempt in trial.attempts}) == 2


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", document.read_text())
    for link in links:
        assert link.startswith("https://") or (document.parent / link).exists(), link


def test_every_command_and_dimension_is_documented() -> None:
    text = "".join(document.read_text() for document in DOCUMENTS)
    assert [name for name in main.commands if f"tune-app {name}" not in text and name != "remove"] == []
    spaces = (ROOT / "docs" / "spaces.md").read_text()
    for name in tutorial().hyperparameters:  # of settings: tests/units/test_cli.py
        assert f"| `{name}` |" in spaces, name


def test_what_the_architecture_speaks_of_exists() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    source = "".join(path.read_text() for path in (ROOT / "tune_app").rglob("*.py"))
    names = {part for name in re.findall(r"`([A-Za-z.]+)`", text) for part in name.split(".")}
    assert len(names) > 10
    assert [
        name for name in names if not re.search(rf"(def|class) {name}\b|^ *{name}(:.*)? = ", source, re.MULTILINE)
    ] == []


def test_every_line_of_what_if_is_backed_by_a_test() -> None:
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    lines = [line for line in (ROOT / "docs" / "what-if.md").read_text().splitlines() if line.startswith("| ")][1:]
    assert lines
    for line in lines:
        names = re.findall(r"`(test_\w+)`", line.split("|")[3])
        assert names, line
        assert [name for name in names if f"def {name}(" not in tests] == []
