"""What simulations share."""

import pytest

from tests.simulations.curves import Curve, read_curves
from tests.units.conftest import no_fsync

__all__ = ["no_fsync"]


@pytest.fixture(scope="session")
def curves() -> list[Curve]:
    return read_curves()
