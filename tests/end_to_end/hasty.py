"""tune-app that copies every 3 s and takes one for dead after 12 s: python -m tests.end_to_end.hasty ARGUMENTS."""

from tune_app.cli import main
from tune_app.experiment import mirror
from tune_app.tuning import hold, mirroring

if __name__ == "__main__":
    mirroring.SECONDS_BETWEEN_COPIES = 3
    mirror.SECONDS_ALIVE = hold.SECONDS_ALIVE = 12
    main()
