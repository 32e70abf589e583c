"""Stands in for an agent of Ray that nobody would use: serves nothing, and ends when its raylet has."""

import os
import time

SECONDS_BETWEEN_LOOKS = 1.0

if __name__ == "__main__":
    raylet = int(os.environ["RAY_RAYLET_PID"])  # not the parent, which has changed if the raylet has ended
    while os.getppid() == raylet:
        time.sleep(SECONDS_BETWEEN_LOOKS)
