"""What simulations share."""

from tests.units.conftest import no_fsync

__all__ = ["no_fsync"]
