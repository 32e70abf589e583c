"""What must hold in every experiment, whatever happened to it; it calls commands, and reads by a reader alone."""

import json
import math
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.bundles import run
from tune_app.experiment.record import read_entries


def told(folder: Path, *arguments: object) -> Any:
    """What a command prints as JSON."""
    done = run(*arguments, "--json", "--experiments-dir", folder / "experiments")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def check(folder: Path, name: str) -> None:
    """Rules for a search that has ended by itself: trials, results, decisions, the best, nothing left."""
    root = folder / "experiments" / name
    entries = list(read_entries(root / "record.jsonl"))
    asked = {e["trial"]: e for e in entries if e["kind"] == "asked"}
    ended = [e for e in entries if e["kind"] == "ended"]
    results = [e for e in entries if e["kind"] == "result"]

    # Every trial number occurs once and ends in one state.
    assert sorted(asked) == list(range(len(asked)))
    assert sorted(e["trial"] for e in ended) == sorted(asked)

    # A trial's results have no gap and no repetition.
    for trial in asked:
        ks = [r["k"] for r in results if r["trial"] == trial]
        assert ks == list(range(1, len(ks) + 1)), (trial, ks)

    check_decisions(entries)

    # status, export and the record agree on the best.
    best = max(results, key=lambda r: (r["valid"]["valid_accuracy"], -r["epoch"], -r["parameters"], -r["trial"]))
    status = told(folder, "status", name)
    assert (status["best"]["trial"], status["best"]["epoch"]) == (best["trial"], best["epoch"])
    exported = told(folder, "export", name, "-o", folder / f"{name}-checked")
    assert exported["metrics"]["valid_accuracy"] == best["valid"]["valid_accuracy"]

    # No temporary file is left, and no lock.
    assert [p.name for p in root.rglob("*") if p.suffix == ".part"] == []
    assert subprocess.run(["flock", "-n", root / "record.jsonl", "true"], check=False).returncode == 0


CNN = {"cnn", "sequential", "wrapped", "accelerator"}
BASELINE = {"level": "cnn", "lr": 0.1, "bs": 64, "momentum": 0.9, "weight_decay": 0.0, "width": 1}


def families_that_finish(entries: Sequence[Mapping[str, Any]], is_cnn: Mapping[int, bool]) -> dict[int, set[bool]]:
    """At each entry the families none of whose trials is at work or will be asked for."""
    found: dict[int, set[bool]] = {}
    at_work: set[int] = set()
    spec, asked = entries[0]["spec"], 0
    domains = [domain for domain in spec["space"].values() if isinstance(domain, dict)]
    grids = [len(domain["grid"]) for domain in domains if "grid" in domain]
    most = math.prod(grids) if grids else spec["settings"]["num_samples"]
    for e in entries:
        found[e["n"]] = set() if asked < most else {True, False} - {is_cnn[trial] for trial in at_work}
        asked += e["kind"] == "asked"
        if e.get("event") == "extended" and not grids:
            most = e["settings"].get("num_samples", most)
        if e["kind"] in ("asked", "promoted"):
            at_work.add(e["trial"])
        elif e["kind"] == "ended" or e.get("decision") == "pause":
            at_work.discard(e["trial"])
    return found


def check_decisions(entries: Sequence[Mapping[str, Any]]) -> None:
    """ASHA's decisions, recomputed in the order of the record, are those recorded."""
    settings = entries[0]["spec"]["settings"]
    metric = settings["metric"] or "valid_accuracy"
    factor, end = settings["reduction_factor"], settings["max_epochs"]
    sign = 1 if metric == "valid_accuracy" else -1
    promotion = settings["scheduler"] == "promotion"
    ladder, rung = [], settings["grace_period"]
    while settings["early_stopping"] and rung < end:
        ladder.append(rung)
        rung *= factor
    asked = [e for e in entries if e["kind"] == "asked"]
    baseline = {0} if asked and asked[0]["config"] == BASELINE else set()
    is_cnn = {e["trial"]: e["config"]["level"] in CNN for e in entries if e["kind"] == "asked"}
    there: dict[tuple[bool, float], list[tuple[float, int]]] = {}
    paused: dict[int, float] = {}
    left: dict[int, float] = {}

    def best(values: list[tuple[float, int]]) -> list[tuple[float, int]]:
        """The best of the values at a rung, with their trials; of equals those that came first."""
        return sorted(values, key=lambda pair: -pair[0])[: int(len(values) / factor + 1e-9)]

    def promotable(finishing: set[bool]) -> set[tuple[int, float]]:
        """The paused trials that are to go on, with their rungs: only those of the highest such rung.

        finishing: the families of which no other trial will come, whose best goes on in any case.
        """
        found = set()
        for (family, at), values in there.items():
            goes_on = best(values) or (sorted(values, key=lambda pair: -pair[0])[:1] if family in finishing else [])
            found |= {(t, at) for _, t in goes_on if paused.get(t) == at}
        return {(t, at) for t, at in found if at == max(rung for _, rung in found)}

    finishing = families_that_finish(entries, is_cnn)
    for e in entries:
        if e["kind"] == "promoted":
            assert (e["trial"], e["rung"]) in promotable(finishing[e["n"]]), e
            values = there[is_cnn[e["trial"]], e["rung"]]
            last = best(values)[-1][0] if best(values) else max(values)[0]
            assert (sign * e["cutoff"], e["of"]) == (last, len(values)), e
            del paused[e["trial"]]
        elif e["kind"] == "ended" and e["trial"] in paused:
            rung = left[e["trial"]] = paused.pop(e["trial"])
            at_rung = best(there[is_cnn[e["trial"]], rung])
            assert ("before it was promoted" in e["reason"]) == (e["trial"] in [trial for _, trial in at_rung]), e
        elif e.get("event") == "extended":  # those that were left wait again
            paused |= left
            left.clear()
        if e["kind"] != "result":
            continue
        decision, value = "stop" if e["epoch"] >= end else "continue", sign * e["valid"][metric]
        reached = [x for x in ladder if e["epoch"] - 1 / settings["results_per_epoch"] < x <= e["epoch"]]
        if not reached or decision == "stop":
            assert (e["rung"], e["decision"]) == (None, decision), e
            continue
        values = there.setdefault((is_cnn[e["trial"]], reached[-1]), [])
        assert (e["rung"], e["compared"]) == (reached[-1], len(values)), e
        if promotion:
            values.append((value, e["trial"]))
            cutoff = best(values)[-1][0] if best(values) else None
            decision = "continue" if (value, e["trial"]) in best(values) or e["trial"] in baseline else "pause"
            assert e["cutoff"] == (None if cutoff is None else sign * cutoff), e
        else:
            if values:
                cutoff = np.quantile([other for other, _ in values], 1 - 1 / factor)
                assert abs(sign * e["cutoff"] - cutoff) < 1e-12, e
                decision = "stop" if value < sign * e["cutoff"] else "continue"
            values.append((value, e["trial"]))
        if decision == "pause":
            paused[e["trial"]] = e["rung"]
        assert e["decision"] == decision, e


def outcome(folder: Path, name: str) -> list[tuple[Any, ...]]:
    """Configs, values as full floats and decisions: what an interruption must not change."""
    told: list[tuple[Any, ...]] = []
    for e in read_entries(folder / "experiments" / name / "record.jsonl"):
        if e["kind"] == "asked":
            told.append(("asked", e["trial"], e["config"], e["seed"]))
        elif e["kind"] == "result":
            values = (*e["valid"].values(), e["train_loss"], e["state"])
            told.append((e["trial"], e["k"], *values, e["decision"], e["rung"], e["cutoff"], e["compared"]))
        elif e["kind"] == "promoted":
            told.append(("promoted", e["trial"], e["rung"], e["cutoff"], e["of"]))
        elif e["kind"] == "ended":
            told.append(("ended", e["trial"], e["state"], e["reason"]))
    return told
