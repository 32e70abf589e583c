"""Start or join a Ray cluster."""

import logging
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from unittest.mock import patch

from tune_app.errors import TuneAppError
from tune_app.experiment.settings import Settings
from tune_app.tuning.lookout import lookout
from tune_app.tuning.reaper import marked, reaper
from tune_app.tuning.resources import share, this_machine
from tune_app.tuning.signals import undisturbed
from tune_app.tuning.tokens import (
    LOOPBACK,
    TOKEN,
    asks_for_token,
    authenticates,
    knows_no_tokens,
    protect_token,
    require_token_if_open,
)

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_NUM_REDIS_GET_RETRIES": "3",  # once a second; that something answers is known before
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "RAY_prestart_worker_first_driver": "0",
}
STARTED_AHEAD = {
    "RAY_prestart_worker_first_driver": "1",
    "RAY_preload_python_modules": "torch,ray.tune,tune_app.tuning.trainable,tune_app.tutorial.training",
}
"""Lets Ray start a worker for each CPU, which imports what trials need, while it is starting itself."""
OBJECT_STORE_BYTES = 150_000_000
"""MNIST takes 47 MB. Explicit, so that Ray does not claim a third of the machine's memory."""
SECONDS_TO_ANSWER = 10
COMPLAINT = re.compile(r"\berror\b|\bfail|\bcannot\b|\bfatal\b", re.IGNORECASE)
"""A line of Ray's logs that may say why it has not come up."""
LONGEST_TEMPORARY = 29
"""Ray's sockets lie up to 64 characters below the directory made here, and Unix allows 107 in all."""


def import_ray() -> None:
    """Import Ray, which takes most of a second, with our environment variables set: it reads some only then."""
    os.environ.update({k: v for k, v in ENVIRONMENT.items() if k not in os.environ})
    import ray.tune  # noqa: F401


@dataclass(frozen=True)
class Where:
    """Where a search runs and where its data come from.

    data: as in `mnist.load`. address: a running cluster, auto or HOST:PORT; None: a Ray of our own.
    keep_dashboard: leave the dashboard open after the search, until a signal. wait_for_resources: seconds that
    the first trial may wait for a machine that has what it needs.
    """

    data: str | None = None
    address: str | None = None
    dashboard: bool = False
    keep_dashboard: bool = False
    dashboard_host: str = LOOPBACK
    wait_for_resources: float = 0
    verbose: bool = False


@dataclass(frozen=True)
class Connection:
    """A connection to Ray. `dashboard`: where it is, in words. `head`: the address of a cluster that was joined."""

    dashboard: str | None = None
    head: str | None = None


@contextmanager
def cluster(where: Where, metadata: Mapping[str, str], settings: Settings, trials: int) -> Iterator[Connection]:
    """A connection to a Ray cluster, or to one of our own that ends with the block.

    `metadata` is shown beside the job in the dashboard. Our own starts its workers ahead where at least as many
    `trials` will run at once as there are CPUs: Ray starts one for each, and each takes 300 MB. A Ray that this
    process is connected to already is used and left alone. Raises `TuneAppError` for what cannot be joined or would
    be open to anyone.
    """
    import ray

    if not where.verbose:
        logging.getLogger("ray").setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield Connection()
        return
    if where.address is not None:
        connection = join(where, metadata)
        try:
            yield connection
        finally:
            ray.shutdown()
        return
    require_token_if_open(where.dashboard_host)
    temporary = temporary_directory()
    with reaper(temporary):
        try:
            at_once = min(share(this_machine(), settings).at_once, trials)
            with undisturbed(), marked(temporary):
                url = start(str(temporary), where, metadata, at_once)
            protect_token()
            yield Connection(dashboard_words(url) if url else None)
        finally:
            with undisturbed():
                ray.shutdown()


def watched(connection: Connection, again: str, finish: Callable[[], None]) -> AbstractContextManager[None]:
    """Within the block, this process ends with a word and `finish` if the head of a joined cluster is gone."""
    return lookout(connection.head, again, finish) if connection.head else nullcontext()


def start(temporary: str, where: Where, metadata: Mapping[str, str], at_once: int) -> str | None:
    """Start a Ray of our own, reachable from this machine alone; where its dashboard is.

    Raises `TuneAppError` where it does not come up.
    """
    import ray
    from ray.job_config import JobConfig

    machine = this_machine()[0]
    ahead = STARTED_AHEAD if at_once >= machine.cpus else {}
    with only_here_and_what_is_used(where.dashboard, where.verbose), patch.dict(os.environ, ahead):
        try:
            context = ray.init(
                address="local",
                num_cpus=int(machine.cpus),
                num_gpus=int(machine.gpus),
                include_dashboard=where.dashboard,
                dashboard_host=where.dashboard_host,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=where.verbose,
                configure_logging=where.verbose,
                job_config=JobConfig(metadata=dict(metadata)),
                _temp_dir=temporary,
            )
        except Exception as error:  # Ray raises nothing more special
            raise TuneAppError(why_not_started(error, Path(temporary))) from None
    return context.dashboard_url or None


def why_not_started(error: Exception, temporary: Path) -> str:
    """Why Ray has not come up, in one line; its logs, which go with `temporary`, are kept elsewhere and named."""
    said = " ".join(str(error).split()).replace(str(temporary), "...") or type(error).__name__
    words = [f"Ray does not start: {said[:300]}"]
    written = [path for path in sorted(temporary.glob("session_*/logs/*.*")) if path.stat().st_size]
    lines = [line.strip() for path in written for line in path.read_text(errors="replace").splitlines()]
    complaints = [line for line in lines if COMPLAINT.search(line)]
    if complaints:
        words.append(f"its last complaint: {complaints[-1][:300]}")
    if written:
        kept = Path(tempfile.mkdtemp(prefix="tune-app-ray-logs-"))
        for path in written:
            shutil.copy(path, kept)
        words.append(f"its logs: {kept}")
    words.append(
        f"allowed: a machine with memory, processes, and disk space in {temporary.parent} left, and all of ray"
    )
    return "; ".join(words)


@contextmanager
def only_here_and_what_is_used(dashboard: bool, verbose: bool) -> Iterator[None]:
    """Keep `ray.init` from listening elsewhere and from starting what nothing here uses: it has no option for that.

    The autoscaler's monitor keeps the shutdown waiting for a second; the dashboard's process is started, and
    waited for, without a dashboard, too; the log monitor reads logs that nobody is shown.
    """
    from ray._private import ray_constants
    from ray._private.node import Node
    from ray._private.state import GlobalState

    def no_dashboard(node: Any, **_how: object) -> None:
        node._webui_url = ""

    start_raylet = Node.start_raylet

    def at_any_port(node: Any, *how: Any, **more: Any) -> None:
        node._ray_params.dashboard_agent_listen_port = 0  # or Ray tries for 3 s where another has the usual one
        start_raylet(node, *how, **more)

    get_node = GlobalState.get_node

    def get_node_soon(state: Any, node_id: str) -> Any:
        until = time.monotonic() + 1  # as long as Ray waits between two looks; after that it is for Ray to complain
        while time.monotonic() < until and node_id not in [node["NodeID"] for node in state.node_table()]:
            time.sleep(0.01)
        return get_node(state, node_id)

    instead: dict[str, Any] = {"start_monitor": lambda _node: None, "start_raylet": at_any_port}
    if not verbose:
        instead["start_log_monitor"] = lambda _node: None
    if not dashboard:
        instead["start_api_server"] = no_dashboard
    # Ray takes 127.0.0.1 for the address of a machine, and then listens there alone, only where it is told that
    # there can be no cluster; elsewhere it replaces it by an address that others can reach.
    local = patch.object(ray_constants, "ENABLE_RAY_CLUSTER", False)
    with patch.multiple(Node, **instead), patch.object(GlobalState, "get_node", get_node_soon), local:
        yield


def join(where: Where, metadata: Mapping[str, str]) -> Connection:
    """Connect to a running cluster. `TuneAppError` where that cannot be done."""
    import ray
    from ray.job_config import JobConfig

    address = str(where.address)
    require_answer(address)
    # Inside a submitted job, Ray passes the job's own metadata on, and takes no other.
    job_config = None if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ else JobConfig(metadata=dict(metadata))
    with tempfile.TemporaryFile() as said:
        try:
            with undisturbed(), stderr_into(said):
                context = ray.init(
                    address=address,
                    log_to_driver=where.verbose,
                    configure_logging=where.verbose,
                    job_config=job_config,  # type: ignore[arg-type]  # None is its default
                )
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            said.seek(0)
            if b"InvalidAuthToken" in said.read():
                raise TuneAppError(asks_for_token(address)) from None
            lines = str(error).strip().splitlines()
            raise TuneAppError(f"--address {address}: cannot be joined: {lines[0] if lines else error!r}") from None
    head = ray.get_runtime_context().gcs_address
    if authenticates() and knows_no_tokens(head):
        ray.shutdown()
        raise TuneAppError(
            f"--address {address}: the cluster knows no tokens, and its workers would die of this one; allowed:"
            " RAY_AUTH_MODE=disabled"
        )
    url = context.dashboard_url if where.dashboard else None
    return Connection(dashboard_words(url) if url else None, head)


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


def require_answer(address: str) -> None:
    """Raise `TuneAppError` unless the address is one and something answers there: Ray would try for minutes."""
    if address == "auto":
        return  # Ray looks for one on this machine, and says at once if there is none
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
        raise TuneAppError(f"--address {address}: is no address, allowed: auto or HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, UnicodeError) as error:
        raise TuneAppError(f"--address {address}: no Ray cluster answers: {error}") from None


def dashboard_words(url: str) -> str:
    """Where the dashboard is, and where the token is that it asks for."""
    token = f" (it asks for the token in ~/{TOKEN})" if authenticates() else ""
    return f"http://{url}{token}"


def temporary_directory() -> Path:
    """A directory with a path that is short enough for Ray's sockets."""
    usual = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="tune-", dir=usual if len(usual) <= LONGEST_TEMPORARY else "/tmp"))
