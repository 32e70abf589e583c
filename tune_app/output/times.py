"""The time of a search by what it was spent on, from the seconds in its record."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tune_app.experiment.record import Entry

ABSENT, STARTING, TRAINING, VALIDATING, WAITING = "absent", "starting", "training", "validating", "waiting"
ASKING, DECIDING, WRITING, IN_TUNE = "asking", "deciding", "writing", "waiting for results"
UNEXPLAINED = "unexplained"
MEANINGS = {
    ABSENT: "before a worker's process began, and after its last result",
    STARTING: "Python, torch, data, model",
    TRAINING: "",
    VALIDATING: "",
    WAITING: "for the driver's next step or trial",
    ASKING: "the sampler for the next config",
    DECIDING: "which trial to stop",
    WRITING: "record and states",
    IN_TUNE: "in Ray Tune's loop",
    UNEXPLAINED: "everything else, and what was computed and lost",
}
OF_RESULTS = {
    STARTING: "start_seconds",
    TRAINING: "train_seconds",
    VALIDATING: "valid_seconds",
    WAITING: "wait_seconds",
}
OF_DRIVER = {
    ASKING: "ask_seconds",
    DECIDING: "decide_seconds",
    WRITING: "write_seconds",
    IN_TUNE: "tune_seconds",
}


@dataclass
class Account:
    """One process: where it ran, when it was there (seconds since 1970), and seconds by what it did."""

    who: str
    node: str
    pid: int
    begin: float
    end: float
    parts: dict[str, float] = field(default_factory=dict)

    def add(self, part: str, seconds: float) -> None:
        """Spend time."""
        self.parts[part] = self.parts.get(part, 0.0) + seconds

    @property
    def unexplained(self) -> float:
        """The seconds that no part explains; a little below 0 where parts overlap."""
        return self.end - self.begin - sum(self.parts.values())


def accounts(entries: Iterable[Entry]) -> list[Account]:
    """The driver of each process that searched, followed by its workers, in their order."""
    found: list[Account] = []
    workers: dict[tuple[str | None, int | None], Account] = {}
    of_attempt: dict[tuple[int, int], Account] = {}
    driver: Account | None = None
    drivers = 0
    for entry in entries:
        kind, now = entry["kind"], entry.get("time", 0.0)
        if kind == "search" and entry["event"] == "started":
            if driver:
                close(driver, workers.values())
            drivers += 1
            driver, workers = Account(f"driver {drivers}", entry["host"], entry["pid"], now, now), {}
            found.append(driver)
        if driver is None or entry.get("event") == "extended":
            continue
        driver.end = now
        for part, name in OF_DRIVER.items():
            driver.add(part, entry.get(name, 0.0))
        if kind == "started" and entry["pid"] is not None:
            who = (entry["node"], entry["pid"])
            if who not in workers:
                workers[who] = joined(driver, entry, f"worker {len(found) - drivers + 1}")
                found.append(workers[who])
            of_attempt[entry["trial"], entry["attempt"]] = workers[who]
        elif kind == "result" and (entry["trial"], entry["attempt"]) in of_attempt:
            worker = of_attempt[entry["trial"], entry["attempt"]]
            worker.end = now
            for part, name in OF_RESULTS.items():
                worker.add(part, entry[name])
    if driver:
        close(driver, workers.values())
    return found


def joined(driver: Account, started: Entry, who: str) -> Account:
    """The account of a worker that begins with its first trial."""
    there = min(started["start_seconds"], started["time"] - driver.begin)  # Ray keeps processes ready, too
    worker = Account(who, started["node"], started["pid"], driver.begin, started["time"])
    worker.add(ABSENT, started["time"] - there - driver.begin)
    worker.add(STARTING, there)
    return worker


def close(driver: Account, workers: Iterable[Account]) -> None:
    """Account for the time from the workers' last results to the driver's end."""
    for worker in workers:
        worker.add(ABSENT, driver.end - worker.end)
        worker.end = driver.end


def unexplained_share(found: Iterable[Account]) -> float:
    """The share of all processes' time that is not explained, from 0 to 1."""
    found = list(found)
    there = sum(a.end - a.begin - a.parts.get(ABSENT, 0.0) for a in found)
    return sum(abs(a.unexplained) for a in found) / there if there > 0 else 0.0
