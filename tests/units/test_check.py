"""tune-app check: a task is tried on two batches, in this process. More mistakes: test_bad_task.py."""

import json
from collections.abc import Callable
from functools import partial

import pytest
from click.testing import Result

from tests.bad_tasks import RETURN
from tests.own_task import write
from tests.refused import mistake_in
from tune_app.task.declaration import read_task
from tune_app.task.recorded import was_run_here

LINE = "return Lesson(model, F.cross_entropy, torch.optim.SGD(model.parameters(), lr), train_dl, valid_dl)"


@pytest.fixture
def check(run: Callable[..., Result]) -> Callable[..., Result]:
    """Check in a folder of its own."""
    return partial(run, "check")


def test_a_task_that_is_as_it_should_be(check, tmp_path):
    file = write(tmp_path)
    done = check("mine.py")
    assert (done.exit_code, done.stderr) == (0, "")
    first, _, _, second, *rest = done.stdout.splitlines()
    assert first.startswith("line: goes on exactly; 10 parameters, 10 batches an epoch, ")
    assert second.startswith("net: goes on exactly; 58 parameters, 10 batches an epoch, ")
    assert rest == [
        "  lr            0.01 (allowed: a number, greater than 0)",
        "  bs            20 (allowed: an integer, 1 or more)",
        "  hidden        8 (allowed: an integer, 1 or more)",
        "  dropout       0.2 (allowed: a number, 0 or more, below 1)",
    ]
    assert was_run_here(read_task(file))


def test_of_a_space_the_levels_that_it_searches(check, tmp_path):
    write(tmp_path)
    (level,) = json.loads(check("space.yaml", "--json").stdout)
    assert (level["level"], level["parameters"], level["mistake"]) == ("net", 58, None)
    assert level["searched"] == {"lr": "loguniform from 0.001 to 0.1"}
    assert 0 < level["seconds_per_batch"] < 5
    (level,) = json.loads(check("space.yaml", "line", "--json").stdout)
    assert level["searched"] == {}
    done = check("mine.py", "lines")
    assert (done.exit_code, done.stderr[:55]) == (1, "Error: level 'lines' does not exist, did you mean 'line")


def test_processes_that_load_batches_are_told_unless_they_are_counted(check, tmp_path):
    loader = "train_dl = torch.utils.data.DataLoader(TensorDataset(*data['train']), bs, num_workers=2)"
    write(tmp_path, (LINE, f"{loader}\n    {LINE}"))
    told = "uses 3 processes, as its loaders have workers: cpus_per_trial 3 counts them"
    assert told in check("mine.py", "line").stdout
    space = tmp_path / "space.yaml"
    space.write_text("task: mine.py\nspace: {level: line}\nsearch: {cpus_per_trial: 3}\n")
    assert "processes" not in check("space.yaml").stdout


def test_an_epoch_of_one_batch(check, tmp_path):
    write(tmp_path, ("bs: int = 20", "bs: int = 200"))
    assert check("mine.py").exit_code == 0


def test_the_other_levels_are_checked_nevertheless(check, tmp_path):
    write(tmp_path, (LINE, "return None"))
    done = check("mine.py")
    assert mistake_in(done, "line") == "mine.py: TypeError: line returned a NoneType, allowed: a Lesson"
    assert done.stdout.startswith("net: goes on exactly")
    levels = json.loads(check("mine.py", "--json").stdout)
    assert [level["mistake"] is None for level in levels] == [False, True]


MISTAKES = {
    "a value that is not finite": (
        ("return out.argmax(1) == yb", "return 1 / (out.sum() * 0)"),
        "mine.py: ValueError: valid_accuracy is not finite after batch 1, allowed: finite numbers",
    ),
    "a schedule that ends before the training": (
        ("total_steps=epochs * len", "total_steps=len"),
        "mine.py: ValueError: a schedule cannot be stepped through 5 epochs of 10 batches: Tried to step 11 times.",
    ),
    "a level that writes to the data": (
        ("    model = nn.Sequential", '    data["train"][0].mul_(2)\n    model = nn.Sequential'),
        "level net writes to the data that load returned and all trials share; allowed: ",
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_what_shows_in_two_batches_is_named(check, tmp_path, what):
    change, said = MISTAKES[what]
    write(tmp_path, change)
    assert mistake_in(check("mine.py", "net")).startswith(said)


def test_what_a_task_prints_and_a_task_that_prints_a_lot(check, tmp_path):
    write(
        tmp_path,
        ('"""One hidden layer."""', 'print("x" * 100_000)'),
        ("    x = np.", '    print("y")\n    x = np.'),
    )
    done = check("mine.py", "--json")
    assert [level["mistake"] for level in json.loads(done.stdout)] == [None, None]
    assert done.stderr.startswith("y\nx")


NOISY = f"model = nn.Sequential(Noise(), model)\n    {RETURN}"
NOT_EXACT = {
    "a generator in a global": (
        "G = np.random.default_rng(0)\nclass Noise(nn.Module):\n    def forward(self, xb):\n"
        '        return xb + G.normal(size=4).astype("float32")\n\n\n',
        "train_loss",
    ),
    "a counter that is no buffer": (
        "class Noise(nn.Module):\n    n = 0\n    def forward(self, xb):\n        self.n += self.training\n"
        "        return xb * (1 if self.training else self.n)\n\n\n",
        "valid_",
    ),
}


@pytest.mark.parametrize("what", NOT_EXACT)
def test_what_does_not_go_on_exactly_is_named(check, tmp_path, what):
    code, differs = NOT_EXACT[what]
    write(tmp_path, ("def load(", f"{code}def load("), (RETURN, NOISY))
    said = mistake_in(check("mine.py", "net"))
    start = "mine.py: ValueError: the second result differs if a training goes on from the first: "
    assert said.startswith(start + differs)
    assert said.endswith("allowed: keeps={...}, or a generator of torch, numpy or random")


def test_what_each_batch_changes_is_put_back(check, tmp_path):
    """A task may set torch's switches: the next level finds them as they were."""
    write(tmp_path, (f"    {LINE}", f"    torch.set_default_dtype(torch.float64)\n    {LINE}"))
    assert check("mine.py").stdout.count("goes on exactly") == 2
