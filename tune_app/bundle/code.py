"""The code of a bundle: train.py, the files of the task, and the loop, as they are in this version.

Each level has one source: the search and the bundle train the same code.
"""

from pathlib import Path
from pprint import pformat
from textwrap import indent

from tune_app.bundle.manifest import SCRIPT
from tune_app.task.task import LOSS, Config, Task

ROOT = Path(__file__).parents[2]
TASK = "task"
"""The folder of a bundle that holds the files of a task of one's own."""
ALWAYS = (
    "tune_app/task/__init__.py",
    *(f"tune_app/task/loop/{path.name}" for path in (ROOT / "tune_app/task/loop").glob("*.py")),
)
OF_THE_TUTORIAL = (
    "tune_app/errors.py",
    *(f"tune_app/task/tutorial/{name}.py" for name in ("logistic", "cnn")),
    *(f"tune_app/task/images/{name}.py" for name in ("__init__", "mnist", "parquet")),
)
"""The files of this package that a bundle has, by their path in both."""
CONSTANTS = ("seed", "epochs", "max_epochs", "results_per_epoch", "threads", "device")
"""The constants of the script, besides the config."""
PART = '"""A part of tune_app: what this bundle needs to train."""\n'
SCRIPT_TEXT = '''\
"""Train the exported config again: level {level}.

    python train.py [--data SOURCE] [-o weights.safetensors]

It needs torch, numpy, safetensors, annotated-types and what the files of the task import: no Ray, and no tune_app
but the part that is here. With the same versions, threads, CPU model and device the numbers come out the same to
the last bit.
"""

from tune_app.task.loop.again import train_again

if __name__ == "__main__":
    train_again(
        modules={modules},
        level={level!r},
        metrics={metrics},
        config={config},
        seed={seed},
        epochs={max_epochs},
        until={epochs!r},
        results_per_epoch={results_per_epoch},
        threads={threads},
        device={device!r},
    )
'''


def code_files(task: Task, config: Config, settings: dict[str, object]) -> dict[str, str]:
    """The text of each code file of a bundle, by its path.

    settings: with a value for each of `CONSTANTS`.
    """
    package = {name: (ROOT / name).read_text(encoding="utf-8") for name in ALWAYS}
    if task.files:
        package |= {f"{TASK}/{name}": text for name, text in task.files.items()}
        modules = task.modules
    else:
        package |= {name: (ROOT / name).read_text(encoding="utf-8") for name in OF_THE_TUTORIAL}
        package["tune_app/task/tutorial/__init__.py"] = PART
        modules = {name: f"tune_app.task.tutorial.{module}" for name, module in task.modules.items()}
        modules["load"] = "tune_app.task.images.parquet"
    metrics = [name for name in task.metrics if name != LOSS]
    needed = [str(config["level"]), *(name.removeprefix("valid_") for name in metrics), "load"]
    numbers = {name: value for name, value in config.items() if name != "level"}
    script = SCRIPT_TEXT.format(
        level=config["level"],
        modules={name: modules[name] for name in needed if name in modules},
        metrics=metrics,
        config=indent(pformat(numbers, sort_dicts=False, width=100), " " * 15).strip(),
        **{name: settings[name] for name in CONSTANTS},
    )
    return {SCRIPT: script, "tune_app/__init__.py": PART, **package}
