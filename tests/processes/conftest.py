"""Real processes without Ray: they can run beside each other."""

from tests.end_to_end.conftest import no_temporary_directory_stays

__all__ = ["no_temporary_directory_stays"]
