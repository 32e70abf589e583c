"""The token of a Ray of our own."""

import os
from pathlib import Path

import pytest

from tune_app.cluster import tokens


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    return tmp_path


@pytest.mark.parametrize(("mode", "owner", "used"), [(0o600, 0, True), (0o640, 0, False), (0o600, 1, False)])
def test_a_token_in_the_home_is_used_only_if_this_user_alone_can_read_it(home, monkeypatch, mode, owner, used):
    (home / ".ray" / "auth_token").write_text("secret")
    (home / ".ray" / "auth_token").chmod(mode)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + owner)  # another user, who was left this home
    found = tokens.for_own_ray(home)
    assert found["RAY_AUTH_MODE"] == "token"
    assert ("RAY_AUTH_TOKEN_PATH" not in found) == used
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", found.get("RAY_AUTH_TOKEN_PATH", ""))
    assert (tokens.token_file() == "~/.ray/auth_token") == used
    assert (home / ".ray" / "auth_token").read_text() == "secret"


def test_a_new_token_is_private_from_the_beginning_and_differs_each_time(home: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    paths = [Path(tokens.for_own_ray(folder)["RAY_AUTH_TOKEN_PATH"]) for folder in (home, tmp_path / "other")]
    assert [path.stat().st_mode & 0o777 for path in paths] == [0o600] * 2
    first, second = (path.read_text() for path in paths)
    assert first != second and len(first) == 64


@pytest.mark.parametrize("mode", ["disabled", "k8s"])
def test_another_mode_is_left_as_it_is(home: Path, monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    assert tokens.for_own_ray(home) == {}
    assert not (home / "auth_token").exists()
