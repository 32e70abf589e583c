"""Whether a search is hopeless: the first trials all failed alike, and so would the others."""

import re
from collections.abc import Sequence

from tune_app.experiment.trial import Trial

SAME_FAILURES = 3
"""So many that are alike, while no trial has a result, end the search: errors, or workers without memory."""
OUT_OF_MEMORY = "its worker was killed because the machine's memory ran out"


def all_failed_alike(trials: Sequence[Trial]) -> bool:
    """Whether the same error, but for numbers in it, is all that came out of the first trials."""
    ended = [trial for trial in trials if trial.ended]
    kinds = {re.sub(r"0x[0-9a-f]+|\d+", "#", str(trial.reason)) for trial in ended}
    nothing = not any(trial.results for trial in trials)
    return nothing and len(ended) >= SAME_FAILURES and len(kinds) == 1 and kinds.pop().startswith("error: ")


def no_memory(trials: Sequence[Trial], killed: Sequence[int]) -> bool:
    """Whether all trials that have not ended lack memory, two or more do, and none has a result.

    killed: the trials whose workers were killed for want of memory, each as often as that happened.
    """
    if any(trial.results for trial in trials) or len(killed) < SAME_FAILURES or len(set(killed)) < 2:
        return False
    return all(trial.ended or trial.number in killed for trial in trials)
