"""What a submitted job runs on the head: python -m tune_app.tuning.on_head search|pack ARGUMENTS.

search: looks whether the head has what a search needs, in one clear line where it has not, and searches.
pack: prints an experiment as a compressed archive in base64, since Ray's jobs have no other way back.
"""

import base64
import io
import os
import re
import sys
import tarfile
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

BEGIN, END = "-----BEGIN EXPERIMENT-----", "-----END EXPERIMENT-----"
MOST_BYTES = 50_000_000
"""Of a packed experiment, which a job's log carries, and of images that are sent along."""
EXPERIMENTS = Path.home() / "tune_app_experiments"
"""Where experiments lie on the head: a job's own directory does not outlast it."""


def lacking() -> list[str]:
    """What this Python lacks or has in another version, in words."""
    from packaging.requirements import Requirement

    lacks = []
    for line in requires("tune_app") or ():
        needed = Requirement(line)
        if needed.marker is not None and not needed.marker.evaluate():
            continue
        try:
            there = version(needed.name)
        except PackageNotFoundError:
            lacks.append(f"{needed.name} is missing, needed: {needed.specifier}")
            continue
        if not needed.specifier.contains(there, prereleases=True):
            lacks.append(f"{needed.name} is {there}, needed: {needed.specifier}")
    return lacks


def search(arguments: list[str]) -> None:
    """Run `tune-app search` with these arguments."""
    lacks = lacking()
    if lacks:
        sys.exit(f"Error: on the head of the cluster {'; '.join(lacks)}; allowed: install it there, or --pip")
    from tune_app.cli import main

    EXPERIMENTS.mkdir(exist_ok=True)
    main(["search", *(a.replace("$EXPERIMENTS", str(EXPERIMENTS)) for a in arguments)])


def pack(name: str) -> None:
    """Print an experiment."""
    folder = EXPERIMENTS / name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name) or not folder.is_dir():
        sys.exit(f"Error: {folder}: no such experiment on the head of the cluster")
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.add(folder, arcname=name)
    if content.tell() > MOST_BYTES:
        size = content.tell() / 1e6
        sys.exit(f"Error: {folder} on the head is {size:.0f} MB packed, allowed: 50 MB; copy it by other means")
    sys.stdout.write(f"{BEGIN}\n{base64.b64encode(content.getvalue()).decode()}\n{END}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if sys.argv[1] == "search":
        search(sys.argv[2:])
    else:
        pack(sys.argv[2])
