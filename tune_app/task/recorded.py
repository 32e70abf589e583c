"""A task as the record of an experiment holds it: whether this user ran it before, and how its files differ now."""

from contextlib import suppress
from difflib import unified_diff
from pathlib import Path

from tune_app.errors import TuneAppError
from tune_app.task.task import Task
from tune_app.typed_path import cache_folder


def mark_as_run(task: Task) -> None:
    """Remember that this user runs a task here: an empty file, named by its digest.

    Where that cannot be written, they are asked again.
    """
    if task.files:
        with suppress(OSError, TuneAppError):
            mark(task).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            mark(task).touch()


def was_run_here(task: Task) -> bool:
    """True if this user ran a task here before; always for the tutorial, which came with this package."""
    with suppress(TuneAppError):  # who has no home has no cache
        return not task.files or mark(task).is_file()
    return False


def require_run_here(task: Task, name: str, to_read: str, run_its_code: bool) -> None:
    """Raise `TuneAppError` for a task that this user never ran here, unless they have said that its code may run.

    name: what is to be run. to_read: where the code can be read.
    """
    if not run_its_code and not was_run_here(task):
        raise TuneAppError(
            f"{name}: runs the code of a task that you have not run here before: first read {to_read}; allowed:"
            " then --run-its-code"
        )
    mark_as_run(task)


def mark(task: Task) -> Path:
    """The file that exists if this user ran the task."""
    return cache_folder() / "tasks" / task.sha256


def how_changed(task: Task, home: Path | None) -> str | None:
    """The difference of a task's files from those recorded, in one line; None if there is none.

    home: where the file or the folder of the task lies, None where it is gone.
    """
    if home is None:
        return None
    folder = home if home.is_dir() else home.parent
    changed, signs = list[str](), list[str]()
    for name, then in task.files.items():
        file = folder / name
        now = file.read_text(encoding="utf-8-sig", errors="replace") if file.is_file() else ""
        if differing := list(unified_diff(then.splitlines(), now.splitlines(), n=0)):
            changed.append(name)
            signs += [line[0] for line in differing[2:]]
    if not changed:
        return None
    added, removed = signs.count("+"), signs.count("-")
    has, lines = "has" if len(changed) == 1 else "have", "line" if added == 1 else "lines"
    return (
        f"{', '.join(changed)} {has} changed since the search began ({added} {lines} added, {removed} removed):"
        " the recorded text is used."
    )
