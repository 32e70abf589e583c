"""The race: who is out, who is behind, and who cannot be told apart."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_app.experiment.race import FIRST_TEST, ROUNDS, race
from tune_app.experiment.statistics import (
    mean_interval,
    next_interval,
    p_worse,
    percentile_interval,
    proportion_interval,
)

GOOD = [0.040, 0.043, 0.039, 0.041, 0.042, 0.040]
BAD = [0.080, 0.083, 0.081, 0.079, 0.082, 0.080]


def states(*errors: Sequence[float | None]) -> list[str]:
    whole = [[*ended, *[None] * (ROUNDS - len(ended))] for ended in errors]
    return [standing.state for standing in race(whole, True)]


def test_what_is_clearly_worse_is_out_at_the_first_test_and_its_later_rounds_do_not_count() -> None:
    good, bad = race([list(GOOD), list(BAD)], True)
    assert (good.state, bad.state) == ("tie", "out")
    assert bad.errors == tuple(BAD[:FIRST_TEST])
    assert bad.p is not None and bad.p < 0.05


def uneven(error: float) -> list[float]:
    return [0.038, error, 0.037, 0.039, 0.038, 0.039]


ALIKE = [0.041, 0.041, 0.041, 0.040, 0.041, 0.042]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            GOOD[: FIRST_TEST - 1],
            BAD[: FIRST_TEST - 1],
            ["racing", "racing"],
        ),  # before the first test
        (GOOD[: ROUNDS - 1], ALIKE[: ROUNDS - 1], ["racing", "racing"]),
        (GOOD, ALIKE, ["tie", "tie"]),
        (GOOD, uneven(0.9), ["tie", "behind"]),  # though no test can tell
        (GOOD, uneven(math.inf), ["tie", "behind"]),
        ([math.inf] * ROUNDS, uneven(math.inf), ["behind", "tie"]),
        ([*GOOD[:2], None, *GOOD[3:]], BAD, ["racing", "racing"]),  # a round counts when all have ended it
    ],
)
def test_a_config_is_out_or_behind_or_cannot_be_told_apart(first, second, expected) -> None:
    assert states(first, second) == expected


def test_where_no_error_is_the_least_possible_only_the_test_tells_configs_apart() -> None:
    below = [-0.2, -0.21, -0.2, -0.19, -0.2, -0.2]
    assert [standing.state for standing in race([below, [-0.2, 0.9, *below[2:]]], False)] == ["tie", "tie"]


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=ROUNDS, max_size=ROUNDS), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_the_outcome_does_not_depend_on_the_order_in_which_runs_end(errors, random) -> None:
    cells = [(c, r) for c in range(len(errors)) for r in range(ROUNDS)]
    random.shuffle(cells)
    there: list[list[float | None]] = [[None] * ROUNDS for _ in errors]
    outs: set[int] = set()
    for c, r in cells:
        there[c][r] = errors[c][r]
        now = {i for i, standing in enumerate(race(there, True)) if standing.state == "out"}
        assert outs <= now  # who is out stays out
        outs = now
    final = race(there, True)
    assert final == race(errors, True)
    assert [s.state for s in final].count("racing") == 0
    assert "tie" in [s.state for s in final]


def test_the_paired_test_is_students() -> None:
    # Student's own sleep data (1908): differences of two drugs in ten patients, t = 4.06 with 9 degrees of freedom.
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    assert p_worse(second, first) == pytest.approx(0.00283 / 2, abs=1e-5)
    assert p_worse(first, second) == pytest.approx(1 - 0.00283 / 2, abs=1e-5)

    # Equal differences need no test.
    assert p_worse([2, 3, 4], [1, 2, 3]) == 0
    assert p_worse([1, 2, 3], [1, 2, 3]) == 1


def test_intervals_are_those_of_the_textbooks() -> None:
    low, high = mean_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (low, high) == pytest.approx((3 - 2.776 * math.sqrt(2.5 / 5), 3 + 2.776 * math.sqrt(2.5 / 5)), abs=1e-3)
    low, high = next_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (low, high) == pytest.approx(
        (3 - 2.776 * math.sqrt(2.5 * 1.2), 3 + 2.776 * math.sqrt(2.5 * 1.2)), abs=2e-3
    )
    assert proportion_interval(15, 50) == pytest.approx((0.1910, 0.4375), abs=1e-4)
    assert proportion_interval(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    assert proportion_interval(10, 10) == pytest.approx((0.7225, 1), abs=1e-4)
    # Of one number over many sets, a fortieth is left out at each end.
    assert percentile_interval(np.arange(1001.0)[::-1]) == pytest.approx((25, 975))
