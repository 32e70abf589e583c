"""The findings of a search, as text for a pull request."""

from tune_app.experiment.experiment import Experiment
from tune_app.output.confirmation import answer
from tune_app.output.repeat import repetition
from tune_app.output.summary import seconds_searched
from tune_app.output.view import comparison, counts, duration
from tune_app.storage.load import load_confirmation
from tune_app.task.task import config_words

MOST_SHOWN = 10


def report_markdown(experiment: Experiment) -> str:
    """The answer, the best trials, the counts, and the command that repeats the search; GitHub's Markdown."""
    history = experiment.history
    best, metric = history.best, history.metric
    lines = [f"### Search `{experiment.name}`: {experiment.state}", ""]
    if best is None:
        lines += ["No result yet." if experiment.held else "No trial had a result."]
    else:
        lines += [
            f"**{metric.words.capitalize()} {metric.value(best):.4f}** at epoch {best.epoch:g}"
            f" of trial {best.trial}: {config_words(experiment.trial(best.trial).config)}."
            f" {comparison(experiment)}".rstrip()
        ]
    if confirmation := load_confirmation(experiment):
        lines += ["", *(f"- {line.strip()}" for line in answer(confirmation))]
    lines += ["", f"{counts(experiment)}; {duration(seconds_searched(experiment))}.", ""]
    if best:
        lines += [f"| trial | {metric.words} | epoch | state | config |", "|--:|--:|--:|--|--|"]
        for trial in history.ranked()[:MOST_SHOWN]:
            assert trial.best
            lines.append(
                f"| {trial.number} | {metric.value(trial.best):.4f} | {trial.best.epoch:g}"
                f" | {experiment.trial_state(trial)} | {config_words(trial.config)} |"
            )
        lines.append("")
    command, files = repetition(history.spec)
    lines += ["```console", f"$ {command}", "```"]
    for name, content in files.items():
        lines += ["", f"`{name}`:", "```yaml", content.rstrip(), "```"]
    return "\n".join(lines) + "\n"
