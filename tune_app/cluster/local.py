"""Start a Ray of our own, on this machine alone, quickly and with nothing that is not used."""

import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from tune_app.cluster import no_agent
from tune_app.cluster.process import away_from_code, variables
from tune_app.cluster.reaper import marked, reaper
from tune_app.cluster.resources import available_cpus
from tune_app.cluster.signals import undisturbed
from tune_app.cluster.tokens import LOOPBACK, for_own_ray, look_again
from tune_app.errors import TuneAppError

OBJECT_STORE_BYTES = 150_000_000
"""MNIST takes 47 MB. Explicit, so that Ray does not claim a third of the machine's memory."""
COMPLAINT = re.compile(r"\berror\b|\bfail|\bcannot\b|\bfatal\b", re.IGNORECASE)
"""A line of Ray's logs that may say why it has not come up."""
SECONDS_TO_REGISTER = 10
"""How long a raylet that has started may take until it is known; then it is for Ray to complain."""
NOT_IN_USE = -1
"""What Ray writes for a port at which nothing answers."""
LONGEST_TEMPORARY = 29
"""Ray's sockets lie up to 64 characters below the directory made here, and Unix allows 107 in all."""


@contextmanager
def local_cluster(metadata: Mapping[str, str], dashboard_host: str | None, verbose: bool) -> Iterator[None]:
    """Be connected to a Ray that is reachable from this machine alone; its dashboard, if any, comes up meanwhile.

    metadata: shown beside the search's job in the dashboard. dashboard_host: None for no dashboard. verbose: with
    Ray's own words. Raises `TuneAppError` where Ray does not come up.
    """
    import ray

    temporary = temporary_directory()
    with reaper(temporary), variables(for_own_ray(temporary)):
        look_again()
        try:
            with undisturbed(), marked(temporary):
                start(temporary, metadata, dashboard_host, verbose)
            yield
        finally:
            with undisturbed():
                ray.shutdown()


def start(temporary: Path, metadata: Mapping[str, str], dashboard_host: str | None, verbose: bool) -> None:
    """Start Ray with its files in `temporary`; all else is as `local_cluster` says."""
    import ray
    from ray.job_config import JobConfig

    nothing = temporary / "empty"
    nothing.mkdir()
    with only_here_and_what_is_used(dashboard_host is not None, verbose), away_from_code(nothing):
        try:
            ray.init(
                address="local",
                num_cpus=available_cpus(),
                include_dashboard=dashboard_host is not None,
                dashboard_host=dashboard_host or LOOPBACK,
                object_store_memory=OBJECT_STORE_BYTES,
                log_to_driver=verbose,
                configure_logging=verbose,
                job_config=JobConfig(metadata=dict(metadata)),
                _temp_dir=str(temporary),
            )
        except Exception as error:  # Ray raises nothing more special
            raise TuneAppError(why_not_started(error, temporary)) from None


def dashboard_address() -> str | None:
    """HOST:PORT of the dashboard of the Ray that was started here; None while it comes up.

    Raises `TuneAppError` where it has ended instead, with its last complaint.
    """
    from ray._private import ray_constants
    from ray._private.worker import global_worker
    from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_put

    kept_in = ray_constants.KV_NAMESPACE_DASHBOARD
    content = _internal_kv_get(ray_constants.DASHBOARD_ADDRESS, namespace=kept_in)
    if content:
        _internal_kv_put("webui:url", content, namespace=kept_in)  # as Ray does, for those that join it
        return str(content.decode())
    node = global_worker.node
    assert node is not None
    (dashboard,) = node.all_processes[ray_constants.PROCESS_TYPE_DASHBOARD]
    if dashboard.process.poll() is not None:
        words = [f"it has ended with exit code {dashboard.process.returncode}"]
        raise TuneAppError("; ".join(words + last_complaint(Path(node.get_logs_dir_path()).glob("dashboard*"))))
    return None


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


@contextmanager
def only_here_and_what_is_used(dashboard: bool, verbose: bool) -> Iterator[None]:
    """Keep `ray.init` from listening elsewhere and from starting what nothing here uses: it has no option for that.

    The autoscaler's monitor keeps the shutdown waiting for a second. Without a dashboard, Ray starts its process
    and two agents all the same, and waits for them; with one, it waits until it answers. The log monitor reads logs
    that nobody is shown. Under `uv run`, or inside a job of another Ray, each worker would get an environment of
    its own, by one of those agents; here, workers have that of this process.
    """
    from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR

    # Ray takes 127.0.0.1 for the address of a machine, and then listens there alone, only where it is told that
    # there can be no cluster; elsewhere it replaces it by an address that others can reach.
    replaced = {
        "ray_constants.ENABLE_RAY_CLUSTER": False,
        "node.Node.start_monitor": lambda _node: None,
        "worker._maybe_modify_runtime_env": lambda runtime_env, _skip: runtime_env,
        "node.Node.start_api_server": starting_dashboard() if dashboard else without_dashboard,
        **start_and_notice_raylet(agents=dashboard),
    }
    if not verbose:
        replaced["node.Node.start_log_monitor"] = lambda _node: None
    if not dashboard:
        replaced["utils.get_dashboard_dependency_error"] = lambda: None  # it would import them all
        replaced["services._build_python_executable_command_memory_profileable"] = without_agents()
    with ExitStack() as patches:
        injected = os.environ.pop(RAY_JOB_CONFIG_JSON_ENV_VAR, None)
        if injected is not None:
            patches.callback(os.environ.__setitem__, RAY_JOB_CONFIG_JSON_ENV_VAR, injected)
        for name, instead in replaced.items():
            patches.enter_context(patch(f"ray._private.{name}", instead))
        yield


def without_dashboard(node: Any, **_how: Any) -> None:
    """Instead of how Ray starts the dashboard."""
    node._webui_url = ""


def starting_dashboard() -> Callable[..., None]:
    """Instead of how Ray starts the dashboard and waits until it answers, which takes most of two seconds."""
    from ray._private.node import Node

    start_and_wait = Node.start_api_server

    def start(node: Any, **how: Any) -> None:
        # Ray takes any answer to where it is for the end of its waiting.
        with patch("ray.experimental.internal_kv._internal_kv_get", lambda *_what, **_where: b""):
            start_and_wait(node, **how)

    return start


def without_agents() -> Callable[..., list[str]]:
    """Instead of how Ray writes the command of a Python process of its own: an agent is `no_agent`."""
    from ray._private import ray_constants, services

    agents = (ray_constants.PROCESS_TYPE_DASHBOARD_AGENT, ray_constants.PROCESS_TYPE_RUNTIME_ENV_AGENT)
    command_of = services._build_python_executable_command_memory_profileable

    def command(component: str, *how: Any, **more: Any) -> list[str]:
        if component in agents:
            return [sys.executable, "-I", "-S", no_agent.__file__]
        return list(command_of(component, *how, **more))

    return command


def start_and_notice_raylet(agents: bool) -> dict[str, Any]:
    """Instead of how Ray starts its raylet and looks for it: once a second, and for 30 s even if it has ended.

    agents: whether there are any; else the raylet reads at once that they answer nowhere, and does not wait.
    """
    from ray._private.node import Node
    from ray._private.state import GlobalState
    from ray._raylet import (  # type: ignore[attr-defined]  # it is in Cython
        DASHBOARD_AGENT_LISTEN_PORT_NAME,
        METRICS_AGENT_PORT_NAME,
        METRICS_EXPORT_PORT_NAME,
        RUNTIME_ENV_AGENT_PORT_NAME,
        persist_port,
    )

    start_raylet, get_node = Node.start_raylet, GlobalState.get_node
    ports = (
        METRICS_AGENT_PORT_NAME,
        METRICS_EXPORT_PORT_NAME,
        DASHBOARD_AGENT_LISTEN_PORT_NAME,
        RUNTIME_ENV_AGENT_PORT_NAME,
    )
    started: list[Any] = []

    def start(node: Any, *how: Any, **more: Any) -> None:
        node._ray_params.dashboard_agent_listen_port = 0  # or Ray tries for 3 s where another has the usual one
        if not agents:
            for port in ports:
                persist_port(node._session_dir, node._node_id, port, NOT_IN_USE)
        start_raylet(node, *how, **more)
        started.extend(info.process for info in node.all_processes["raylet"])

    def soon(state: Any, node_id: str) -> Any:
        until = time.monotonic() + SECONDS_TO_REGISTER
        while time.monotonic() < until and node_id not in [node["NodeID"] for node in state.node_table()]:
            if any(raylet.poll() is not None for raylet in started):
                raise ChildProcessError("its raylet has ended")
            time.sleep(0.01)
        return get_node(state, node_id)

    return {"node.Node.start_raylet": start, "state.GlobalState.get_node": soon}


def temporary_directory() -> Path:
    """A directory with a path that is short enough for Ray's sockets."""
    usual = tempfile.gettempdir()
    return Path(tempfile.mkdtemp(prefix="tune-", dir=usual if len(usual) <= LONGEST_TEMPORARY else "/tmp"))
