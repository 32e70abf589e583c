import pytest

from tune_app.engine.asha import reached, rungs
from tune_app.experiment.settings import Settings


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (Settings(max_epochs=9, grace_period=1, reduction_factor=3), [1, 3]),
        (Settings(max_epochs=10, grace_period=1, reduction_factor=3), [1, 3, 9]),
        (Settings(max_epochs=5, grace_period=0.25, reduction_factor=2), [0.25, 0.5, 1, 2, 4]),
        (Settings(max_epochs=4, grace_period=4), []),
        (Settings(max_epochs=9, early_stopping=False), []),
    ],
)
def test_rungs_grow_by_the_reduction_factor_and_lie_below_max_epochs(settings, expected) -> None:
    assert rungs(settings) == expected


def test_a_rung_between_two_results_is_reached_by_the_later() -> None:
    settings = Settings(max_epochs=9, grace_period=0.9, results_per_epoch=4)
    assert [reached(settings, epoch) for epoch in (0.5, 0.75, 1.0, 1.25)] == [None, None, 0.9, None]


def test_each_rung_is_reached_by_exactly_one_result_whatever_the_grid_of_results() -> None:
    for results_per_epoch in (1, 2, 3, 4, 7, 10):
        settings = Settings(max_epochs=30, grace_period=1, results_per_epoch=results_per_epoch)
        at = [reached(settings, k / results_per_epoch) for k in range(1, 30 * results_per_epoch)]
        assert [rung for rung in at if rung is not None] == [1, 3, 9, 27]
