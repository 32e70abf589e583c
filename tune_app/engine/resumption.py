"""What must hold before a search goes on."""

from collections.abc import Mapping

from tune_app.errors import TuneAppError
from tune_app.experiment.history import History
from tune_app.experiment.record import FORMAT
from tune_app.experiment.settings import Settings
from tune_app.experiment.spec import Spec


def require_format(history: History) -> None:
    """Raise `TuneAppError` for the record of an earlier version, whose training states are of another form."""
    if history.format < FORMAT:
        name, version = history.spec.name, history.spec.versions["tune_app"]
        other = "tune-app confirm --again" if history.spec.confirming else f"a new search with --enqueue {name}:5"
        raise TuneAppError(
            f"{name}: was begun by tune_app {version}, which goes on with it; allowed: that version, or {other}"
        )


def require_larger(spec: Spec, extension: Mapping[str, object]) -> None:
    """Raise `TuneAppError` where another process has extended a search further in the meantime."""
    extended = Settings(**{**spec.settings.model_dump(), **extension})
    if extended.num_samples < spec.settings.num_samples:
        raise TuneAppError(
            f"{spec.name}: has been extended to {spec.settings.num_samples} trials by another process"
        )
