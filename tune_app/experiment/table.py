"""All results of an experiment as a table, one row per result, and what its columns mean."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tune_app.task.task import Kind, Task

if TYPE_CHECKING:
    import pyarrow as pa

    from tune_app.experiment.experiment import Experiment

Cell = str | int | float | None
INTEGER, NUMBER, TEXT, BOOLEAN = "int64", "double", "string", "bool"
"""Arrow's names for the types of columns."""
TYPES: dict[Kind, str] = {"int": INTEGER, "float": NUMBER, "str": TEXT, "bool": BOOLEAN}


@dataclass(frozen=True)
class Column:
    """One column; empty cells are null."""

    name: str
    type: str
    unit: str
    meaning: str


BEFORE = (
    Column("trial", INTEGER, "", "the trial's number"),
    Column("state", TEXT, "", "of the trial: running, paused, stopped, completed, failed or interrupted"),
    Column("reason", TEXT, "", "why the trial ended"),
    Column("level", TEXT, "", "config: the level"),
)
"""The columns before those of the hyperparameters."""
BETWEEN = (
    Column("seed", INTEGER, "", "of the trial's initialisation and batch order"),
    Column("family", TEXT, "", "the trials that it is compared with: the file of its level"),
    Column("attempt", INTEGER, "", "which attempt at the trial the result is of, from 0"),
    Column("node", TEXT, "", "the machine that computed it"),
    Column("time", NUMBER, "s", "when it was written, since 1970 in UTC"),
    Column("k", INTEGER, "", "the number of the result within its trial, from 1"),
    Column("epoch", NUMBER, "epochs", "how far the trial was trained"),
)
"""The columns between those of the hyperparameters and those of the metrics."""
AFTER = (
    Column("train_loss", NUMBER, "", "the mean on the items trained on since the result before"),
    Column("items", INTEGER, "", "trained on since the result before"),
    Column("parameters", INTEGER, "", "trained numbers in the model"),
    Column("train_seconds", NUMBER, "s", "training since the result before"),
    Column("valid_seconds", NUMBER, "s", "validating"),
    Column("decision", TEXT, "", "continue, pause or stop"),
    Column("rung", NUMBER, "epochs", "the rung that was reached, if one was"),
    Column("cutoff", NUMBER, "", "the metric that the rung asked for; empty where too few had reached it"),
    Column("compared", INTEGER, "", "how many trials of the family had reached the rung before"),
)
"""The columns after those of the metrics."""


def columns(task: Task) -> tuple[Column, ...]:
    """The columns of the experiments with a task."""
    hyperparameters = (
        Column(h.name, TYPES[h.kind], "", f"config: {f'{h.meaning}, ' if h.meaning else ''}if the level has it")
        for h in task.hyperparameters.values()
    )
    metrics = (
        Column(
            metric.name, NUMBER, "", f"on the valid data, {'more' if metric.mode == 'max' else 'less'} is better"
        )
        for metric in task.metrics.values()
    )
    return (*BEFORE, *hyperparameters, *BETWEEN, *metrics, *AFTER)


def result_rows(experiment: "Experiment") -> Iterator[dict[str, Cell]]:
    """The results with the columns above, trial by trial."""
    names = [column.name for column in columns(experiment.history.spec.task)]
    for trial in experiment.history.trials:
        of_trial: dict[str, Cell] = {
            "state": experiment.trial_state(trial),
            "reason": trial.reason and encodable(trial.reason),
            "seed": trial.seed,
            "family": trial.family,
            **trial.config,
        }
        for result in trial.results:
            node = trial.attempts[result.attempt]["node"]
            row = {**vars(result), **result.valid, **of_trial, "node": node}
            yield {name: row.get(name) for name in names}


def encodable(text: str) -> str:
    """A text that UTF-8 can hold: half a surrogate pair, from a traceback, as \\udc80."""
    return text.encode(errors="backslashreplace").decode()


def results_table(experiment: "Experiment") -> "pa.Table":
    """The results as an Arrow table whose fields say unit and meaning."""
    import pyarrow as pa

    schema = pa.schema(
        pa.field(c.name, pa.type_for_alias(c.type), metadata={"unit": c.unit, "meaning": c.meaning})
        for c in columns(experiment.history.spec.task)
    )
    return pa.Table.from_pylist(list(result_rows(experiment)), schema)
