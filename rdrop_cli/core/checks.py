"""What must hold of data and model before a training begins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from rdrop_cli.core import models
from rdrop_cli.core.prepared import Prepared
from rdrop_cli.errors import DataError, ModelError
from rdrop_cli.schema import Config


def check_splits(data: Prepared, config: Config) -> None:
    """Make sure that the best epoch can be chosen on validation.

    Raises:
        DataError: there is no validation split, or it lacks a class that the chosen metric needs.
    """
    if "validation" not in data.splits:
        raise DataError(
            "there is no validation split, and the best epoch is never chosen on test",
            "Set data.validation above 0, or add a validation file.",
        )
    check_classes(data, "validation", config)


def check_classes(data: Prepared, split: str, config: Config) -> None:
    """Make sure that the chosen metric means something on a split.

    Raises:
        DataError: the split lacks a class that the metric needs.
    """
    present = set(data.splits[split].labels.tolist())
    missing = [name for index, name in enumerate(data.labels.names) if index not in present]
    if missing and (len(data.labels) == 2 or config.train.metric == "roc_auc"):
        raise DataError(
            f"the {split} split has no example of class {missing[0]!r}, so its {config.train.metric} means nothing",
            f"Give more data of that class, or raise data.{split}.",
        )


def passes_differ(model: Any, features: Mapping[str, torch.Tensor]) -> bool:
    """True when two training passes over one input differ, that is, when there is dropout.

    Args:
        features: One example's tensors, (1, length) each.
    """
    was_training = model.training
    device = next(model.parameters()).device
    features = {name: value.to(device) for name, value in features.items()}
    devices_with_rng = [device] if device.type == "cuda" else []
    model.train()
    with torch.random.fork_rng(devices=devices_with_rng), torch.no_grad():
        first, second = model(**features).logits, model(**features).logits
    model.train(was_training)
    return not torch.equal(first, second)


def check_dropout(model: Any, features: Mapping[str, torch.Tensor], config: Config) -> None:
    """R-Drop without dropout compares a pass with itself: refuse it, whatever modules the model is made of.

    Args:
        features: One example's tensors, (1, length) each.

    Raises:
        ModelError: two training passes come out equal; with the keys to set.
    """
    if config.rdrop.alpha == 0 or config.rdrop.allow_zero_dropout or passes_differ(model, features):
        return
    keys = models.dropout_keys(model.config)
    example = keys[0] if keys else "hidden_dropout_prob"
    raise ModelError(
        f"{config.model.name}: two training passes come out equal, so R-Drop would do nothing",
        f"Its dropout keys are {', '.join(keys) or 'unknown'}: set one, as in --set model.config.{example}=0.1, "
        "or rdrop.allow_zero_dropout=true.",
    )


def has_unused_parameters(model: Any, features: Mapping[str, torch.Tensor]) -> bool:
    """True when the loss does not depend on some of the trained parameters.

    Args:
        features: One example's tensors, (1, length) each.
    """
    with torch.random.fork_rng(devices=[]):
        model(**features).logits.sum().backward()
    unused = any(parameter.grad is None for parameter in model.parameters() if parameter.requires_grad)
    model.zero_grad()
    return unused
