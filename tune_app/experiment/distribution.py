"""Dimensions in Optuna's terms."""

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tune_app.experiment.dimension import RANGES, Dimension


def distribution(d: Dimension) -> BaseDistribution:
    """A dimension in Optuna's terms."""
    if d.domain not in RANGES:
        return CategoricalDistribution(d.values)
    if d.is_integer:
        return IntDistribution(int(d.low), int(d.high), log=d.domain == "loguniform")
    return FloatDistribution(d.low, d.high, log=d.domain == "loguniform")
