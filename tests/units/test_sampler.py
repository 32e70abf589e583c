from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Literal

import pytest
from optuna.trial import TrialState

from tests.made_up import result_of, spec_of
from tune_app.engine.sampler import Sampler
from tune_app.experiment.history import History
from tune_app.experiment.settings import Settings
from tune_app.experiment.space import SearchSpace, load_space
from tune_app.experiment.trial import COMPLETED, FAILED, Trial
from tune_app.task.task import Config

Sampling = Literal["random", "tpe"]


@pytest.fixture
def space() -> SearchSpace:
    """A space with every kind of range and two conditions."""
    return space_of(
        level={"choice": ["linear", "optim", "cnn"]},
        lr={"loguniform": [1e-3, 1]},
        bs={"loguniform": [16, 256]},
        momentum={"uniform": [0.0, 0.95], "when": {"level": ["optim", "cnn"]}},
        width={"randint": [1, 3], "when": {"level": ["cnn"]}},
    )


def space_of(**dimensions: object) -> SearchSpace:
    return load_space({"space": dimensions}).space


def near_a_tenth(config: Config) -> float:
    """The better, the nearer lr is to 0.1."""
    return 1 - abs(float(config["lr"]) - 0.1)


def play(
    space: SearchSpace,
    settings: Settings,
    n: int,
    value: Callable[[Config], float] = near_a_tenth,
    enqueued: Sequence[Config] = (),
) -> list[Config]:
    """Ask n times; each trial ends at once, with this value."""
    sampler = Sampler(space, settings, enqueued)
    history = History(spec_of("x").model_copy(update={"settings": settings}), 0.0)
    for number in range(n):
        trial = Trial(number, sampler.ask(history), seed=0, family="cnn", state=COMPLETED)
        trial.results = [result_of(settings.max_epochs, value(trial.config), trial=number)]
        trial.best = trial.results[0]
        history.trials.append(trial)
    return [trial.config for trial in history.trials]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_every_config_is_complete_and_in_the_space(space: SearchSpace, sampler: Sampling) -> None:
    configs = play(space, Settings(sampler=sampler), 60)
    assert all(space.outside(config) is None and space.task.complete(config) == config for config in configs)
    assert set(Counter(config["level"] for config in configs)) == {"linear", "optim", "cnn"}
    assert all(isinstance(config["bs"], int) for config in configs)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_the_same_seed_proposes_the_same_and_another_seed_others(space: SearchSpace, sampler: Sampling) -> None:
    first = play(space, Settings(sampler=sampler, seed=7), 25)
    assert play(space, Settings(sampler=sampler, seed=7), 25) == first
    assert play(space, Settings(sampler=sampler, seed=8), 25)[1:] != first[1:]


def test_a_random_config_depends_on_seed_and_number_alone(space: SearchSpace) -> None:
    settings = Settings(sampler="random", seed=3)
    assert play(space, settings, 12, lambda config: -float(config["lr"])) == play(space, settings, 12)


def test_tpe_comes_nearer_to_what_was_good_than_random(space: SearchSpace) -> None:
    def distance(sampler: Sampling) -> float:
        runs = [play(space, Settings(sampler=sampler, seed=seed), 50)[30:] for seed in range(2)]
        return median(abs(float(config["lr"]) - 0.1) for configs in runs for config in configs)

    assert distance("tpe") < 0.7 * distance("random")


def test_a_loss_is_minimized(space: SearchSpace) -> None:
    assert play(space, Settings(metric="valid_loss"), 25) == play(space, Settings(), 25)


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_true_or_false_and_text_are_proposed_as_what_they_are(tmp_path: Path, sampler: Sampling) -> None:
    level = "def mlp(data, *, nesterov=False, optimizer: str = 'SGD', lr=0.1) -> Lesson: ..."
    (tmp_path / "own.py").write_text(f"from tune_app.task import Lesson\n{level}")
    dimensions = {"nesterov": {"choice": [True, False]}, "optimizer": {"choice": ["SGD", "Adam"]}}
    space = load_space({"task": str(tmp_path / "own.py"), "space": dimensions}).space
    good: Config = {"level": "mlp", "nesterov": True, "optimizer": "Adam", "lr": 0.1}
    configs = play(space, Settings(sampler=sampler), 60, lambda config: float(config == good))
    assert configs[0] == space.task.baseline_config
    assert all(space.outside(config) is None for config in configs)
    assert {type(config["nesterov"]) for config in configs} == {bool}
    assert {str(config["optimizer"]) for config in configs} == {"SGD", "Adam"}
    assert (configs[30:].count(good) > 15) is (sampler == "tpe")


def test_tpe_learns_the_values_at_the_highest_rung_that_ten_trials_have_reached(space: SearchSpace) -> None:
    history = History(spec_of("x", sampler="tpe"), 0.0)
    sampler = Sampler(space, history.spec.settings)

    def learned() -> list[float]:
        """What the sampler knows when it has been asked; trial i has 1000 i + k at its result k."""
        config = sampler.ask(history)
        trials = sampler.study.get_trials(states=[TrialState.COMPLETE])
        history.trials.append(Trial(len(history.trials), config, seed=0, family="cnn"))
        return [float(trial.value or 0) for trial in trials]

    def reach(number: int, k: int) -> None:
        trial = history.trials[number]
        trial.results.append(result_of(k, 1000 * number + k, trial=number))
        trial.best = trial.results[-1]
        if k == 9:
            trial.state = COMPLETED
        else:
            history.rungs[trial.family].setdefault(float(k), []).append(trial.results[-1])

    for number in range(9):
        assert learned() == []
        reach(number, 1)
    learned()
    history.trials[9].state = FAILED  # without a result, and so without a value
    assert learned() == []
    reach(10, 1)
    firsts = [*range(9), 10]
    assert learned() == [1000 * number + 1 for number in firsts]
    for number in firsts[:9]:
        reach(number, 3)
    assert learned() == [1000 * number + 1 for number in firsts]
    reach(10, 3)
    reach(11, 1)
    assert learned() == [1000 * number + 3 for number in firsts]
    for number in firsts:
        reach(number, 9)
    assert learned() == [1000 * number + 9 for number in firsts]
    not_so_far = len(history.trials) - 1 - len(firsts)  # nothing is proposed near them
    assert len(sampler.study.get_trials(states=[TrialState.RUNNING])) == not_so_far == 4


def test_a_grid_is_tried_in_order_with_the_tutorials_config_first() -> None:
    asked = play(space_of(level={"grid": ["linear", "cnn"]}, lr={"grid": [0.5, 0.1]}), Settings(), 4)
    found = [(config["level"], config["lr"]) for config in asked]
    assert found == [("cnn", 0.1), ("linear", 0.5), ("linear", 0.1), ("cnn", 0.5)]


@pytest.mark.parametrize("seed", [5, 37])
def test_a_sampler_that_begins_with_the_history_proposes_what_one_would_that_saw_it_grow(seed) -> None:
    with_momentum = ["optim", "dataset", "dataloader", "validation", "fit"]
    space = space_of(
        level={"choice": ["linear", *with_momentum]},
        lr={"loguniform": [0.01, 1]},
        momentum={"uniform": [0, 0.95], "when": {"level": with_momentum}},
    )
    settings = Settings(seed=seed)
    sampler = Sampler(space, settings)
    history = History(spec_of("x").model_copy(update={"settings": settings}), 0.0)
    for number in range(40):
        config = sampler.ask(history)
        assert Sampler(space, settings).ask(history) == config
        trial = Trial(number, config, seed=0, family="logistic", state=COMPLETED)
        trial.best = result_of(settings.max_epochs, near_a_tenth(config), trial=number)
        trial.results = [trial.best]
        history.trials.append(trial)
