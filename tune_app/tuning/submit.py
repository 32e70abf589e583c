"""Send a search to a cluster as a Ray job: pack this package with it, follow its log, fetch the experiment."""

import asyncio
import base64
import io
import logging
import os
import re
import secrets
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import metadata, requires
from pathlib import Path
from typing import Any

from tune_app.errors import TuneAppError
from tune_app.experiment.bucket import Bucket
from tune_app.experiment.record import refuse_existing
from tune_app.experiment.space import find
from tune_app.tuning import on_head
from tune_app.tuning.cluster import import_ray
from tune_app.tuning.tokens import asks_for_token

SECONDS_TO_STOP = 60
"""So long `ray job stop` waits for a search to end by itself."""
SECONDS_TO_COME_UP, SECONDS_BETWEEN_TRIES = 60, 1
OF_RAY = ("ray", "torch", "numpy")
"""What every node of the cluster has."""
OF_READERS = ("plotly", "pandas")
"""What only those need who look at what was found."""
OF_THE_BUCKET = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION")
"""Where a bucket is. Credentials are not sent: everyone who may see the job would see them."""


def requirements() -> list[str]:
    """What the head of a cluster needs beside torch, ray and numpy, as pip takes it."""
    wanted = [line for line in requires("tune_app") or () if "extra ==" not in line]
    return [line for line in wanted if re.split(r"[^A-Za-z0-9_.-]", line)[0] not in (*OF_RAY, *OF_READERS)]


def submit(
    address: str,
    space: str,
    arguments: Sequence[str],
    name: str,
    labels: dict[str, str],
    data: str | None,
    bucket: Bucket | None,
    pip: bool,
) -> str:
    """Send `tune-app search SPACE --name NAME ARGUMENTS` to the job server at `address`; the job's id.

    `labels` are shown beside the job in the dashboard. `data`: as in `mnist.load`; what lies on this machine is
    sent along. `bucket`: where the experiment is copied to. `pip`: Ray installs on the nodes what they lack.
    """
    client = connect(address)
    job = f"tune_app-{name}-{secrets.token_hex(4)}"
    with package(space) as folder:
        if data:
            arguments = [*arguments, "--data", send_along(data, folder)]
        place = str(bucket or "$EXPERIMENTS")
        command = [*arguments, "--name", name, "--address", "auto", "--experiments-dir", place]
        runtime_env: dict[str, Any] = {
            "working_dir": str(folder),
            "env_vars": {
                "RAY_JOB_STOP_WAIT_TIME_S": str(SECONDS_TO_STOP),
                "PYTHONUNBUFFERED": "1",
                **{name: os.environ[name] for name in OF_THE_BUCKET if bucket and name in os.environ},
            },
        }
        if pip:
            runtime_env["pip"] = requirements()
        source = find(space).name if Path(space).exists() else space
        send(client, address, job, entrypoint("search", source, *command), runtime_env, labels)
    return job


def send_along(data: str, folder: Path) -> str:
    """Put images that lie on this machine into `folder`; what they are called in the job.

    Raises `TuneAppError` for more than a job should carry.
    """
    path = Path(data)
    if data == "tutorial" or not path.exists():  # the original, a URL, or a path on the head
        return data
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    size = sum(file.stat().st_size for file in files)
    if size > on_head.MOST_BYTES:
        raise TuneAppError(
            f"--data {data}: {size / 1e6:.0f} MB, allowed: up to {on_head.MOST_BYTES / 1e6:.0f} MB, which are sent"
            " along, a URL, or a path that only the head has"
        )
    there = folder / "data" / path.resolve().name
    there.parent.mkdir()
    if path.is_file():
        shutil.copy(path, there)
    else:
        shutil.copytree(path, there)
    return str(there.relative_to(folder))


def send(
    client: Any, address: str, job: str, command: str, runtime_env: dict[str, Any], labels: dict[str, str]
) -> None:
    """Submit a job; a cluster that has just come up is waited for. `TuneAppError` where it is not taken."""
    deadline = time.monotonic() + SECONDS_TO_COME_UP
    while True:
        try:
            client.submit_job(submission_id=job, entrypoint=command, runtime_env=runtime_env, metadata=labels)
            return
        except RuntimeError as error:
            if "No available agent" not in str(error) or time.monotonic() > deadline:
                reason = str(error).strip().splitlines()[-1]
                raise TuneAppError(f"--address {address}: the job is not taken: {reason}") from None
        time.sleep(SECONDS_BETWEEN_TRIES)


def entrypoint(*arguments: str) -> str:
    """The command line that runs `on_head.py` with these arguments."""
    quoted = " ".join("'" + argument.replace("'", "'\\''") + "'" for argument in arguments)
    return f"python -m tune_app.tuning.on_head {quoted}"


def connect(address: str) -> Any:
    """A client of the job server; `TuneAppError` where none answers or it refuses this client."""
    import_ray()
    logging.disable(logging.INFO)  # the client says what it uploads, and sets its level itself
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    if not re.fullmatch(r"https?://[^/@\s]+/?", address):
        raise TuneAppError(f"--address {address}: is no job server, allowed: http://HEAD:8265")
    try:
        return JobSubmissionClient(address)
    except AuthenticationError:
        raise TuneAppError(asks_for_token(address)) from None
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise TuneAppError(
            f"--address {address}: no job server answers: {reason[0] if reason else error!r}"
        ) from None


@contextmanager
def package(space: str) -> Iterator[Path]:
    """A folder with this package, its name and version, and the space file if it is a person's own."""
    here = Path(__file__).parent.parent
    spaces = here / "search_spaces" if (here / "search_spaces").is_dir() else here.parent / "search_spaces"
    with tempfile.TemporaryDirectory(prefix="tune-submit-") as temporary:
        folder = Path(temporary)
        shutil.copytree(here, folder / "tune_app", ignore=shutil.ignore_patterns("__pycache__", "search_spaces"))
        shutil.copytree(spaces, folder / "search_spaces")
        version = metadata("tune_app")["Version"]
        info = folder / f"tune_app-{version}.dist-info"
        info.mkdir()
        needed = "".join(f"Requires-Dist: {line}\n" for line in requires("tune_app") or ())
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tune_app\nVersion: {version}\n{needed}")
        if Path(space).exists():
            shutil.copy(space, folder)
        yield folder


def follow(address: str, job: str, show: Callable[[str], None]) -> int | None:
    """Show a job's log as it grows, until it ends; its exit code, None where it was stopped or lost."""
    client = connect(address)

    async def tail() -> None:
        async for lines in client.tail_job_logs(job):
            show(lines)

    asyncio.run(tail())
    code: int | None = client.get_job_info(job).driver_exit_code
    return code


def fetch(address: str, name: str, experiments_dir: Path) -> Path:
    """Copy an experiment from the head through a job's log; the folder here.

    Raises `TuneAppError` where it is not there, larger than a log may be, or exists here.
    """
    folder = experiments_dir / name
    refuse_existing(folder)
    client = connect(address)
    with package("quick") as packed:
        job = f"tune_app-fetch-{name}-{secrets.token_hex(4)}"
        send(client, address, job, entrypoint("pack", name), {"working_dir": str(packed)}, {})
    asyncio.run(ended(client, job))
    log = client.get_job_logs(job)
    found = re.search(rf"{on_head.BEGIN}\n(.*?)\n{on_head.END}", log, re.DOTALL)
    if found is None:
        said = [line for line in log.splitlines() if line.startswith("Error: ")]
        raise TuneAppError(said[-1].removeprefix("Error: ") if said else f"{name}: could not be fetched")
    experiments_dir.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=experiments_dir))
    try:
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(found[1])), mode="r:gz") as archive:
            archive.extractall(part, filter="data")
        (part / name).rename(folder)
    except (OSError, tarfile.TarError, ValueError) as error:
        raise TuneAppError(f"{folder}: what was fetched cannot be unpacked: {error}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


async def ended(client: Any, job: str) -> None:
    """Wait for the end of a job."""
    async for _ in client.tail_job_logs(job):
        pass
