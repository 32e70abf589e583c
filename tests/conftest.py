"""What tests share: a slice of the real MNIST, and a Ray that asks for no token."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SHIPPED = Path(__file__).parent.parent / "tune_app" / "tutorial" / "mnist.parquet"


def pytest_addoption(parser: pytest.Parser) -> None:
    """scripts/soak asks for more."""
    parser.addoption("--kills", type=int, default=4, help="how often a search is killed before it may finish")
    parser.addoption(
        "--histories", type=int, default=500, help="random histories that count; nearly twice as many are run"
    )


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Parquet file with the first 2,000 training and 500 validation images of MNIST."""
    table = pq.read_table(SHIPPED)
    parts = [table.filter(pa.compute.equal(table["split"], name)) for name in ("train", "valid")]
    path = tmp_path_factory.mktemp("mnist") / "small.parquet"
    pq.write_table(pa.concat_tables([parts[0].slice(0, 2000), parts[1].slice(0, 500)]), path)
    return path


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests that start Ray make no token in anyone's home, and look at nobody's experiments."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("TUNE_APP_EXPERIMENTS_DIR", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
