"""The place in a task's own files where something failed, as one line for people."""

import re

from tune_app.errors import TuneAppError

FOLDER = "tune-task-"
"""The beginning of the name of the folder in which the files of a task are executed."""
LINE = re.compile(rf'File "[^"\n]*/{FOLDER}[^/"\n]*/([^"\n]+)", line (\d+)')
OURS = re.compile(r"^tune_app\.\S+: ")


class DataChanged(TuneAppError):
    """A level has written to the data that all trials share."""


def line_of_task(traceback: str) -> str:
    """The innermost line of a task's file in a traceback, such as "digits.py, line 31"; empty if there is none.

    An exception in a process that loads batches has the traceback of that process in its words.
    """
    found = LINE.findall(traceback)
    return "{}, line {}".format(*found[-1]) if found else ""


def in_one_line(traceback: str) -> str:
    """A traceback in one line: "digits.py, line 31: ValueError: no such optimizer"."""
    lines = [line.strip() for line in traceback.strip().splitlines() if line.strip()]
    said = OURS.sub("", lines[-1]) if lines else "unknown"
    return ": ".join(filter(None, (line_of_task(traceback), said)))
