"""What tests share: a slice of the real MNIST, a Ray that asks for no token, and an S3 server."""

import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, settings

from tune_app.cli import main
from tune_app.storage.bucket import Bucket
from tune_app.task.images.mnist import Mnist
from tune_app.task.images.sources import load

AWS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "a-secret-of-tests", "AWS_REGION": "us-east-1"}
settings.register_profile(  # how busy a machine is decides no test
    "tune_app", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
settings.load_profile("tune_app")
SHIPPED = Path(__file__).parent.parent / "tune_app" / "task" / "images" / "mnist.parquet"


def pytest_addoption(parser: pytest.Parser) -> None:
    """scripts/soak asks for more."""
    parser.addoption("--kills", type=int, default=2, help="how often a search is killed before it may finish")
    parser.addoption(
        "--histories", type=int, default=200, help="random histories that count; nearly twice as many are run"
    )
    parser.addoption("--soak", action="store_true", help="run what takes too long for every run, too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, visibly, what only scripts/soak runs."""
    for item in items:
        if item.get_closest_marker("soak") and not config.getoption("--soak"):
            item.add_marker(pytest.mark.skip(reason="takes long: scripts/soak runs it"))


@pytest.fixture(scope="session", autouse=True)
def interrupts_are_heeded() -> None:
    """A shell ignores SIGINT in what it starts in the background, and so would all commands that tests start."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parquet file with the first 2,000 training and 500 validation images of MNIST."""
    table = pq.read_table(SHIPPED)
    parts = [table.filter(pa.compute.equal(table["split"], name)) for name in ("train", "valid")]
    path = tmp_path_factory.mktemp("mnist") / "small.parquet"
    pq.write_table(pa.concat_tables([parts[0].slice(0, 2000), parts[1].slice(0, 500)]), path)
    return path


@pytest.fixture(scope="session")
def small(small_data: Path) -> Mnist:
    """These images."""
    return load(str(small_data))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Trials train on one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that start Ray make no token in anyone's home, and look at nobody's experiments."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("TUNE_APP_EXPERIMENTS_DIR", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The URL of a real S3 server on loopback, with a bucket called test."""
    with running_s3_server() as (url, _):
        yield url


@contextmanager
def running_s3_server() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """An S3 server's URL and process; the process ends with the block."""
    command = [sys.executable, "-m", "tests.s3_server"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        assert url, "the S3 server has not started"
        try:
            yield url, server
        finally:
            server.kill()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A folder of the test's own in a bucket, and the environment that leads there."""
    for name, value in {**AWS, "AWS_ENDPOINT_URL": s3_server}.items():
        monkeypatch.setenv(name, value)
    return Bucket.at(f"s3://test/{secrets.token_hex(4)}")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> Path:
    """A bundle of level fit."""
    from tests.bundles import config_of, make_bundle

    return make_bundle(tmp_path_factory.mktemp("made"), config_of("fit"), small_data, 2, 2)


@pytest.fixture
def bundle(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that a test may damage, in the working directory."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, tmp_path / "best")
    return Path("best")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Run a command in a folder of the test's own, as a user who has run no task yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def command(*arguments: object) -> Result:
        done = CliRunner().invoke(main, list(map(str, arguments)))
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return command
