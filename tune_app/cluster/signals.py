"""SIGINT and SIGTERM: before, while and after a search runs."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tune_app.cluster.ray_private import without_sigterm

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def handled(by: Callable[[int, object], None], *signals: signal.Signals) -> Iterator[None]:
    """Within the block, a function handles these signals; nothing happens in another thread, which gets none."""
    main = threading.current_thread() is threading.main_thread()
    before = {one: signal.signal(one, by) for one in signals if main}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block, SIGTERM is a KeyboardInterrupt as SIGINT is: what was started is ended."""

    def terminate(_signum: int, _frame: object) -> None:
        raise KeyboardInterrupt

    with handled(terminate, signal.SIGTERM):
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Hold signals back until the block is through: Ray stopped halfway through its start would leave processes."""
    received: list[int] = []
    with handled(lambda signum, _frame: received.append(signum), *SIGNALS), without_sigterm():
        yield
    if received:
        raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that the first signal sets; the second is a KeyboardInterrupt."""
    interrupted = threading.Event()

    def interrupt(_signum: int, _frame: object) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    with handled(interrupt, *SIGNALS):
        yield interrupted
