"""A search on the Ray that is connected, from start to end, with whatever worker `bridge` has."""

from pathlib import Path

from tune_app.cluster import resources
from tune_app.cluster.resources import Share
from tune_app.engine.search import Search
from tune_app.experiment.spec import Spec
from tune_app.experiment.trial import Trial
from tune_app.storage.load import load_experiment
from tune_app.storage.location import paths
from tune_app.task.images import sources
from tune_app.trials import bridge


def search_all(spec: Spec, folder: Path) -> tuple[Share, list[Trial]]:
    """What each trial held, and all trials."""
    share = resources.wait_for_resources(0, spec.settings, print)
    search = Search.create(spec, paths(folder / "experiments", spec.name))
    search.begin()
    bridge.run_trials(search, sources.load(), share, lambda: None, lambda: None)
    search.end("completed")
    search.close()
    return share, load_experiment(spec.name, folder / "experiments").history.trials
