"""What a search found, as text for a pull request."""

from tune_app.experiment.history import Experiment
from tune_app.output.repeat import repetition
from tune_app.output.summary import seconds
from tune_app.output.view import comparison, config_words, counts, duration

MOST_SHOWN = 10


def report_markdown(experiment: Experiment) -> str:
    """The answer, the best trials, the counts, and the command that repeats the search; GitHub's Markdown."""
    history = experiment.history
    best = history.best
    lines = [f"### Search `{experiment.name}`: {experiment.state}", ""]
    if best is None:
        lines += ["No result yet." if experiment.held else "No trial had a result."]
    else:
        lines += [
            f"**Valid accuracy {best['valid_accuracy']:.4f}** at epoch {best['epoch']:g} of trial {best['trial']}:"
            f" {config_words(experiment.trial(best['trial']).config)}. {comparison(experiment)}".rstrip()
        ]
    lines += ["", f"{counts(experiment)}; {duration(seconds(experiment))}.", ""]
    if best:
        lines += ["| trial | valid accuracy | epoch | state | config |", "|--:|--:|--:|--|--|"]
        for trial in history.ranked()[:MOST_SHOWN]:
            assert trial.best
            lines.append(
                f"| {trial.number} | {trial.best['valid_accuracy']:.4f} | {trial.best['epoch']:g}"
                f" | {experiment.trial_state(trial)} | {config_words(trial.config)} |"
            )
        lines.append("")
    again = repetition(history.spec)
    lines += ["```console", f"$ {again.command}", "```"]
    for name, content in again.files.items():
        lines += ["", f"`{name}`:", "```yaml", content.rstrip(), "```"]
    return "\n".join(lines) + "\n"
