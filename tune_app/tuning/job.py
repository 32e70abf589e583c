"""The search as a job of Ray, with metadata that change while it runs.

Ray keeps what it shows of a submitted job as JSON in its store, where that can be changed; the metadata of any
other process are fixed. So a search on a Ray of our own enters itself as if it had been submitted. On a cluster of
others it does not: should it be killed, nobody there would say in the entry that it has ended. `ray job stop` does
not stop it: Ray finds no supervisor of its own, and enters it as failed until the next change here.
"""

import json
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ID = "TUNE_APP_JOB"
"""The environment variable in which a submitted job finds its id."""
KEY, NAMESPACE = "_ray_internal_job_info_{}", b"job"
LOG = "job-driver-{}.log"
WHERE_TO_LOOK = "The search prints what happens where it was started; tune-app status shows it, too.\n"
"""For the page of the job, which shows the log of what was submitted."""
RUNNING = {"status": "RUNNING", "message": "The search is running.", "error_type": None, "end_time": None}
"""What an entry of our own says until the search has ended."""
ID_IN_METADATA = "job_submission_id"
"""Under which Ray looks for the id of the entry, among the metadata that a process connects with."""


@dataclass(frozen=True)
class Job:
    """A job whose entry can be changed. `own`: it was entered here; else Ray sees to its status."""

    id: str
    own: bool


def submitted() -> Job | None:
    """The job that this process runs in, if it was submitted with `tune-app submit`."""
    return Job(os.environ[ID], own=False) if ID in os.environ else None


def named(name: str) -> Job:
    """A job of our own, called as an experiment is; its id is a part of addresses."""
    return Job(re.sub(r"[^\w.-]+", "-", name), own=True)


def enter(job: Job, metadata: Mapping[str, str]) -> None:
    """Enter what runs in this process as a job with metadata."""
    import ray
    from ray._private.utils import get_entrypoint_name
    from ray._private.worker import global_worker
    from ray.dashboard.modules.job.common import JobInfo, JobStatus

    info = JobInfo(
        status=JobStatus.RUNNING,
        entrypoint=get_entrypoint_name(),  # type: ignore[no-untyped-call]
        start_time=milliseconds(),
        metadata=dict(metadata),
        driver_node_id=ray.get_runtime_context().get_node_id(),
    )
    assert global_worker.node is not None
    Path(global_worker.node.get_logs_dir_path(), LOG.format(job.id)).write_text(WHERE_TO_LOOK)
    write(job.id, {**info.to_json(), **RUNNING})


def label(job: Job, key: str, value: str) -> None:
    """Change one of its metadata."""
    if info := read(job.id):
        state = RUNNING if job.own else {}
        write(job.id, {**info, **state, "metadata": {**(info.get("metadata") or {}), key: value}})


def end(job: Job, reason: str) -> None:
    """Say how the search ended, if nobody else does."""
    if job.own and (info := read(job.id)):
        status = "FAILED" if reason == "error" else "SUCCEEDED"
        ended = {"status": status, "message": f"The search ended: {reason}.", "end_time": milliseconds()}
        write(job.id, {**info, **RUNNING, **ended})


def read(job: str) -> dict[str, Any] | None:
    """The entry of a job, if there is one."""
    from ray.experimental import internal_kv

    content = internal_kv._internal_kv_get(KEY.format(job).encode(), namespace=NAMESPACE)
    return dict(json.loads(content)) if content else None


def write(job: str, info: Mapping[str, Any]) -> None:
    """Replace the entry of a job."""
    from ray.experimental import internal_kv

    content = json.dumps(info).encode()
    internal_kv._internal_kv_put(KEY.format(job).encode(), content, overwrite=True, namespace=NAMESPACE)


def milliseconds() -> int:
    """Now, as Ray counts."""
    return int(time.time() * 1000)
