import hashlib
import json
import math
import warnings
from collections.abc import Iterator
from itertools import chain, zip_longest
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tune_app.task.lesson import Lesson
from tune_app.task.levels import LEVELS, complete

from tests.made_up import result_of
from tune_app.errors import TuneAppError
from tune_app.task import training
from tune_app.task.images.mnist import Mnist, Split
from tune_app.task.result import Result
from tune_app.task.training import fit, prepare, validate

CPU = torch.device("cpu")
LOGISTIC = [name for name, level in LEVELS.items() if level.family == "logistic"]
CNN = [name for name, level in LEVELS.items() if level.family == "cnn"]
BY_SGD = [name for name, level in LEVELS.items() if "momentum" in level.defaults]
IN_FILE_ORDER = ["scratch", "functional", "module", "linear", "optim", "dataset", "dataloader"]
SHUFFLED = [name for name in LEVELS if name not in IN_FILE_ORDER]

RESUMED = {
    "scratch": {"level": "scratch", "lr": 0.5, "bs": 64},
    "optim with momentum": {"level": "optim", "lr": 0.1, "bs": 64, "momentum": 0.9, "weight_decay": 1e-3},
    "validation with momentum": {"level": "validation", "lr": 0.1, "bs": 60, "momentum": 0.8},
    "fit without momentum": {"level": "fit", "lr": 0.3, "bs": 32},
    "cnn": {"level": "cnn", "lr": 0.1, "bs": 64},
    "accelerator of twice the width": {"level": "accelerator", "lr": 0.05, "bs": 128, "width": 2},
}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def tiny(small: Mnist) -> Mnist:
    """The first 500 and 65 of them: the last batches are short."""
    return Mnist(Split(small.train.x[:500], small.train.y[:500]), Split(small.valid.x[:65], small.valid.y[:65]))


def begin(config: dict[str, object], mnist: Mnist, seed: int = 0) -> Lesson:
    return prepare(complete(config), mnist, seed, CPU)


def train(
    config: dict[str, object], mnist: Mnist, epochs: float = 1, per_epoch: int = 1, seed: int = 0
) -> list[Result]:
    return list(fit(begin(config, mnist, seed), epochs, per_epoch))


def outcomes(results: list[Result]) -> list[tuple[float, ...]]:
    """All of each result but how long it took."""
    return [(r.k, r.epoch, *r.valid.values(), r.train_loss, r.images) for r in results]


def numbered(n: int, valid: int) -> Mnist:
    """Images whose first two bytes hold their index."""

    def split(n: int) -> Split:
        x = np.zeros((n, 784), np.uint8)
        x[:, 0], x[:, 1] = np.divmod(np.arange(n), 256)
        return Split(x, np.arange(n) % 10)

    return Mnist(split(n), split(valid))


def indices(batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> list[list[int]]:
    """The index of every image of every batch of `numbered` images; the labels must belong to them."""
    found = []
    for xb, yb in batches:
        rows = xb.reshape(len(xb), 784).long()
        index = rows[:, 0] * 256 + rows[:, 1]
        assert torch.equal(index % 10, yb)
        found.append(index.tolist())
    return found


# ---- the levels: the same mathematics, one piece of torch.nn after the other ---------------------------


@pytest.fixture(scope="module")
def logistic(small: Mnist) -> dict[str, list[tuple[float, ...]]]:
    """Two epochs of each logistic level, four results each."""
    torch.set_num_threads(1)
    return {name: outcomes(train({"level": name}, small, epochs=2, per_epoch=2)) for name in LOGISTIC}


@pytest.fixture(scope="module")
def cnn(tiny: Mnist) -> dict[str, list[tuple[float, ...]]]:
    """Two epochs of each CNN level, four results each."""
    torch.set_num_threads(1)
    return {name: outcomes(train({"level": name, "bs": 32}, tiny, epochs=2, per_epoch=2)) for name in CNN}


def assert_close(found: list[tuple[float, ...]], expected: list[tuple[float, ...]]) -> None:
    """The same outcomes but for rounding: at most two of 500 images may be classified differently."""
    for (*a, accuracy_a, valid_a, train_a, images_a), (*b, accuracy_b, valid_b, train_b, images_b) in zip(
        found, expected, strict=True
    ):
        assert (a, images_a) == (b, images_b)
        assert accuracy_a == pytest.approx(accuracy_b, abs=0.0041)
        assert (valid_a, train_a) == pytest.approx((valid_b, train_b), rel=1e-4)


def test_torchs_own_loss_gives_the_same_training_as_the_one_by_hand(logistic):
    assert_close(logistic["functional"], logistic["scratch"])


def test_a_module_gives_exactly_the_same_training_as_plain_tensors(logistic):
    assert logistic["module"] == logistic["functional"]


def test_torchs_sgd_gives_the_same_training_as_the_update_by_hand(logistic):
    assert_close(logistic["optim"], logistic["linear"])


def test_a_dataset_and_a_dataloader_give_exactly_the_same_training_as_slices(logistic):
    assert logistic["dataset"] == logistic["optim"]
    assert logistic["dataloader"] == logistic["optim"]


def test_fit_and_get_data_give_exactly_the_same_training_as_the_level_before(logistic):
    assert logistic["fit"] == logistic["validation"]


def test_shuffling_and_the_initialisation_make_a_difference(logistic):
    assert logistic["validation"] != logistic["dataloader"]
    assert logistic["linear"] != logistic["module"]


def test_every_logistic_level_learns(logistic):
    for name, results in logistic.items():
        assert results[-1][2] > 0.75, name
        assert results[-1][4] < results[0][4], name


def test_a_list_of_layers_gives_exactly_the_same_training_as_a_class(cnn):
    assert cnn["sequential"] == cnn["cnn"]


def test_a_wrapped_loader_and_adaptive_pooling_give_the_same_training(cnn):
    assert_close(cnn["wrapped"], cnn["sequential"])


def test_the_accelerator_level_on_a_cpu_is_exactly_the_wrapped_one(cnn, tiny):
    assert cnn["accelerator"] == cnn["wrapped"]
    states = []
    for name in ("wrapped", "accelerator"):
        lesson = begin({"level": name, "bs": 128}, tiny)
        assert len(list(fit(lesson, 1, 1))) == 1
        states.append(training.state(lesson))
    assert states[0] == states[1]


@pytest.mark.parametrize("name", LOGISTIC)
def test_a_step_on_all_images_is_the_gradient_step_computed_by_hand(small, name):
    """Softmax regression, its gradient, momentum and weight decay in NumPy with float64."""
    hp = {"lr": 0.4, "bs": 2000} | ({"momentum": 0.9, "weight_decay": 0.01} if name in BY_SGD else {})
    lesson = begin({"level": name, **hp}, small)
    w, b = (p.detach().double().numpy().copy() for p in lesson.parameters.values())
    if w.shape == (10, 784):
        w = w.T
    x, y = small.train.x / 256, small.train.y
    speed_w, speed_b = np.zeros_like(w), np.zeros_like(b)
    for result in fit(lesson, 3, 1):
        p = softmax(x @ w + b)
        assert result.train_loss == pytest.approx(-np.log(p[range(2000), y]).mean(), rel=1e-5)
        error = (p - np.eye(10)[y]) / 2000
        decay = hp.get("weight_decay", 0)
        speed_w = hp.get("momentum", 0) * speed_w + x.T @ error + decay * w
        speed_b = hp.get("momentum", 0) * speed_b + error.sum(0) + decay * b
        w, b = w - hp["lr"] * speed_w, b - hp["lr"] * speed_b
        p = softmax(small.valid.x / 256 @ w + b)
        assert result.valid["valid_loss"] == pytest.approx(-np.log(p[range(500), small.valid.y]).mean(), rel=1e-5)
        assert result.valid["valid_accuracy"] == pytest.approx((p.argmax(1) == small.valid.y).mean(), abs=0.0021)


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("name", CNN)
def test_the_cnn_is_three_convolutions_of_stride_2_with_relu_and_the_mean_of_what_is_left(tiny, name):
    lesson = begin({"level": name}, tiny)
    w1, b1, w2, b2, w3, b3 = lesson.parameters.values()
    xb, _ = next(lesson.valid_dl.batches(0, 0))
    with torch.no_grad():
        expected = training.scaled(xb).view(-1, 1, 28, 28)
        for weight, bias in ((w1, b1), (w2, b2), (w3, b3)):
            expected = F.conv2d(expected, weight, bias, stride=2, padding=1).clamp(min=0)
        assert expected.shape[1:] == (10, 4, 4)
        assert torch.allclose(lesson.model(training.scaled(xb)), expected.mean(dim=(2, 3)), atol=1e-6)


@pytest.mark.parametrize("name", LEVELS)
def test_a_level_has_the_tutorials_number_of_parameters(tiny, name):
    lesson = begin({"level": name}, tiny)
    assert training.count_parameters(lesson) == (7850 if name in LOGISTIC else 3930)


@pytest.mark.parametrize("name", CNN)
def test_the_width_multiplies_the_channels_between_the_convolutions(tiny, name):
    shapes = [tuple(p.shape) for p in begin({"level": name, "width": 3}, tiny).parameters.values()]
    assert shapes == [(48, 1, 3, 3), (48,), (48, 48, 3, 3), (48,), (10, 48, 3, 3), (10,)]


def test_the_first_levels_begin_with_the_same_xavier_weights_and_no_bias(tiny):
    lessons = [begin({"level": name}, tiny, seed=3) for name in ("scratch", "functional", "module")]
    weights = [lesson.parameters["weights"].detach() for lesson in lessons]
    assert torch.equal(weights[0], weights[1])
    assert torch.equal(weights[0], weights[2])
    assert float(weights[0].std()) == pytest.approx(1 / 28, rel=0.03)
    assert all(not lesson.parameters["bias"].any() for lesson in lessons)


@pytest.mark.parametrize("name", LOGISTIC[3:])
def test_the_levels_from_linear_on_begin_with_torchs_own_initialisation(tiny, name):
    lesson = begin({"level": name}, tiny, seed=3)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        expected = torch.nn.Linear(784, 10)
    assert torch.equal(lesson.parameters["lin.weight"], expected.weight)
    assert torch.equal(lesson.parameters["lin.bias"], expected.bias)


def test_pixels_become_their_256th_parts_only_when_a_batch_is_trained_on(tiny):
    xb, yb = next(begin({"level": "cnn"}, tiny).train_dl.batches(0, 0))
    assert (xb.dtype, yb.dtype) == (torch.uint8, torch.int64)
    every = training.scaled(torch.arange(256, dtype=torch.uint8))
    assert every.dtype == torch.float32
    assert every.tolist() == [i / 256 for i in range(256)]
    assert float(every.max()) == 0.99609375


def test_the_accelerator_level_moves_batch_by_batch_and_the_others_have_the_data_there(tiny):
    meta = torch.device("meta")  # stands for a GPU: tensors there have no data, but operations on them work
    for name, home in (("accelerator", "cpu"), ("wrapped", "meta")):
        lesson = prepare(complete({"level": name}), tiny, 0, meta)
        loaders: list[Any] = [lesson.train_dl, lesson.valid_dl]
        for loader in loaders:
            assert {t.device.type for t in next(loader.dl.batches(0, 0))} == {home}
            assert {t.device.type for t in next(loader.batches(0, 0))} == {"meta"}
        assert {p.device.type for p in lesson.parameters.values()} == {"meta"}


# ---- batches -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", IN_FILE_ORDER)
def test_up_to_dataloader_batches_come_in_file_order_in_every_epoch(name):
    lesson = begin({"level": name, "bs": 64}, numbered(300, 100))
    expected = [list(range(i, min(i + 64, 300))) for i in range(0, 300, 64)]
    assert len(lesson.train_dl) == 5
    assert indices(lesson.train_dl.batches(0, 0)) == indices(lesson.train_dl.batches(7, 0)) == expected
    assert indices(lesson.train_dl.batches(0, 3)) == expected[3:]


@pytest.mark.parametrize("name", SHUFFLED)
def test_from_validation_on_every_epoch_has_every_image_once_in_an_order_of_its_own(name):
    lesson = begin({"level": name, "bs": 64}, numbered(300, 100), seed=1)
    assert len(lesson.train_dl) == 5
    epochs = [indices(lesson.train_dl.batches(epoch, 0)) for epoch in range(3)]
    for batches in epochs:
        assert [len(batch) for batch in batches] == [64, 64, 64, 64, 44]
        assert sorted(chain(*batches)) == list(range(300))
        assert list(chain(*batches)) != list(range(300))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


@pytest.mark.parametrize("name", SHUFFLED)
def test_the_order_of_an_epoch_depends_on_seed_and_epoch_alone(name):
    def order(epoch: int, seed: int, first: int = 0) -> list[list[int]]:
        lesson = begin({"level": name, "bs": 64}, numbered(300, 100), seed)
        return indices(lesson.train_dl.batches(epoch, first))

    used = begin({"level": name, "bs": 64}, numbered(300, 100), 1)
    indices(used.train_dl.batches(0, 0))
    next(used.train_dl.batches(1, 0))
    assert indices(used.train_dl.batches(2, 0)) == order(2, 1)
    assert order(2, 1) != order(2, 8)
    assert order(2, 1, first=3) == order(2, 1)[3:]
    assert order(2, 1, first=5) == []


@pytest.mark.parametrize("name", LEVELS)
def test_validation_batches_come_in_file_order_and_from_validation_on_twice_as_large(name):
    lesson = begin({"level": name, "bs": 32}, numbered(300, 150))
    batches = indices(lesson.valid_dl.batches(0, 0))
    assert list(chain(*batches)) == list(range(150))
    assert len(batches[0]) == (32 if name in IN_FILE_ORDER else 64)
    assert len(lesson.valid_dl) == len(batches)


# ---- results -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["scratch", "fit", "cnn"])
@pytest.mark.parametrize("per_epoch", [1, 3, 4, 8])
def test_the_results_of_an_epoch_are_numbered_and_share_its_images(tiny, name, per_epoch):
    results = train({"level": name}, tiny, epochs=2, per_epoch=per_epoch)
    assert [r.k for r in results] == list(range(1, 2 * per_epoch + 1))
    assert [r.epoch for r in results] == [k / per_epoch for k in range(1, 2 * per_epoch + 1)]
    for epoch in range(2):
        images = [r.images for r in results[epoch * per_epoch : (epoch + 1) * per_epoch]]
        assert sum(images) == 500
        assert all(n > 0 for n in images)
        assert max(images) - min(images) <= 2 * 64


@pytest.mark.parametrize(("epochs", "per_epoch", "count"), [(0.5, 4, 2), (1.25, 4, 5), (2, 2, 4), (1.5, 2, 3)])
def test_training_may_end_within_an_epoch(tiny, epochs, per_epoch, count):
    results = train({"level": "fit"}, tiny, epochs, per_epoch)
    assert len(results) == count
    assert results[-1].epoch == epochs


def test_how_many_epochs_are_asked_for_does_not_change_the_first_ones(tiny):
    long, short = (outcomes(train({"level": "fit"}, tiny, epochs, 4)) for epochs in (2, 0.75))
    assert long[:3] == short


def test_how_often_results_are_asked_for_does_not_change_the_training(tiny):
    often, seldom = (train({"level": "cnn"}, tiny, 2, per_epoch) for per_epoch in (8, 1))
    for a, b in zip((often[7], often[15]), seldom, strict=True):
        assert a.valid == b.valid
    parts = often[:8]
    mean = sum(r.train_loss * r.images for r in parts) / sum(r.images for r in parts)
    assert seldom[0].train_loss == pytest.approx(mean, rel=1e-12)


def test_fewer_batches_than_results_per_epoch_are_refused(tiny):
    with pytest.raises(TuneAppError) as error:
        train({"level": "fit", "bs": 100}, tiny, 1, 6)
    assert str(error.value).startswith(
        "an epoch has 5 batches, fewer than the 6 results per epoch asked for; allowed:"
    )


def test_as_many_results_as_batches_are_one_result_a_batch(tiny):
    assert [r.images for r in train({"level": "fit", "bs": 120}, tiny, 1, 5)] == [120, 120, 120, 120, 20]


def test_a_batch_larger_than_the_data_is_the_whole_data(tiny):
    assert [r.images for r in train({"level": "cnn", "bs": 100_000}, tiny, 1, 1)] == [500]


@pytest.mark.parametrize(
    "config",
    [
        {"level": "scratch", "lr": 1000},
        {"level": "cnn", "lr": 1000, "weight_decay": 1, "momentum": 0},
        {"level": "optim", "lr": 1000, "weight_decay": 1},
    ],
    ids=lambda config: config["level"],
)
def test_a_training_whose_loss_is_no_longer_finite_says_that_it_diverged(small, config):
    results = train({"bs": 32, **config}, small, 1, 2)
    assert results[-1].diverged
    assert 0 <= results[-1].valid["valid_accuracy"] <= 0.3


def test_a_poor_training_with_finite_losses_did_not_diverge(tiny):
    results = train({"level": "linear", "lr": 1000}, tiny, 1, 4)
    assert max(r.train_loss for r in results) > 100
    assert not any(r.diverged for r in results)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", ["train_loss", "valid_loss"])
def test_either_loss_shows_that_a_training_diverged(loss, which):
    losses = {"train_loss": 1.0, "valid_loss": 1.0} | {which: loss}
    assert result_of(1, 0, train_loss=losses["train_loss"], valid={"valid_loss": losses["valid_loss"]}).diverged


# ---- means over batches, the last of which is short ----------------------------------------------------


@pytest.mark.parametrize("name", LEVELS)
def test_validation_is_the_mean_over_all_images_however_short_the_last_batch(tiny, name):
    lesson = begin({"level": name, "bs": 64 if name in IN_FILE_ORDER else 32}, tiny)
    sizes = [len(yb) for _, yb in lesson.valid_dl.batches(0, 0)]
    assert sizes == [64, 1]
    x, y = torch.tensor(tiny.valid.x) / 256, torch.tensor(tiny.valid.y)
    with torch.no_grad():
        out = lesson.model(x.view(-1, 1, 28, 28) if name in ("wrapped", "accelerator") else x)
        each = F.cross_entropy(out, y, reduction="none")
    loss, accuracy = validate(lesson)
    assert loss == pytest.approx(float(each.mean()), rel=1e-5)
    assert accuracy == int((out.argmax(1) == y).sum()) / 65
    unweighted = float(each[:64].mean() + each[64]) / 2
    assert abs(unweighted - loss) > 1e-4 * loss


def test_the_train_loss_is_the_mean_over_all_images_trained_on(tiny):
    config = {"level": "linear", "lr": 1e-30, "bs": 499}  # so small that the weights stay
    x, y = torch.tensor(tiny.train.x) / 256, torch.tensor(tiny.train.y)
    with torch.no_grad():
        expected = float(F.cross_entropy(begin(config, tiny).model(x), y))
    assert train(config, tiny)[0].train_loss == pytest.approx(expected, rel=1e-6)


def test_models_are_in_eval_mode_for_validation_and_in_train_mode_for_training(tiny):
    lesson = begin({"level": "cnn", "bs": 250}, tiny)
    modes: list[tuple[bool, int]] = []
    model: Any = lesson.model
    model.register_forward_hook(lambda module, args, out: modes.append((module.training, len(out))))
    assert len(list(fit(lesson, 2, 1))) == 2
    assert modes == [(True, 250), (True, 250), (False, 65)] * 2
    assert model.training


def test_validation_changes_neither_the_weights_nor_the_gradients(tiny):
    lesson = begin({"level": "cnn"}, tiny)
    before = training.state(lesson)
    assert validate(lesson) == validate(lesson)
    assert training.state(lesson) == before
    assert all(p.grad is None for p in lesson.parameters.values())


# ---- going on from a kept state ------------------------------------------------------------------------


@pytest.mark.parametrize("config", RESUMED.values(), ids=RESUMED)
def test_a_training_that_goes_on_from_any_kept_state_gives_exactly_the_same_results(tiny, config):
    lesson = begin(config, tiny, seed=9)
    full, states = [], [training.state(lesson)]
    for result in fit(lesson, 2, 3):
        full.append(result)
        states.append(training.state(lesson))
    assert len(full) == 6
    assert outcomes(full) == outcomes(train(config, tiny, 2, 3, seed=9))  # keeping states changes nothing
    for k in range(7):
        fresh = begin(config, tiny, seed=9)
        training.load_state(fresh, states[k])
        assert training.state(fresh) == states[k]
        assert outcomes(list(fit(fresh, 2, 3, after=k))) == outcomes(full[k:])
        assert training.state(fresh) == states[-1]


def test_a_used_lesson_goes_back_to_a_kept_state_completely(tiny):
    lesson = begin(RESUMED["cnn"], tiny)
    beginning = training.state(lesson)
    first = list(fit(lesson, 1, 2))
    training.load_state(lesson, beginning)
    assert training.state(lesson) == beginning
    assert outcomes(list(fit(lesson, 1, 2))) == outcomes(first)


def test_after_the_last_result_there_is_nothing_to_go_on_with(tiny):
    assert list(fit(begin({"level": "fit"}, tiny), 2, 2, after=4)) == []


def header(saved: bytes) -> dict[str, dict[str, object]]:
    """The header of a safetensors file, read by its specification; all bytes must be accounted for."""
    size = int.from_bytes(saved[:8], "little")
    entries = json.loads(saved[8 : 8 + size])
    assert max(entry["data_offsets"][1] for entry in entries.values()) == len(saved) - 8 - size
    return entries


@pytest.mark.parametrize("name", LEVELS)
def test_a_state_is_a_safetensors_file_of_named_float32_tensors(tiny, name):
    lesson = begin({"level": name, "bs": 500} | ({"momentum": 0.9} if name in BY_SGD else {}), tiny)
    assert set(header(training.state(lesson))) == {
        f"model.{p}" for p in lesson.parameters
    }  # no momenta before a step
    assert len(list(fit(lesson, 1, 1))) == 1
    entries = header(training.state(lesson))
    kinds = ("model", "momentum") if name in BY_SGD else ("model",)
    assert set(entries) == {f"{kind}.{p}" for kind in kinds for p in lesson.parameters}
    for key, entry in entries.items():
        assert entry["dtype"] == "F32"
        assert entry["shape"] == list(lesson.parameters[key.partition(".")[2]].shape)


def test_without_momentum_a_state_holds_the_weights_alone(tiny):
    lesson = begin({"level": "optim", "momentum": 0}, tiny)
    assert len(list(fit(lesson, 1, 1))) == 1
    assert set(header(training.state(lesson))) == {"model.lin.weight", "model.lin.bias"}


def test_a_state_is_a_copy_and_does_not_change_when_training_goes_on(tiny):
    lesson = begin({"level": "cnn"}, tiny)
    results = fit(lesson, 1, 2)
    next(results)
    kept = training.state(lesson)
    digest = hashlib.sha256(kept).hexdigest()
    next(results)
    assert hashlib.sha256(kept).hexdigest() == digest
    assert training.state(lesson) != kept


# ---- the images are shared by all trials of a machine --------------------------------------------------


def test_a_tensor_lies_on_the_arrays_own_memory(tiny):
    for array in (tiny.train.x, tiny.train.y):
        assert training.tensor(array).data_ptr() == array.ctypes.data


@pytest.mark.parametrize("name", LEVELS)
def test_training_does_not_change_the_images(tiny, name):
    arrays = (tiny.train.x, tiny.train.y, tiny.valid.x, tiny.valid.y)
    assert not any(array.flags.writeable for array in arrays)
    before = [hashlib.sha256(array.tobytes()).digest() for array in arrays]
    assert len(train({"level": name}, tiny, 1, 2)) == 2
    assert [hashlib.sha256(array.tobytes()).digest() for array in arrays] == before


@pytest.mark.parametrize("name", LEVELS)
def test_read_only_images_give_no_warning(tiny, name):
    torch.set_warn_always(True)  # or torch would warn of this once per process
    try:
        with pytest.warns(UserWarning, match="not writable"):
            torch.from_numpy(tiny.train.x)  # the usual way does warn
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert len(train({"level": name}, tiny, 1, 2)) == 2
    finally:
        torch.set_warn_always(False)
    assert [str(warning.message) for warning in caught] == []


# ---- chance --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LEVELS)
def test_the_global_generator_neither_influences_a_training_nor_is_used_by_it(tiny, name):
    config = {"level": name, "bs": 128}
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = outcomes(train(config, tiny, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    torch.rand(1000)
    lesson = begin(config, tiny)
    second = []
    for result in fit(lesson, 1, 2):
        torch.rand(10)
        second.append(result)
    assert outcomes(second) == first


@pytest.mark.parametrize("name", ["scratch", "fit", "cnn"])
def test_another_seed_gives_another_training_and_the_same_seed_the_same(tiny, name):
    first, same, other = (outcomes(train({"level": name}, tiny, 1, 2, seed)) for seed in (2**32 - 1, 2**32 - 1, 1))
    assert first == same
    assert first != other


def test_two_trainings_in_one_process_do_not_influence_each_other(tiny):
    configs: list[dict[str, object]] = [{"level": "cnn"}, {"level": "fit", "bs": 32}]
    alone = [outcomes(train(config, tiny, 2, 3)) for config in configs]
    together = list(zip_longest(*(fit(begin(config, tiny), 2, 3) for config in configs)))
    assert [outcomes([pair[i] for pair in together]) for i in range(2)] == alone
