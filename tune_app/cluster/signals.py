"""SIGINT and SIGTERM: before, while and after a search runs."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tune_app.cluster.ray_private import without_sigterm

SIGNALS = (signal.SIGINT, signal.SIGTERM)


def in_main_thread() -> bool:
    """Whether signals can be handled here."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block, SIGTERM is a KeyboardInterrupt as SIGINT is: what was started is ended."""
    if not in_main_thread():
        yield
        return

    def terminate(signum: int, frame: object) -> None:  # noqa: ARG001
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold signals back until the block is through: Ray stopped halfway through its start would leave processes."""
    if not in_main_thread():
        yield
        return
    received: list[int] = []
    before = {s: signal.signal(s, lambda signum, _frame: received.append(signum)) for s in SIGNALS}
    try:
        with without_sigterm():
            yield
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
    if received:
        raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that the first signal sets; the second is a KeyboardInterrupt."""
    interrupted = threading.Event()
    if not in_main_thread():
        yield interrupted
        return

    def interrupt(signum: int, frame: object) -> None:  # noqa: ARG001
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    before = {s: signal.signal(s, interrupt) for s in SIGNALS}
    try:
        yield interrupted
    finally:
        for s, handler in before.items():
            signal.signal(s, handler)
