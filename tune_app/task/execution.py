"""The functions of a task: they are executed, in contrast to `declaration.py`, which reads what they declare."""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

from tune_app.task.failure import FOLDER
from tune_app.task.loop.build import Level
from tune_app.task.loop.chance import switches_put_back
from tune_app.task.task import LOSS, Task

TUTORIAL = "tune_app.task.tutorial"
"""The package of the task whose files are in none but this installation."""


@dataclass(frozen=True)
class Functions:
    """The functions of a task by the names in its declaration: levels, metrics but the loss, and what reads data.

    Those of the tutorial load nothing: `images.sources` does.
    """

    levels: Mapping[str, Level]
    metrics: Mapping[str, Callable[[Any, Any], Any]]
    loads: Mapping[str, Callable[..., Any]]


@contextmanager
def functions(task: Task, home: Path | None = None) -> Iterator[Functions]:
    """Execute the files of a task and give its functions, as long as the block lasts.

    They are written into a folder of their own and executed anew each time, so that no trial finds what another
    left in a global, and nothing else that lies beside them is imported. Processes that load batches find them,
    too. What they change of torch's global switches is put back. home: where the file or the folder lies, for
    `__file__`. Raises what the files raise.
    """
    names = dict.fromkeys(task.modules.values())
    if not task.files:
        yield found(task, {name: importlib.import_module(f"{TUTORIAL}.{name}") for name in names})
        return
    with switches_put_back(), TemporaryDirectory(prefix=FOLDER) as folder:
        for name, text in task.files.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="")
        with importing_from(folder, {Path(name).parts[0].removesuffix(".py") for name in task.files}):
            yield found(task, {name: executed(name, Path(folder), home) for name in names})


@contextmanager
def importing_from(folder: str, names: set[str]) -> Iterator[None]:
    """Within the block, these modules are imported from a folder; after it, they are as before."""

    def loaded() -> dict[str, ModuleType]:
        return {name: module for name, module in sys.modules.items() if name.split(".")[0] in names}

    before = loaded()
    for name in before:
        del sys.modules[name]
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(folder)
        for name in loaded():
            del sys.modules[name]
        sys.modules.update(before)


def executed(name: str, folder: Path, home: Path | None) -> ModuleType:
    """A module of a task; one that another has imported is executed once."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if home is not None:
        module.__file__ = str(home / f"{name}.py" if home.is_dir() else home)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def found(task: Task, modules: Mapping[str, ModuleType]) -> Functions:
    """The functions of a task in its modules."""
    its = {name: vars(modules[module])[name] for name, module in task.modules.items()}
    return Functions(
        levels={name: its[name] for name in task.levels},
        metrics={name: its[name.removeprefix("valid_")] for name in task.metrics if name != LOSS},
        loads={name: its[name] for name in task.loads if name in its},
    )
