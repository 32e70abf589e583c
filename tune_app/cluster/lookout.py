"""Watch whether the head of a joined cluster still answers.

When it is gone, Ray's calls hang, and after a minute Ray ends this process without a word. So a thread of our
own looks, says what to do, and ends the process first: all that was acknowledged is in the record.
"""

import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_BETWEEN_LOOKS = 2
SECONDS_OF_SILENCE = 30
"""So long the head may be away: less than the 60 s after which Ray gives up, enough for a restart."""
SECONDS_TO_CONNECT = 5


@contextmanager
def lookout(address: str, again: str, finish: Callable[[], None]) -> Iterator[None]:
    """Within the block, end this process if nothing answers at `address` (HOST:PORT), after a last `finish`.

    `again`: the command that goes on.
    """
    over = threading.Event()
    thread = threading.Thread(target=watch, args=(address, again, over, finish), daemon=True, name="lookout")
    thread.start()
    try:
        yield
    finally:
        over.set()


def watch(address: str, again: str, over: threading.Event, finish: Callable[[], None]) -> None:
    """Look every few seconds until it is over, or the address has been silent for too long."""
    last_answer = time.monotonic()
    while not over.wait(SECONDS_BETWEEN_LOOKS):
        try:
            knock(address, SECONDS_TO_CONNECT)
            last_answer = time.monotonic()
        except OSError:
            if time.monotonic() - last_answer > SECONDS_OF_SILENCE:
                sys.stderr.write(
                    f"Error: the cluster at {address} no longer answers; what is recorded is kept,"
                    f" go on with: {again}\n"
                )
                sys.stderr.flush()
                finish()
                os._exit(1)  # the main thread may hang in Ray for ever


def knock(address: str, seconds: float) -> None:
    """Connect to HOST:PORT; `OSError` where nothing accepts that in time."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
