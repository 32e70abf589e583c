import pytest

from tune_app.engine.asha import Decision, decide, reached, rungs
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
def test_rungs_grow_by_the_reduction_factor_and_lie_below_max_epochs(
    settings: Settings, expected: list[float]
) -> None:
    assert rungs(settings) == expected


def test_a_rung_between_two_results_is_reached_by_the_later() -> None:
    settings = Settings(max_epochs=9, grace_period=0.9, results_per_epoch=4)
    assert [reached(settings, epoch) for epoch in (0.5, 0.75, 1.0, 1.25)] == [None, None, 0.9, None]


def test_each_rung_is_reached_by_exactly_one_result_whatever_the_grid_of_results() -> None:
    for results_per_epoch in (1, 2, 3, 4, 7, 10):
        settings = Settings(max_epochs=30, grace_period=1, results_per_epoch=results_per_epoch)
        at = [reached(settings, k / results_per_epoch) for k in range(1, 30 * results_per_epoch)]
        assert [rung for rung in at if rung is not None] == [1, 3, 9, 27]


def test_the_first_at_a_rung_goes_on_and_ties_go_on() -> None:
    settings = Settings(max_epochs=9, results_per_epoch=1)
    assert decide(settings, 1, 0.1, {}) == Decision(stop=False, rung=1)
    assert decide(settings, 1, 0.9, {1: [0.9]}) == Decision(stop=False, rung=1, cutoff=0.9, compared=1)
    assert decide(settings, 1, 0.899, {1: [0.9]}) == Decision(stop=True, rung=1, cutoff=0.9, compared=1)


def test_between_rungs_nobody_is_stopped_and_at_the_end_everybody() -> None:
    settings = Settings(max_epochs=9, results_per_epoch=2)
    assert decide(settings, 1.5, 0.0, {1: [0.9], 3: [0.9]}) == Decision(stop=False)
    assert decide(settings, 9, 1.0, {}).stop


def test_a_loss_is_minimized() -> None:
    settings = Settings(max_epochs=9, results_per_epoch=1, metric="valid_loss")
    assert decide(settings, 1, 0.5, {1: [0.4]}) == Decision(stop=True, rung=1, cutoff=0.4, compared=1)
    assert not decide(settings, 1, 0.3, {1: [0.4]}).stop
