"""The search as a job of Ray, with metadata that change while it runs.

Ray keeps what it shows of a submitted job as JSON in its store, where that can be changed; the metadata of any
other process are fixed. So a search that was not submitted enters itself as if it had been. On a cluster of others
an actor looks after that entry, as Ray's own does for what was submitted: it enters that the search has ended
should that be killed, and passes `ray job stop` on. On a Ray of our own, which ends with the search, there is none:
`ray job stop` does not stop it there, and Ray enters it as failed until the next change here.
"""

import asyncio
import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_app.tuning.signals import in_main_thread

KEY, NAMESPACE = "_ray_internal_job_info_{}", b"job"
LOG = "job-driver-{}.log"
WHERE_TO_LOOK = "The search prints what happens where it was started; tune-app status shows it, too.\n"
"""For the page of the job, which shows the log of what was submitted."""
RUNNING = {"status": "RUNNING", "message": "The search is running.", "error_type": None, "end_time": None}
"""What an entry of our own says until the search has ended."""
STATUS = {"error": "FAILED", "interrupted": "STOPPED"}
"""What it says then, by the reason; SUCCEEDED otherwise."""
LOST = "The process has gone without saying here how the search ended; tune-app status knows."
ID_IN_METADATA = "job_submission_id"
"""Under which Ray looks for the id of the entry, among the metadata that a process connects with."""
SECONDS_BETWEEN_LOOKS = 2.0
SECONDS_TO_ANSWER = 5.0
"""Ray would wait for its store for ever, and then end the process; within a search, `lookout.py` sees to that."""


@dataclass(frozen=True)
class Job:
    """A job whose entry can be changed. `own`: it was entered here; else Ray sees to its status."""

    id: str
    own: bool


def submitted() -> str | None:
    """The id of the job that this process runs in, if it was submitted to Ray: to this cluster, or to another."""
    from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR

    config = json.loads(os.environ.get(RAY_JOB_CONFIG_JSON_ENV_VAR, "{}"))
    submission: str | None = (config.get("metadata") or {}).get(ID_IN_METADATA)
    return submission


def id_of(name: str) -> str:
    """The id of a job that is called as an experiment is; it is a part of addresses."""
    return re.sub(r"[^\w.-]+", "-", name)


def take_up(id_: str, metadata: Mapping[str, str]) -> Job:
    """The job with this id on a cluster that was joined: one that was submitted, or one that is entered now.

    A job that was submitted gets the metadata that it lacks.
    """
    if info := read(id_):
        submission = Job(id_, own=False)
        label(submission, {**metadata, **(info.get("metadata") or {})})
        return submission
    own = Job(id_, own=True)
    supervise(own)  # first, so that no entry is ever without
    enter(own, metadata)
    return own


def enter(job: Job, metadata: Mapping[str, str]) -> None:
    """Enter what runs in this process as a job with metadata."""
    import ray
    from ray._common.network_utils import build_address  # type: ignore[attr-defined]  # compiled
    from ray._private.utils import get_entrypoint_name
    from ray._private.worker import global_worker
    from ray.dashboard.modules.job.common import JobInfo, JobStatus

    node = global_worker.node
    assert node is not None
    port = node.dashboard_agent_listen_port
    agent = build_address(node.node_ip_address, port)
    info = JobInfo(
        status=JobStatus.RUNNING,
        entrypoint=get_entrypoint_name(),  # type: ignore[no-untyped-call]
        start_time=milliseconds(),
        metadata=dict(metadata),
        driver_node_id=ray.get_runtime_context().get_node_id(),
        driver_agent_http_address=f"http://{agent}" if port and port > 0 else None,  # who shows the log
    )
    with suppress(OSError):  # of a Ray that another user started
        Path(node.get_logs_dir_path(), LOG.format(job.id)).write_text(WHERE_TO_LOOK)
    write(job.id, {**info.to_json(), **RUNNING})


def label(job: Job, metadata: Mapping[str, str]) -> None:
    """Change some of its metadata."""
    if info := read(job.id):
        state = RUNNING if job.own else {}
        write(job.id, {**info, **state, "metadata": {**(info.get("metadata") or {}), **metadata}})


def end(job: Job, reason: str) -> None:
    """Say how the search ended, if nobody else does."""
    if job.own:
        close(job.id, STATUS.get(reason, "SUCCEEDED"), f"The search ended: {reason}.")


@contextmanager
def ended(job: Job) -> Iterator[None]:
    """A job that has ended with the block, whether or not the block says so itself."""
    import ray

    reason = "completed"
    try:
        yield
    except BaseException as error:
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else "error"
        raise
    finally:
        with suppress(ray.exceptions.RpcError):  # the supervisor does it then
            if job.own and runs(job.id):
                end(job, reason)


def runs(job: str) -> bool:
    """Whether the entry of a job says that it has not ended."""
    info = read(job)
    return info is not None and info["end_time"] is None


def close(job: str, status: str, message: str) -> None:
    """Enter that a job of our own has ended."""
    if info := read(job):
        write(job, {**info, **RUNNING, "status": status, "message": message, "end_time": milliseconds()})


def supervise(job: Job) -> None:
    """Let a `Supervisor` look after a job that is entered here.

    `ray job stop` is SIGTERM to this process then, where its main thread is the one that searches.
    """
    import ray
    from ray._common.constants import HEAD_NODE_RESOURCE_NAME
    from ray.dashboard.modules.job.common import JOB_ACTOR_NAME_TEMPLATE, SUPERVISOR_ACTOR_RAY_NAMESPACE

    actor: Any = ray.remote(Supervisor).options(
        name=JOB_ACTOR_NAME_TEMPLATE.format(job_id=job.id),
        namespace=SUPERVISOR_ACTOR_RAY_NAMESPACE,
        lifetime="detached",
        max_restarts=-1,
        num_cpus=0,
        resources={HEAD_NODE_RESOURCE_NAME: 0.001},
        enable_task_events=False,
    )
    this_module = sys.modules[__name__]
    ray.cloudpickle.register_pickle_by_value(this_module)  # type: ignore[no-untyped-call]  # the head may lack it
    try:
        supervisor = actor.remote(job.id)
    finally:
        ray.cloudpickle.unregister_pickle_by_value(this_module)  # type: ignore[no-untyped-call]
    if in_main_thread():
        stopped = supervisor.stopped.options(max_task_retries=-1).remote()
        stopped.future().add_done_callback(interrupt)


def interrupt(stopped: "Future[None]") -> None:
    """Interrupt this process if it shall stop, and not where nobody can say that any more."""
    if not stopped.cancelled() and stopped.exception() is None:
        os.kill(os.getpid(), signal.SIGTERM)


class Supervisor:
    """An actor on the head of a cluster: there as long as what was entered as a job runs.

    `ping` and `stop` are what Ray calls, which finds it by its name.
    """

    async def __init__(self, job: str) -> None:  # type: ignore[misc]  # Ray awaits it
        self.job = job
        self.asked = asyncio.Event()
        self.watching = asyncio.create_task(self.watch())
        """From the start on: the process may end before it can ask for anything."""

    async def ping(self) -> None:
        """Answer."""

    async def stop(self) -> None:
        """Pass on that the job shall stop."""
        self.asked.set()

    async def stopped(self) -> None:
        """Wait until it shall."""
        await self.asked.wait()

    async def watch(self) -> None:
        """Wait until its process has gone, enter that unless it did so itself, and end this actor."""
        import ray

        while True:
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
            with suppress(Exception):  # it must look again, whatever happens: nobody else would end it
                if not await has_driver(self.job):
                    if runs(self.job):
                        close(self.job, "FAILED", LOST)
                    ray.kill(ray.get_runtime_context().current_actor)  # or `stopped` would be waited for


async def has_driver(job: str) -> bool:
    """Whether a process that runs as this job is connected to Ray."""
    from ray.experimental import internal_kv

    drivers = await internal_kv.internal_kv_get_gcs_client().async_get_all_job_info(  # type: ignore[no-untyped-call]
        job_or_submission_id=job,
        skip_submission_job_info_field=True,
        skip_is_running_tasks_field=True,
        timeout=SECONDS_TO_ANSWER,
    )
    return any(not driver.is_dead for driver in drivers.values())


def read(job: str) -> dict[str, Any] | None:
    """The entry of a job, if there is one."""
    from ray.experimental import internal_kv

    gcs = internal_kv.internal_kv_get_gcs_client()  # type: ignore[no-untyped-call]
    content = gcs.internal_kv_get(KEY.format(job).encode(), NAMESPACE, timeout=SECONDS_TO_ANSWER)
    return dict(json.loads(content)) if content else None


def write(job: str, info: Mapping[str, Any]) -> None:
    """Replace the entry of a job."""
    from ray.experimental import internal_kv

    content = json.dumps(info).encode()
    gcs = internal_kv.internal_kv_get_gcs_client()  # type: ignore[no-untyped-call]
    gcs.internal_kv_put(KEY.format(job).encode(), content, True, NAMESPACE, timeout=SECONDS_TO_ANSWER)


def milliseconds() -> int:
    """Now, as Ray counts."""
    return int(time.time() * 1000)
