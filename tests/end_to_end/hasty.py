"""tune-app whose minutes are seconds: python -m tests.end_to_end.hasty ARGUMENTS.

It copies every second, takes another one for dead after 5 s, and the head of a cluster after 5 s. GPUs that others
hold are waited for 2 s.
"""

from tune_app.cli import main
from tune_app.cluster import lookout, resources
from tune_app.storage import mirror, mirroring

if __name__ == "__main__":
    mirroring.SECONDS_BETWEEN_COPIES, mirroring.SECONDS_FOR_THE_LAST_COPY = 1, 5
    mirror.SECONDS_ALIVE = 5
    lookout.SECONDS_OF_SILENCE = 5
    resources.SECONDS_UNTOLD, resources.SECONDS_TO_LOOK = 1.0, 2.0
    main()
