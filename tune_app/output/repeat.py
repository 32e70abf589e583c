"""The command that runs a search once more, and the files that it needs."""

import shlex

from tune_app.experiment.settings import Settings
from tune_app.experiment.space import load_space, shipped
from tune_app.experiment.spec import Spec
from tune_app.yaml_file import as_yaml


def repetition(spec: Spec) -> tuple[str, dict[str, str]]:
    """The command that runs the same search, and by name the files that have to be there first.

    The space is a shipped one if it can be, else a file of its own.
    """
    files: dict[str, str] = {}
    command = ["tune-app", "search", *(from_shipped(spec) or [f"{spec.name}.yaml"])]
    if command[2] == f"{spec.name}.yaml":
        changed = differences(spec.settings, Settings.model_validate({}))
        task = {"task": spec.task_path} if spec.task.files else {}
        files[command[2]] = as_yaml({**task, "space": spec.space, "search": changed})
    for i, config in enumerate(spec.enqueued):
        file = f"{spec.name}-first-{i}.yaml"
        files[file] = as_yaml({"config": config})
        command += ["--enqueue", file]
    if spec.data.source is not None:
        command += ["--data", spec.data.source]
    return shlex.join(command), files


def from_shipped(spec: Spec) -> list[str] | None:
    """The name of a shipped space and the options that make it this search; None if there is none."""
    for name in shipped():
        source = load_space(name)
        if source.content == spec.space and source.task.digest == spec.task.digest:
            changed = differences(spec.settings, source.settings)
            if changed.get("early_stopping") is not True and None not in changed.values():
                return [name, *options(changed)]
    return None


def differences(settings: Settings, others: Settings) -> dict[str, object]:
    """The settings that differ from others."""
    usual = others.model_dump()
    return {key: value for key, value in settings.model_dump().items() if value != usual[key]}


def options(settings: dict[str, object]) -> list[str]:
    """Settings as options of `tune-app search`."""
    words: list[str] = []
    for key, value in settings.items():
        option = key.replace("_", "-")
        words += ["--no-early-stopping"] if key == "early_stopping" else [f"--{option}", str(value)]
    return words
