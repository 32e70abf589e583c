"""What is wrong with a task, and the one line that says so."""

from pathlib import Path
from typing import NamedTuple

from tests.own_task import line_of, write

RETURN = "return Lesson(model, F.cross_entropy, opt, train_dl, valid_dl, each_batch=sched)"
IMPORT = "from torch import nn"
LOAD = 'return {"train": (x[:200], y[:200]), "valid": (x[200:], y[200:])}'
ODD = f"""{IMPORT}
import time

class Odd:
    def __init__(self):
        self.born = time.time()

    def state_dict(self):
        return STATE

    def load_state_dict(self, state):
        pass
"""
KEPT = RETURN.replace("each_batch=sched", 'each_batch=sched, keeps={"odd": Odd()}')


class Bad(NamedTuple):
    """changes: of the task. line: a text of the line that is named. said: what comes after that."""

    changes: tuple[tuple[str, str], ...]
    line: str
    said: str

    def expected(self, folder: Path) -> str:
        """Write the task; how the line begins that is said of it."""
        file = write(folder, *self.changes)
        return self.said if not self.line else f"mine.py, line {line_of(file, self.line)}: {self.said}"


BEFORE_ANY_TRIAL = {
    "does not parse": Bad(((IMPORT, "from torch import ("),), "import (", "'(' was never closed, allowed: "),
    "an import fails": Bad(
        ((IMPORT, f"{IMPORT}\nimport no"),), "import no", "ModuleNotFoundError: No module named 'no'"
    ),
    "load raises": Bad(((LOAD, 'raise OSError("no\\ndisk")'),), "raise OSError", "OSError: no disk"),
    "load exits": Bad(((LOAD, "raise SystemExit(3)"),), "raise SystemExit", "SystemExit: 3"),
    "load returns something else": Bad(
        ((LOAD, 'return {"train": TensorDataset(torch.zeros(2))}'),),
        "",
        "load of mine: TypeError: data['train'] is of type TensorDataset, allowed: tensors, arrays of NumPy,",
    ),
}
"""In these no search begins."""
IN_TRIALS = {
    "no lesson": Bad(((RETURN, "return model"),), "", "TypeError: net returned a Sequential, allowed: a Lesson"),
    "a level exits": Bad(((RETURN, "raise SystemExit(0)"),), "SystemExit(0)", "SystemExit: 0"),
    "an empty loader": Bad(
        (("    model = nn.Sequential", "    train_dl = []\n    model = nn.Sequential"), ("* len(train_dl)", "* 2")),
        RETURN,
        "ValueError: train_dl has no batches, allowed: one or more",
    ),
    "a loss without gradient": Bad(
        ((RETURN, RETURN.replace("F.cross_entropy", "lambda out, yb: F.cross_entropy(out, yb).detach()")),),
        "",
        "ValueError: the loss has no gradient, allowed: a loss computed from parameters that require gradients",
    ),
    "a metric raises": Bad((("return out.argmax(1) == yb", "raise KeyError(1)"),), "KeyError(1)", "KeyError: 1"),
    "a state that cannot be kept": Bad(
        ((IMPORT, ODD.replace("STATE", "{1: object()}")), (RETURN, KEPT)),
        "",
        "ValueError: keeps.odd.1 is a object, which cannot be kept; allowed: tensors, arrays, numbers, text,"
        " None, and lists, tuples, dictionaries and sets of these",
    ),
}
"""In these every trial fails."""
DOES_NOT_COME_BACK = Bad(
    ((IMPORT, ODD.replace("STATE", "{'born': self.born}")), (RETURN, KEPT)),
    "",
    "ValueError: the state of keeps.odd, a Odd, is not the same after it was put back; allowed: a load_state_dict()"
    " that takes all that state_dict() gives",
)
"""This one fails when a training is to go on."""
