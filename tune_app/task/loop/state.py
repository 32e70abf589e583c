"""A training's state as bytes: everything that changes while a lesson is trained.

They are a safetensors file with one JSON document, which says what the state of each part of the lesson is; tensors
stand in the file under names that begin with the part's. Nothing is pickled. The same state always gives the same
bytes.
"""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from .lesson import Lesson, has

DOCUMENT = "state"
"""The one key of the file's metadata: several would be written in changing order."""
WEIGHTS = ("model", "keeps.")
"""The beginnings of the names of parts that hold weights."""
TO_GO_ON = ("opt", "each_batch", "each_epoch")
"""The parts that only a training needs that goes on: of an ended one their state is not kept."""
Tensors = dict[str, Tensor]
TYPES: dict[str, Callable[[Any], object]] = {
    "dict": dict,
    "Counter": lambda pairs: Counter(dict(pairs)),
    "tuple": tuple,
    "set": set,
}
"""The types that JSON objects with these keys stand for; JSON has no tuples, and no integers as keys."""


def parts(lesson: Lesson, ended: bool = False) -> dict[str, Any]:
    """The parts of a lesson with a state: plain tensors, and parts with `state_dict` and `load_state_dict`.

    ended: without those that only a training needs that goes on.
    """
    named = {
        "model": lesson.model,
        "loss_func": lesson.loss_func,
        "opt": lesson.opt,
        "each_batch": lesson.each_batch,
        "each_epoch": lesson.each_epoch,
        **{f"keeps.{name}": part for name, part in lesson.keeps.items()},
    }
    return {
        name: part
        for name, part in named.items()
        if isinstance(part, Tensor) or has(part, "state_dict", "load_state_dict")
        if not ended or name not in TO_GO_ON
    }


def save(lesson: Lesson, ended: bool = False) -> bytes:
    """The state of a lesson; a copy, which does not change with it. ended: see `parts`.

    Raises `ValueError` for what cannot be kept: a tensor that is sparse, complex128 or not there yet, and anything
    that is not made of tensors, arrays, numbers, text, None, lists, tuples, dictionaries and sets.
    """
    return packed({name: content(part) for name, part in parts(lesson, ended).items()})


def content(part: Any) -> Any:
    """The state of one part."""
    return part if isinstance(part, Tensor) else part.state_dict()


def packed(state: dict[str, Any]) -> bytes:
    """The states of parts by their names as bytes."""
    tensors: Tensors = {}
    seen: dict[object, tuple[str, Tensor]] = {}

    def encoded(value: Any, name: str) -> Any:
        match value:
            case Tensor():
                return kept(value, name, tensors, seen)
            case None | bool() | int() | float() | str():
                return value
            case np.ndarray() | np.generic():
                return {"array": kept(torch.from_numpy(np.array(value)), name, tensors, seen)}
            case dict():
                pairs = [[encoded(key, name), encoded(part, f"{name}.{key}")] for key, part in value.items()]
                kind = "Counter" if isinstance(value, Counter) else "dict"
                return {kind: sorted(pairs, key=lambda pair: json.dumps(pair[0]))}
            case list() | tuple():
                found = [encoded(part, f"{name}.{i}") for i, part in enumerate(value)]
                return {"tuple": found} if isinstance(value, tuple) else found
            case set():
                return {"set": sorted((encoded(part, name) for part in value), key=json.dumps)}
        raise ValueError(
            f"{name} is a {type(value).__name__}, which cannot be kept; allowed: tensors, arrays, numbers, text,"
            " None, and lists, tuples, dictionaries and sets of these"
        )

    document = {name: encoded(part, name) for name, part in state.items()}
    return safetensors.torch.save(tensors, {DOCUMENT: json.dumps(document, sort_keys=True)})


def kept(tensor: Tensor, name: str, tensors: Tensors, seen: dict[object, tuple[str, Tensor]]) -> dict[str, Any]:
    """Put a tensor among `tensors`, and tell where; one that two names share (tied weights) is put there once.

    seen: what was put there before, by where it lay; it is held so that nothing else comes to lie there.
    """
    if is_lazy(tensor):
        raise ValueError(f"{name} has no shape before the first batch, allowed: a state after it")
    if tensor.layout != torch.strided or tensor.dtype == torch.complex128:
        raise ValueError(f"{name} is {tensor.layout} {tensor.dtype}, allowed: a dense tensor, no complex128")
    tensor = tensor.detach()
    place = (tensor.data_ptr(), tensor.device, tensor.dtype, tensor.shape, tensor.stride())
    if tensor.numel() == 0 or place not in seen:
        while name in tensors:
            name += "'"
        storage = tensor.untyped_storage().data_ptr()
        # Other parts of one storage become tensors of their own: a file cannot have two that overlap.
        tensors[name] = (
            tensor.clone(memory_format=torch.contiguous_format) if storage in seen else tensor.contiguous()
        )
        seen[place] = seen[storage] = (name, tensor)
    told: dict[str, Any] = {"tensor": seen[place][0]}
    if not tensor.is_contiguous() and 0 not in tensor.stride():  # channels_last, and whatever else there is
        told["stride"] = tensor.stride()
    return told


def load(lesson: Lesson, saved: bytes, ended: bool = False) -> None:
    """Put a state back into a lesson of the same level and config, which is on its device. ended: see `parts`.

    Raises `ValueError` where the state has other parts than the lesson.
    """
    found = parts(lesson, ended)
    state = {name: part for name, part in read(saved).items() if not ended or name not in TO_GO_ON}
    if state.keys() != found.keys():
        raise ValueError(f"the state has {', '.join(state)}, allowed: that of this lesson, {', '.join(found)}")
    for name, part in found.items():
        if isinstance(part, Tensor):
            with torch.no_grad():
                part.copy_(state[name])
        else:
            part.load_state_dict(state[name])


def read(saved: bytes) -> dict[str, Any]:
    """The state of each part by its name."""
    # Copied to where torch would have put them: how they are aligned can change how a sum is rounded.
    tensors = {name: tensor.clone() for name, tensor in safetensors.torch.load(saved).items()}

    def decoded(node: Any) -> Any:
        if isinstance(node, list):
            return [decoded(part) for part in node]
        if not isinstance(node, dict):
            return node
        if "tensor" in node:
            tensor = tensors[node["tensor"]]
            if list(tensor.stride()) != node.get("stride", list(tensor.stride())):
                tensor = torch.empty_strided(tensor.shape, node["stride"], dtype=tensor.dtype).copy_(tensor)
                tensors[node["tensor"]] = tensor  # a tied tensor stays one
            return tensor
        ((kind, value),) = node.items()
        return decoded(value).numpy()[()] if kind == "array" else TYPES[kind](decoded(value))

    return {name: decoded(node) for name, node in document(saved).items()}


def document(saved: bytes) -> dict[str, Any]:
    """The JSON document of a state: the file begins with the length of its header, eight bytes."""
    header = json.loads(saved[8 : 8 + int.from_bytes(saved[:8], "little")])
    found: dict[str, Any] = json.loads(header["__metadata__"][DOCUMENT])
    return found


def weights(saved: bytes) -> Tensors:
    """The tensors of the model (model.conv1.weight) and of what is kept (keeps.bias); a tied one by each name."""
    found: Tensors = {}

    def collect(value: Any, name: str) -> None:
        if isinstance(value, Tensor):
            found[name] = value
        elif isinstance(value, dict):
            for key, part in value.items():
                collect(part, f"{name}.{key}")

    for name, state in read(saved).items():
        if name.startswith(WEIGHTS):
            collect(state, name)
    return found


def exported(saved: bytes) -> Tensors:
    """The weights by the names that `load_state_dict` of the model takes, tied ones each for itself.

    What is kept has its own name, with `keeps.` before one that the model has, too.
    """
    found = weights(saved)
    of_model = {name.removeprefix("model."): t for name, t in found.items() if name.startswith("model.")}
    kept = {name.removeprefix("keeps."): t for name, t in found.items() if name.startswith("keeps.")}
    named = of_model | {f"keeps.{name}" if name in of_model else name: tensor for name, tensor in kept.items()}
    return {name: tensor.contiguous().clone() for name, tensor in named.items()}


def check_round_trip(lesson: Lesson, saved: bytes) -> None:
    """Put a state into a lesson that was built anew, and check that it is the same there.

    Raises `ValueError` naming the first part that is not.
    """
    load(lesson, saved)
    if save(lesson) == saved:
        return
    state = read(saved)
    for name, part in parts(lesson).items():
        if packed({name: content(part)}) != packed({name: state[name]}):
            raise ValueError(
                f"the state of {name}, a {type(part).__name__}, is not the same after it was put back;"
                " allowed: a load_state_dict() that takes all that state_dict() gives"
            )
    raise ValueError("the state is not the same after it was put back, though each part's is")
