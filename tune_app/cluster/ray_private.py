"""The only module that names anything private of Ray, and the only one that replaces some of it.

Nothing here is needed: what is not as it was when this was written is left out, and the search runs, slower (and a
worker that hangs is not ended). To add something: a `Private`, and a function that asks whether it is `unchanged`,
or puts something in its place.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from tune_app.cluster.guard import Private, replaced, unchanged

SECONDS_TO_REGISTER = 10
"""How long a raylet that has started may take until it is known; then it is for Ray to complain."""


# ---- how a Ray of our own starts -----------------------------------------------------------------------

NODE, SERVICES, CONSTANTS = "ray._private.node:Node", "ray._private.services", "ray._private.ray_constants"
RAYLET = "ray._raylet"
START_HEAD, START_RAYLET = f"{NODE}.start_head_processes", f"{NODE}.start_raylet"

CLUSTERS = Private(f"{CONSTANTS}:ENABLE_RAY_CLUSTER", "bool", f"{SERVICES}:get_node_ip_address")
MONITOR = Private(f"{NODE}.start_monitor", "(self)", START_HEAD)
LOG_MONITOR = Private(f"{NODE}.start_log_monitor", "(self)", f"{NODE}.start_ray_processes")
API_SERVER = Private(f"{NODE}.start_api_server", "(self, *, include_dashboard, raise_on_failure)", START_HEAD)
RAYLET_START = Private(
    START_RAYLET,
    "(self, plasma_directory, fallback_directory, object_store_memory, use_valgrind=False, use_profiler=False)",
    f"{NODE}.start_ray_processes",
)
PARAMETERS = Private(f"{NODE}._ray_params", "", START_RAYLET)
AGENT_PORT = Private(f"{NODE}.dashboard_agent_listen_port", "", START_RAYLET)
PROCESSES = Private(f"{NODE}.all_processes", "", START_RAYLET)
PROCESS = Private(f"{SERVICES}:ProcessInfo.process", "_tuplegetter")
GET_NODE = Private("ray._private.state:GlobalState.get_node", "(self, node_id)", f"{SERVICES}:get_node")
NODE_TABLE = Private("ray._private.state:GlobalState.node_table", "(self)")


@contextmanager
def quick_start(dashboard: bool, verbose: bool) -> Iterator[None]:
    """Within the block, `ray.init` starts what a search uses, soon, and nothing else: it has no option for that."""
    node: list[Any] = []  # that is being started
    with ExitStack() as stack:

        def shorten(instead: Mapping[Private, Callable[[Any], Any]], *used: Private) -> None:
            stack.enter_context(replaced(instead, *used))

        # A variable says so, too, which Ray reads when it is imported: somebody may have done that before.
        shorten({CLUSTERS: lambda _: False})
        # The autoscaler's monitor keeps the shutdown waiting for a second.
        shorten({MONITOR: lambda _: lambda _node: None})
        if not verbose:  # nobody is shown what it reads
            shorten({LOG_MONITOR: lambda _: lambda _node: None})
        if not dashboard:  # Ray starts its process all the same
            shorten({API_SERVER: lambda _: lambda _node, **_how: None})
        # A raylet is looked for once a second, and for 30 s even if it has ended.
        shorten({GET_NODE: lambda get: soon(get, node)}, NODE_TABLE, RAYLET_START, PROCESSES, PROCESS)
        shorten({RAYLET_START: lambda start: noticed(start, node)}, PARAMETERS, AGENT_PORT)
        yield


def noticed(start: Callable[..., None], started: list[Any]) -> Callable[..., None]:
    """Instead of how Ray starts its raylet: the node that it belongs to is noted."""

    def start_raylet(node: Any, *how: Any, **more: Any) -> None:
        node._ray_params.dashboard_agent_listen_port = 0  # or Ray tries for 3 s where another has the usual one
        start(node, *how, **more)
        started.append(node)

    return start_raylet


def soon(get_node: Callable[..., Any], started: list[Any]) -> Callable[..., Any]:
    """Instead of how Ray looks whether its raylet is known: until it is, or has ended."""

    def get(state: Any, node_id: str) -> Any:
        until = time.monotonic() + SECONDS_TO_REGISTER
        while time.monotonic() < until and node_id not in [node["NodeID"] for node in state.node_table()]:
            raylets = [info.process for node in started for info in node.all_processes["raylet"]]
            if any(raylet.poll() is not None for raylet in raylets):
                raise ChildProcessError("its raylet has ended")
            time.sleep(0.01)
        return get_node(state, node_id)

    return get


# ---- tokens, signals, and clusters that are joined -----------------------------------------------------

CONFIG = Private(f"{RAYLET}:Config.initialize", "(config_list)")
TOKENS = Private(f"{RAYLET}:AuthenticationTokenLoader.instance", "()")
FORGET = Private(f"{RAYLET}:AuthenticationTokenLoader.reset_cache", "(self)")
SIGTERM = Private("ray._private.utils:set_sigterm_handler", "(sigterm_handler)", "ray._private.worker:init")
NODE_IDS = Private(f"{SERVICES}:find_node_ids", "()", f"{SERVICES}:get_node_to_connect_for_driver")
ADDRESS_OF = Private(
    f"{SERVICES}:canonicalize_bootstrap_address", "(addr, temp_dir=None)", "ray._private.worker:init"
)


def read_tokens_again() -> None:
    """Let Ray read mode and token anew: it keeps both from the first time on, whatever the variables say."""
    if unchanged(CONFIG, TOKENS, FORGET):
        CONFIG()("")
        FORGET()(TOKENS()())


def without_sigterm() -> AbstractContextManager[bool]:
    """Within the block, `ray.init` does not put a handler of its own in the place of ours."""
    return replaced({SIGTERM: lambda _: lambda _handler: None})


def found_by_ray() -> str | None:
    """HOST:PORT of the cluster that Ray would join as "auto", which may be gone; None where none is known."""
    if not unchanged(ADDRESS_OF):
        return None
    try:
        found: str = ADDRESS_OF()("auto")
    except (ConnectionError, ValueError):  # there is none, or what Ray has noted is no address
        return None
    return found


def is_no_node() -> bool:
    """Whether this machine is known to be no node of any cluster: Ray would look for one for a minute."""
    return unchanged(NODE_IDS) and not NODE_IDS()()


# ---- how Tune carries trials out -----------------------------------------------------------------------

CONTROLLER = "ray.tune.execution.tune_controller:TuneController"
REUSE = Private(f"{CONTROLLER}._maybe_reuse_cached_actor", "(self, trial)", f"{CONTROLLER}._schedule_trial_actor")
RESETTING = Private(f"{CONTROLLER}._resetting_trials", "", REUSE.name)
ACTOR_OF = Private(f"{CONTROLLER}._trial_to_actor", "", REUSE.name)
ACTORS = Private(f"{CONTROLLER}._actor_manager", "", f"{CONTROLLER}._schedule_trial_actor")
IS_STARTED = Private("ray.air.execution._internal:RayActorManager.is_actor_started", "(self, tracked_actor)")
CLASSES = Private(f"{CONTROLLER}._class_cache", "", f"{CONTROLLER}._schedule_trial_actor")
CLASS_OF = Private(
    "ray.tune.execution.class_cache:_ActorClassCache.get",
    "(self, trainable_cls)",
    f"{CONTROLLER}._schedule_trial_actor",
)
CACHED = Private("ray.tune.execution.class_cache:_ActorClassCache._cache", "", CLASS_OF.name)
HANDLE = Private(
    "ray.tune.experiment.trial:_TemporaryTrialState.ray_actor", "", "ray.tune.experiment:Trial.set_ray_actor"
)
FOR_WORKERS = (CLASSES, CLASS_OF, CACHED)
FAILED_TASK = Private(
    "ray.air.execution._internal:RayActorManager._actor_task_failed", "(self, tracked_actor_task, exception)"
)
SECONDS_FOR_A_WORKER = 120
"""How long one that is starting is waited for, while others are free."""


def plain_workers(controller: Any, worker: type) -> bool:
    """Let workers have the environment of Ray's other processes; whether that could be done.

    Tune would give each one of its own, which takes a part of a second to prepare, needs one of Ray's agents, and
    holds the AWS keys of this process, so that Ray writes them into its logs.
    """
    import ray

    if not unchanged(*FOR_WORKERS):
        return False
    controller._class_cache._cache[worker] = ray.remote(worker)
    return True


def starting_once() -> AbstractContextManager[bool]:
    """Within the block, Tune gives a worker that is free to no trial whose own worker is being started.

    It would end that one, and start another for the next trial: while trials are shorter than a start, they would
    run one after the other. One that has no place to start at, as when a machine was lost, is not waited for.
    """
    return replaced({REUSE: unless_starting}, RESETTING, ACTOR_OF, ACTORS, IS_STARTED)


def unless_starting(reuse: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Instead of how Tune gives a free worker to a trial."""
    asked_for: WeakKeyDictionary[Any, float] = WeakKeyDictionary()

    def reuse_unless_starting(controller: Any, trial: Any) -> bool:
        own = None if trial in controller._resetting_trials else controller._trial_to_actor.get(trial)
        if own and controller._actor_manager.is_actor_started(own):
            since = asked_for.setdefault(trial, time.monotonic())
            if time.monotonic() - since < SECONDS_FOR_A_WORKER:
                return False
        return reuse(controller, trial)

    return reuse_unless_starting


def lost_is_an_actor_error() -> AbstractContextManager[bool]:
    """Within the block, Tune hears of any lost worker as an error of its actor.

    It knows of no other, such as that the machine's memory ran out, and would end the whole search.
    """
    return replaced({FAILED_TASK: as_actor_error})


def as_actor_error(failed: Callable[[Any, Any, Exception], None]) -> Callable[[Any, Any, Exception], None]:
    """Instead of how Tune takes in that a worker did not answer; what Ray raised is the cause of the error."""
    from ray.exceptions import RayActorError, RayError, RayTaskError

    def task_failed(manager: Any, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, RayError) and not isinstance(exception, RayActorError | RayTaskError):
            lost = RayActorError(error_msg=str(exception))
            lost.__cause__ = exception
            exception = lost
        failed(manager, tracked_actor_task, exception)

    return task_failed


def ends_this_process(error: SystemExit) -> bool:
    """Whether Ray ends this worker, as it does at a SIGTERM, rather than something that it runs."""
    return hasattr(error, "ray_terminate_msg")


def end_worker(trial: Any) -> None:
    """End the worker of one of Tune's trials at once, if it has one: Tune waits for what it is doing."""
    import ray

    if unchanged(HANDLE) and trial.temporary_state.ray_actor is not None:
        ray.kill(trial.temporary_state.ray_actor)
