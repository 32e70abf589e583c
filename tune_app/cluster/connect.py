"""Connect to Ray: to a cluster that is running, or to one of our own that ends with the search."""

import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tune_app.cluster.local import local_cluster
from tune_app.cluster.lookout import knock
from tune_app.cluster.process import away_from_code, variables
from tune_app.cluster.ray_private import found_by_ray, is_no_node, read_tokens_again
from tune_app.cluster.signals import undisturbed
from tune_app.cluster.tokens import (
    asks_for_token,
    authenticates,
    home_token,
    knows_no_tokens,
)
from tune_app.errors import TuneAppError

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_NUM_REDIS_GET_RETRIES": "3",  # once a second; that something answers is known before
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # Ray would start a worker for each CPU and wait for all; those that trials ask for are there as soon.
    "RAY_prestart_worker_first_driver": "0",
}
OF_OUR_OWN = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # so that it listens on 127.0.0.1 alone, on any system
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # its workers have the environment of this process
}
"""For a Ray that is started here; one that is joined is as it is."""
SECONDS_TO_ANSWER = 10
NO_NODE = (
    "this machine is no node of the cluster; allowed: ray start --address=HOST:PORT here first,"
    " or ray job submit, which runs there"
)


def import_ray(address: str | None) -> None:
    """Import Ray, which takes most of a second, with our environment variables set: it reads some only then."""
    with variables(wanted(address)):
        import ray.tune  # noqa: F401


def wanted(address: str | None) -> dict[str, str]:
    """The environment variables that Ray is to find: most of them only where a person has set nothing else."""
    ours = ENVIRONMENT if address else {**ENVIRONMENT, "RAY_AUTH_MODE": "token"}
    found = {name: value for name, value in ours.items() if name not in os.environ}
    if address is None:
        found |= OF_OUR_OWN
    # Ray asks for a home even to be imported; where nobody has one, containers say that it is /.
    return found if home_token() else {**found, "HOME": "/"}


@dataclass(frozen=True)
class Where:
    """Where a search runs and where its data come from.

    data: what the task's `load` gets. address: a running cluster, auto or HOST:PORT; None: a Ray of our own.
    keep_dashboard: leave the dashboard open after the search, until a signal. wait_for_resources: seconds that
    the first trial may wait for a machine that has what it needs. in_process: without Ray, one trial after the
    other in this process.
    """

    data: str | Path | None = None
    address: str | None = None
    dashboard: bool = False
    keep_dashboard: bool = False
    wait_for_resources: float = 0
    verbose: bool = False
    in_process: bool = False


@dataclass(frozen=True)
class Connection:
    """A connection to Ray.

    shows_dashboard: whether people want to look at its dashboard. dashboard: HOST:PORT of that if it has come up.
    head: the address of a cluster that was joined.
    """

    shows_dashboard: bool = False
    dashboard: str | None = None
    head: str | None = None


@contextmanager
def cluster(where: Where, metadata: Mapping[str, str], large_data: bool = False) -> Iterator[Connection]:
    """A connection to a Ray cluster, or to one of our own that ends with the block.

    `metadata`, job_name among them, are shown beside the job in the dashboard. large_data: a Ray of our own keeps
    as much room for data as Ray does by itself. A Ray that this process is connected to already is used and left
    alone; of another, nothing stays in this process. Raises `TuneAppError` for what cannot be joined, or does not
    start, or would be open to anyone.
    """
    import ray

    with quiet(where.verbose):
        if ray.is_initialized():
            yield Connection()
            return
        try:
            with variables(wanted(where.address)), connected(where, metadata, large_data) as connection:
                yield connection
        finally:
            read_tokens_again()


@contextmanager
def quiet(verbose: bool) -> Iterator[None]:
    """Within the block, Ray logs only if it shall."""
    logger = logging.getLogger("ray")
    before = logger.level
    logger.setLevel(before if verbose else logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def connected(where: Where, metadata: Mapping[str, str], large_data: bool) -> Iterator[Connection]:
    """Join a cluster, or start one; `cluster` tells more."""
    import ray

    if where.address is not None:
        try:
            yield join(where, metadata)
        finally:
            with undisturbed():
                ray.shutdown()
        return
    with local_cluster(metadata, where.dashboard, where.verbose, large_data) as dashboard:
        yield Connection(where.dashboard, dashboard)


def join(where: Where, metadata: Mapping[str, str]) -> Connection:
    """Connect to a running cluster. `TuneAppError` where that cannot be done."""
    import ray
    from ray.job_config import JobConfig

    address = str(where.address)
    place = answering(address)
    if is_no_node():
        raise TuneAppError(f"--address {address}: cannot be joined: {NO_NODE}")
    with tempfile.TemporaryFile() as said, tempfile.TemporaryDirectory(prefix="tune-") as nothing:
        try:
            with undisturbed(), stderr_into(said), away_from_code(Path(nothing)):
                context = ray.init(
                    address=place,
                    log_to_driver=where.verbose,
                    configure_logging=where.verbose,
                    job_config=JobConfig(metadata=dict(metadata)),
                )
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            said.seek(0)
            if b"InvalidAuthToken" in said.read():
                raise TuneAppError(asks_for_token(address)) from None
            raise TuneAppError(f"--address {address}: {why_not_joined(error)}") from None
    head = ray.get_runtime_context().gcs_address
    if authenticates() and knows_no_tokens(head):
        raise TuneAppError(
            f"--address {address}: the cluster knows no tokens, and its workers would die of this one; allowed:"
            " RAY_AUTH_MODE=disabled"
        )
    url = context.dashboard_url if where.dashboard else None
    return Connection(bool(url), url or None, head)


def why_not_joined(error: Exception) -> str:
    """Ray's error as one line, with what is allowed."""
    words = " ".join(str(error).split()) or repr(error)
    found = re.findall(r"Ray: (\S+) Python: (\S+)", words)
    if len(found) == 2:
        cluster, here = (f"Ray {ray} and Python {python}" for ray, python in found)
        return f"the cluster has {cluster}, this process {here}; allowed: {cluster}"
    if "No node info found" in words:
        return f"cannot be joined: {NO_NODE}"
    return f"cannot be joined: {words[:300]}"


@contextmanager
def stderr_into(file: IO[bytes]) -> Iterator[None]:
    """Catch what Ray's C++ part writes to stderr: a line at each attempt to connect."""
    sys.stderr.flush()
    before = os.dup(2)
    os.dup2(file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def answering(address: str) -> str:
    """HOST:PORT of an address where something answers; "auto" is RAY_ADDRESS, or what Ray finds on this machine.

    Raises `TuneAppError` where nothing answers: Ray would try for minutes.
    """
    place = os.environ.get("RAY_ADDRESS") or found_by_ray() or address if address == "auto" else address
    if place == "auto":
        return place
    said = address if place == address else f"{address}, which is {place},"
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
        raise TuneAppError(f"--address {said}: is no address, allowed: auto or HOST:PORT")
    try:
        knock(place, SECONDS_TO_ANSWER)
    except (OSError, UnicodeError) as error:
        at = "" if place == address else f" at {place}"
        raise TuneAppError(f"--address {address}: no Ray cluster answers{at}: {error}") from None
    return place
