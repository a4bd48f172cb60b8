"""Divide a classifier's logits by a number, by dividing the weights of the layer that makes them.

Whether a layer does that is tried, not told from its name: some heads end in something other than a linear layer, and
some layers share their weights with another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

_TRIED = 2.0
"""A power of two, by which floating-point numbers are divided exactly."""


def scaling_weights(model: Any, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters by whose division the logits are divided: a linear layer's weight and bias.

    Args:
        model: A sequence classifier in evaluation mode.
        batch: Some rows of input, on the model's device.

    Returns:
        The parameters by name, the model's own tensors; empty if no layer does it, or only one with shared parameters.
    """
    shared = _shared(model)
    logits = _logits(model, batch)
    if not logits.abs().max() > 0:
        return {}
    for name, module in reversed(list(model.named_modules())):
        if not isinstance(module, nn.Linear) or module.out_features != logits.shape[-1]:
            continue
        weights: dict[str, Tensor] = {f"{name}.{key}": value for key, value in module.named_parameters(recurse=False)}
        if not weights or any(_storage(value) in shared for value in weights.values()):
            continue
        with divided(weights, _TRIED):
            divided_logits = _logits(model, batch)
        if torch.allclose(divided_logits * _TRIED, logits, rtol=1e-5, atol=1e-6 * float(logits.abs().max())):
            return weights
    return {}


@contextmanager
def divided(weights: Mapping[str, Tensor], divisor: float) -> Iterator[None]:
    """Divide a model's own parameters while the block runs; afterwards they have their former bits."""
    before = {name: value.detach().clone() for name, value in weights.items()}
    try:
        with torch.no_grad():
            for name, value in weights.items():
                value.copy_(_quotient(before[name], divisor))
        yield
    finally:
        with torch.no_grad():
            for name, value in weights.items():
                value.copy_(before[name])


def divide_in_files(folder: Path, weights: Mapping[str, Tensor], divisor: float) -> bool:
    """Divide parameters in a folder's safetensors, whatever number of files there is; everything else stays.

    Args:
        folder: A model that `from_pretrained` loads.
        weights: The model's parameters, which the files must contain under the same names, in float32.

    Returns:
        Whether all were there; otherwise nothing was changed.
    """
    places = {name: _file_with(folder, name, value) for name, value in weights.items()}
    if None in places.values():
        return False
    for path in {path for path in places.values() if path is not None}:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata()
        tensors = load_file(path)
        for name in (name for name, place in places.items() if place == path):
            tensors[name] = _quotient(tensors[name], divisor)
        changed = path.with_suffix(".changed")  # the tensors may still be read from the file itself
        save_file(tensors, changed, metadata=metadata)
        del tensors
        changed.replace(path)
    return True


def _quotient(value: Tensor, divisor: float) -> Tensor:
    """Rounded once, whatever the device."""
    return (value.detach().cpu().double() / divisor).to(value.dtype)


def _file_with(folder: Path, name: str, value: Tensor) -> Path | None:
    """The file that has exactly this tensor under this name."""
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as stored:
            if name in stored.keys():  # noqa: SIM118 - it is no mapping
                tensor = stored.get_tensor(name)
                is_same = tensor.dtype == torch.float32 and torch.equal(tensor, value.detach().cpu())
                return path if is_same else None
    return None


def _logits(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(**batch).logits.float()
    return logits


def _shared(model: Any) -> set[int]:
    """The storages of tensors that have more than one name, such as those of a head tied to the embeddings."""
    named = *model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)
    counts = Counter(_storage(value) for _, value in named)
    return {storage for storage, count in counts.items() if count > 1}


def _storage(value: Tensor) -> int:
    return value.untyped_storage().data_ptr()
