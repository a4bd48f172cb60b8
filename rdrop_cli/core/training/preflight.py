"""Checks of data and model before a training begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from rdrop_cli.core.model import probes
from rdrop_cli.core.model.loading import dropout_keys
from rdrop_cli.core.model.mode import in_mode
from rdrop_cli.errors import DataError, ModelError

if TYPE_CHECKING:
    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.schema import Config


def check_splits(data: Prepared, config: Config) -> None:
    """Make sure that the best epoch can be chosen on validation.

    Raises:
        DataError: there is no validation split, or it lacks a class that the chosen metric needs.
    """
    if "validation" not in data.splits:
        raise DataError(
            "there is no validation split to choose the best epoch on, and rdrop never uses test for that",
            "Set data.validation above 0, or add a validation file.",
        )
    check_classes(data, "validation", config)


def check_classes(data: Prepared, split: str, config: Config) -> None:
    """Make sure that the chosen metric is meaningful on a split.

    Raises:
        DataError: the split lacks a class that the metric needs.
    """
    present = set(data.splits[split].labels.tolist())
    missing = [name for index, name in enumerate(data.labels.names) if index not in present]
    if missing and (len(data.labels) == 2 or config.train.metric == "roc_auc"):
        raise DataError(
            f"the {split} split has no example of class {missing[0]!r}, so its {config.train.metric} is meaningless",
            f"Add more data of that class, or raise data.{split}.",
        )


def two_passes_differ(model: Any, features: Mapping[str, torch.Tensor]) -> tuple[bool, bool]:
    """Whether the encoder's outputs and the logits of two training passes over one input differ.

    Args:
        features: One example's tensors, (1, length) each.
    """
    device = next(model.parameters()).device
    features = {name: value.to(device) for name, value in features.items()}
    devices_with_rng = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices_with_rng), torch.no_grad(), in_mode(model, training=True):
        (hidden, logits), (hidden_again, logits_again) = probes.run(model, features), probes.run(model, features)
    differ = not torch.equal(logits, logits_again)
    if hidden is None or hidden_again is None:
        return differ, differ
    return not torch.equal(hidden, hidden_again), differ


def check_dropout(
    model: Any, features: Mapping[str, torch.Tensor], config: Config, notice: Callable[[str], None]
) -> None:
    """Refuse R-Drop for a model without dropout, where both passes would be equal; this is tried on the model.

    If only the classification head has dropout, R-Drop has little effect, and a notice says so.

    Args:
        features: One example's tensors, (1, length) each.
        notice: Called with one line about an encoder without dropout.

    Raises:
        ModelError: two training passes are equal; the hint has the keys to set.
    """
    if config.rdrop.alpha == 0 or config.rdrop.noise or config.rdrop.allow_zero_dropout:
        return
    encoder_differs, logits_differ = two_passes_differ(model, features)
    keys = dropout_keys(model.config)
    if logits_differ:
        if not encoder_differs:
            zero = [key for key in keys if not getattr(model.config, key, None) and "classifier" not in key]
            ways = f": set {' or '.join(zero)}, as in --set model.config.{zero[-1]}=0.1" if zero else ""
            notice(f"Only the classification head has dropout, so R-Drop has no effect on the encoder{ways}")
        return
    example = keys[0] if keys else "hidden_dropout_prob"
    raise ModelError(
        f"{config.model.name}: no dropout (two training passes are equal), so R-Drop would have no effect",
        f"Its dropout keys are {', '.join(keys) or 'unknown'}: set one, as in --set model.config.{example}=0.1, "
        "or set rdrop.allow_zero_dropout=true to train anyway.",
    )


def has_unused_parameters(model: Any, features: Mapping[str, torch.Tensor]) -> bool:
    """True if the loss does not depend on some of the trained parameters.

    Args:
        features: One example's tensors, (1, length) each.
    """
    with torch.random.fork_rng(devices=[]):
        model(**features).logits.sum().backward()
    unused = any(parameter.grad is None for parameter in model.parameters() if parameter.requires_grad)
    model.zero_grad()
    return unused
