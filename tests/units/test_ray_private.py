"""What is private of Ray: as it was when it was written down, or left out. Ray is imported and not started."""

import os
from collections.abc import Iterator
from pkgutil import resolve_name
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError, RayTaskError

from tune_app.cluster import guard, ray_private
from tune_app.cluster.guard import Private, replaced
from tune_app.cluster.ray_private import MONITOR, as_actor_error


def everything() -> Iterator[Private]:
    """All that the module names."""
    for found in vars(ray_private).values():
        yield from [each for each in (found if isinstance(found, tuple) else [found]) if isinstance(each, Private)]


@pytest.mark.parametrize("thing", sorted(set(everything()), key=str), ids=str)
def test_each_is_as_it_was_and_a_change_is_noticed(thing: Private, monkeypatch: pytest.MonkeyPatch) -> None:
    assert thing.unchanged

    def renamed(name: str) -> Any:
        raise AttributeError

    def read_by_nobody(name: str) -> Any:
        return test_each_is_as_it_was_and_a_change_is_noticed if name == thing.read_by else resolve_name(name)

    for changed in [renamed] + [read_by_nobody] * bool(thing.read_by):
        with monkeypatch.context() as patch:
            patch.setattr(guard, "resolve_name", changed)
            assert not thing.unchanged
    if thing.shape:
        with monkeypatch.context() as patch:
            patch.setattr(Private, "__call__", lambda _: lambda something_else: None)
            assert not thing.unchanged
    monkeypatch.setenv(guard.LEAVE_OUT, "1")
    assert not thing.unchanged


def test_all_of_a_group_is_replaced_or_nothing_and_put_back() -> None:
    before, other = MONITOR(), Private(MONITOR.name.replace("monitor", "moniteur"), "(self)")
    with replaced({MONITOR: lambda original: (original, os)}) as done:
        assert done and MONITOR() == (before, os)
    with replaced({MONITOR: lambda _: None}, other) as done:
        assert not done and MONITOR() is before
    assert MONITOR() is before


def test_any_loss_of_a_worker_reaches_tune_as_an_error_of_its_actor() -> None:
    heard: list[Exception] = []
    take_in = as_actor_error(lambda _manager, _task, error: heard.append(error))
    memory, died, raised = OutOfMemoryError("no memory"), ActorDiedError(), RayTaskError("f", "text", ValueError())
    for error in (memory, died, raised):
        take_in(None, tracked_actor_task=None, exception=error)  # type: ignore[call-arg]  # as Tune calls it
    assert isinstance(heard[0], RayActorError) and heard[0].__cause__ is memory
    assert heard[1:] == [died, raised]
