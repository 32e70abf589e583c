"""What the numbers of a training depend on, and how long a process has been running."""

import subprocess
import sys
import time

CLOCK_TICK = 0.02


def test_a_process_knows_how_long_it_has_been_running() -> None:
    begin = time.perf_counter()
    program = "from tune_app.machine import seconds_running; print(seconds_running())"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert 0 < float(done.stdout) < time.perf_counter() - begin + CLOCK_TICK
