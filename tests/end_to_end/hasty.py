"""tune-app that copies every 3 s and takes one for dead after 12 s: python -m tests.end_to_end.hasty ARGUMENTS."""

from tune_app.cli import main
from tune_app.storage import hold, mirror, mirroring

if __name__ == "__main__":
    mirroring.SECONDS_BETWEEN_COPIES = 3
    mirror.SECONDS_ALIVE = hold.SECONDS_ALIVE = 12
    main()
