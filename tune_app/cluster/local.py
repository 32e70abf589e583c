"""Start a Ray of our own, on this machine alone, quickly and with nothing that is not used."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tune_app.cluster.process import away_from_code, variables
from tune_app.cluster.ray_private import quick_start, read_tokens_again
from tune_app.cluster.reaper import marked, processes_of, reaper
from tune_app.cluster.resources import available_cpus
from tune_app.cluster.signals import undisturbed
from tune_app.cluster.sockets import listening, require_loopback
from tune_app.cluster.tokens import for_own_ray
from tune_app.errors import TuneAppError

OBJECT_STORE_BYTES = 150_000_000
"""MNIST takes 47 MB. Explicit, so that Ray does not claim a third of the machine's memory."""
COMPLAINT = re.compile(r"\berror\b|\bfail|\bcannot\b|\bfatal\b", re.IGNORECASE)
"""A line of Ray's logs that may say why it has not come up."""
LONGEST_TEMPORARY = 29
"""Ray's sockets lie up to 64 characters below the directory made here, and Unix allows 107 in all."""
OF_OTHERS = ("RAY_RUNTIME_ENV_HOOK", "RAY_JOB_CONFIG_JSON_ENV_VAR")
"""Variables by which workers would get an environment of their own: inside a job of another Ray, for example."""


@contextmanager
def local_cluster(
    metadata: Mapping[str, str], with_dashboard: bool, verbose: bool, large_data: bool
) -> Iterator[str | None]:
    """Be connected to a Ray that is reachable from this machine alone, and yield where its dashboard is, HOST:PORT.

    metadata: shown beside the search's job in the dashboard. verbose: with Ray's own words. large_data: with all
    the room for data that Ray takes by itself. Raises `TuneAppError` where Ray does not come up, or could be
    reached from elsewhere.
    """
    import ray

    temporary = temporary_directory()
    with reaper(temporary), variables(for_own_ray(temporary), without=OF_OTHERS):
        read_tokens_again()
        try:
            with undisturbed(), marked(temporary):
                dashboard = start(temporary, metadata, with_dashboard, verbose, large_data)
            yield dashboard
        finally:
            with undisturbed():
                ray.shutdown()


def start(
    temporary: Path, metadata: Mapping[str, str], with_dashboard: bool, verbose: bool, large_data: bool
) -> str | None:
    """Start Ray with its files in `temporary`; all else is as `local_cluster` says."""
    import ray
    from ray.job_config import JobConfig

    nothing = temporary / "empty"
    nothing.mkdir()
    others = listening([os.getpid()])
    with quick_start(with_dashboard, verbose), away_from_code(nothing):
        try:
            context = ray.init(
                address="local",
                num_cpus=available_cpus(),
                include_dashboard=None if with_dashboard else False,  # None: the search goes on without
                object_store_memory=None if large_data else OBJECT_STORE_BYTES,
                log_to_driver=verbose,
                configure_logging=verbose,
                job_config=JobConfig(metadata=dict(metadata)),
                _temp_dir=str(temporary),
            )
        except Exception as error:  # Ray raises nothing more special
            raise TuneAppError(why_not_started(error, temporary)) from None
    require_loopback(listening([os.getpid(), *processes_of(temporary)]) - others)
    return context.dashboard_url or None


def why_not_started(error: Exception, temporary: Path) -> str:
    """Why Ray has not come up, in one line; its logs, which go with `temporary`, are kept elsewhere and named."""
    said = " ".join(str(error).split()).replace(str(temporary), "...") or type(error).__name__
    words = [f"Ray does not start: {said[:300]}"]
    written = [path for path in sorted(temporary.glob("session_*/logs/*.*")) if path.stat().st_size]
    words += last_complaint(written)
    if written:
        kept = Path(tempfile.mkdtemp(prefix="tune-app-ray-logs-"))
        for path in written:
            shutil.copy(path, kept)
        words.append(f"its logs: {kept}")
    words.append(
        f"allowed: a machine with memory, processes, and disk space in {temporary.parent} left, and all of ray"
    )
    return "; ".join(words)


def last_complaint(logs: Iterable[Path]) -> list[str]:
    """The last line in these files, in this order, that may say why something has not come up; or nothing."""
    lines = [line.strip() for path in logs for line in path.read_text(errors="replace").splitlines()]
    return [f"its last complaint: {line[:300]}" for line in lines if COMPLAINT.search(line)][-1:]


def temporary_directory() -> Path:
    """A directory with a path that is short enough for Ray's sockets."""
    usual = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="tune-", dir=usual if len(usual) <= LONGEST_TEMPORARY else "/tmp"))
