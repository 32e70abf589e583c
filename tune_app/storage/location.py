"""Where the files of experiments lie: in a folder, or in a bucket and beside it on this machine."""

import os
import re
from pathlib import Path

from tune_app.errors import TuneAppError
from tune_app.experiment.spec import Paths, check_name
from tune_app.storage.bucket import SCHEME, Bucket, server
from tune_app.typed_path import cache_folder, typed_path

IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Ray sets this variable in the process of a job."""


def folder_or_bucket(experiments_dir: str | Path | Bucket) -> Path | Bucket:
    """A folder of experiments, on this machine or in a bucket."""
    if isinstance(experiments_dir, Bucket):
        return experiments_dir
    given = re.sub(r"^s3:/(?!/)", SCHEME, str(experiments_dir))  # a Path drops the second slash
    if given.lower().startswith(SCHEME):
        return Bucket.at(given)
    path = typed_path(experiments_dir, f"a folder, or {SCHEME}BUCKET/FOLDER")
    if IN_A_JOB in os.environ and not path.is_absolute():
        allowed = f"{SCHEME}BUCKET/FOLDER, or an absolute path"
        raise TuneAppError(f"--experiments-dir {path}: Ray removes the folder of a job; allowed: {allowed}")
    return path


def paths(experiments_dir: Path | Bucket, name: str) -> Paths:
    """The files of the experiment of that name on this machine."""
    if isinstance(experiments_dir, Bucket):
        return Paths(beside(experiments_dir) / check_name(name), experiments_dir / name)
    return Paths(experiments_dir / check_name(name))


def searched_here(at: Paths) -> Paths:
    """The files of an experiment as this machine searches it, where `at` may be a copy for reading."""
    if at.copy is None:
        return at
    parent, _, name = at.copy.url.rpartition("/")
    return paths(Bucket(parent), name)


def beside(bucket: Bucket) -> Path:
    """The folder on this machine with the experiments that it searches and copies to a bucket."""
    return cache_folder().absolute() / "s3" / server() / bucket.path
