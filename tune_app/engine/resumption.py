"""What must hold before a search goes on."""

from collections.abc import Mapping

from tune_app.errors import TuneAppError
from tune_app.experiment.settings import Settings
from tune_app.experiment.spec import Spec


def require_larger(spec: Spec, extension: Mapping[str, object]) -> None:
    """Raise `TuneAppError` where another process has extended a search further in the meantime."""
    extended = Settings(**{**spec.settings.model_dump(), **extension})
    if extended.num_samples < spec.settings.num_samples:
        raise TuneAppError(
            f"{spec.name}: has been extended to {spec.settings.num_samples} trials by another process"
        )
