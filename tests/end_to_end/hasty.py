"""tune-app whose minutes are seconds: python -m tests.end_to_end.hasty ARGUMENTS.

It copies every second, takes another one for dead after 5 s, and the head of a cluster after 5 s.
"""

from tune_app.cli import main
from tune_app.cluster import lookout
from tune_app.storage import mirror, mirroring

if __name__ == "__main__":
    mirroring.SECONDS_BETWEEN_COPIES, mirroring.SECONDS_FOR_THE_LAST_COPY = 1, 5
    mirror.SECONDS_ALIVE = 5
    lookout.SECONDS_OF_SILENCE = 5
    main()
