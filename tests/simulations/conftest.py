"""What simulations share."""

import pytest

from tests.simulations.curves import Curve, read_curves


@pytest.fixture(scope="session")
def curves() -> list[Curve]:
    return read_curves()
