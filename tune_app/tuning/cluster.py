"""Start or join a Ray cluster, and say how many trials fit on it."""

import logging
import math
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tune_app.errors import TuneAppError
from tune_app.experiment.settings import Settings
from tune_app.tuning.reaper import children, reaper

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # Trial actors bring their own environment, so workers started ahead are of no use to them.
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
}
TOKEN = Path(".ray", "auth_token")
"""Where in the home directory Ray keeps the token that its services ask for, unless told otherwise."""
OBJECT_STORE_BYTES = 150_000_000
"""MNIST takes 47 MB. Explicit, so that Ray does not claim a third of the machine's memory."""
SECONDS_TO_ANSWER = 10
LONGEST_TEMPORARY = 29
"""Ray's sockets lie up to 64 characters below the directory made here, and Unix allows 107 in all."""


@dataclass(frozen=True)
class Resources:
    """CPUs and GPUs, of each node."""

    nodes: tuple[tuple[float, float], ...]

    def trials_at_once(self, settings: Settings) -> int:
        """How many trials fit; `TuneAppError` when not even one does."""
        cpus, gpus = settings.cpus_per_trial, settings.gpus_per_trial
        for option, wanted, there in (
            ("--cpus-per-trial", cpus, max((node[0] for node in self.nodes), default=0)),
            ("--gpus-per-trial", gpus, max((node[1] for node in self.nodes), default=0)),
        ):
            if wanted > there:
                raise TuneAppError(
                    f"{option} is {wanted:g}, allowed: up to the {there:g} that one machine has here"
                )
        fits = sum(
            min(math.floor(node[0] / cpus + 1e-9), math.floor(node[1] / gpus + 1e-9) if gpus else 1_000_000)
            for node in self.nodes
        )
        return min(fits, settings.max_concurrent_trials or fits)


def this_machine() -> Resources:
    """The CPUs and GPUs that this process may use."""
    return Resources(((available_cpus(), visible_gpus()),))


def available_cpus() -> int:
    """CPUs by affinity and, in a container, by its quota (cgroup v2)."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return cpus if quota == "max" else max(1, min(cpus, int(quota) // int(period)))
    except (OSError, ValueError):
        return cpus


def visible_gpus() -> int:
    """NVIDIA GPUs, fewer where CUDA_VISIBLE_DEVICES says so."""
    gpus = len(list(Path("/dev").glob("nvidia[0-9]*")))
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (
        gpus if visible is None else min(gpus, len([d for d in visible.split(",") if d.strip() not in ("", "-1")]))
    )


def import_ray() -> None:
    """Import Ray, which takes most of a second, with our environment variables set: it reads some only then."""
    os.environ.update({k: v for k, v in ENVIRONMENT.items() if k not in os.environ})
    import ray.tune  # noqa: F401


@contextmanager
def cluster(address: str | None, dashboard: bool, verbose: bool) -> Iterator[str | None]:
    """A connection to Ray: the cluster at `address`, or one of our own that ends with the block.

    Yields where the dashboard is, in words. A Ray that this process is connected to already is used and left alone.
    """
    import ray

    if not verbose:
        logging.getLogger("ray").setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield None
        return
    if address is not None:
        url = join(address, verbose)
        try:
            yield dashboard_words(url) if dashboard and url else None
        finally:
            ray.shutdown()
        return
    temporary = temporary_directory()
    try:
        url = start(str(temporary), dashboard, verbose)
        protect_token()
        with reaper(temporary, agents()):
            try:
                yield dashboard_words(url) if dashboard and url else None
            finally:
                ray.shutdown()
    finally:
        ray.shutdown()  # what of it had started, if it did not come up
        shutil.rmtree(temporary, ignore_errors=True)


def start(temporary: str, dashboard: bool, verbose: bool) -> str | None:
    """Start a Ray of our own, reachable from this machine alone; where its dashboard is."""
    import ray

    machine = this_machine().nodes[0]
    with only_what_is_used(dashboard, verbose):
        context = ray.init(
            address="local",
            num_cpus=int(machine[0]),
            num_gpus=int(machine[1]),
            include_dashboard=dashboard,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=verbose,
            configure_logging=verbose,
            _temp_dir=temporary,
            _node_ip_address="127.0.0.1",  # or other machines could reach it
        )
    return context.dashboard_url


@contextmanager
def only_what_is_used(dashboard: bool, verbose: bool) -> Iterator[None]:
    """Keep `ray.init` from starting processes that nothing here uses, which it has no option for.

    The autoscaler's monitor keeps the shutdown waiting for a second; the dashboard's process is started, and
    waited for, without a dashboard, too; the log monitor reads logs that nobody is shown.
    """
    from ray._private.node import Node

    def no_dashboard(node: Any, **_how: object) -> None:
        node._webui_url = ""

    unused: dict[str, Any] = {"start_monitor": lambda _node: None}
    if not verbose:
        unused["start_log_monitor"] = lambda _node: None
    if not dashboard:
        unused["start_api_server"] = no_dashboard
    with patch.multiple(Node, **unused):
        yield


def agents() -> list[int]:
    """The processes that the raylet which was started here has started: its agents."""
    import ray

    raylets = ray._private.worker._global_node.all_processes["raylet"]  # type: ignore[attr-defined]
    return [child for raylet in raylets for child in children(raylet.process.pid)]


def join(address: str, verbose: bool) -> str | None:
    """Connect to the cluster at `address`; where its dashboard is. `TuneAppError` where that cannot be done."""
    import ray

    require_answer(address)
    try:
        context = ray.init(address=address, log_to_driver=verbose, configure_logging=verbose)
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = str(error).strip().splitlines()
        raise TuneAppError(f"--address {address}: cannot be joined: {reason[0] if reason else error!r}") from None
    return context.dashboard_url


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


def protect_token() -> None:
    """Let nobody else read Ray's token, which Ray writes with the person's umask."""
    token = Path.home() / TOKEN
    with suppress(OSError):  # not there, or not ours
        if stat.S_IMODE(token.stat().st_mode) & 0o077:
            token.chmod(0o600)


def dashboard_words(url: str) -> str:
    """Where the dashboard is, and where the token is that it asks for."""
    token = f" (it asks for the token in ~/{TOKEN})" if os.environ.get("RAY_AUTH_MODE") == "token" else ""
    return f"http://{url}{token}"


def temporary_directory() -> Path:
    """A directory with a path that is short enough for Ray's sockets."""
    usual = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="tune-", dir=usual if len(usual) <= LONGEST_TEMPORARY else "/tmp"))


def cluster_resources() -> Resources:
    """The CPUs and GPUs of each living node of the connected cluster."""
    import ray

    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    alive = [node["Resources"] for node in nodes if node["Alive"]]
    return Resources(tuple((node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in alive))
