"""Load encoders, with errors that name the model and say what to do."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rdrop_cli.errors import ConfigError, ModelError, RDropError, one_line

if TYPE_CHECKING:
    from rdrop_cli.core.data.labels import LabelMap
    from rdrop_cli.schema import ModelConfig

_OF_HEADS = ("classif", "qa_", "pooler", "cls_", "summary", "head", "layerdrop")
"""Parts of the names of dropout keys that are not the encoder's."""
_FROM_THE_DATA = ("num_labels", "id2label", "label2id", "problem_type", "model_type", "architectures")
"""Keys of a model's configuration that users cannot set."""


def load_classifier(
    name: str, config: ModelConfig, labels: LabelMap, *, seed: int, pad_token_id: int | None = None
) -> Any:
    """Load an encoder with a classification head; a new head depends on `seed` alone.

    All weights except those of the head and the pooler before it must come from the checkpoint.

    Args:
        name: The model's folder.
        config: The model's part of the configuration.
        labels: The classes.
        pad_token_id: The tokenizer's, which decoders need to find a text's last token; None: keep the model's.

    Raises:
        ModelError: the model cannot be loaded, or weights of the encoder are missing.
        ConfigError: an override in `model.config` is unknown or invalid.
    """
    quiet_transformers()
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    with map_loading_errors(name, "model"):
        model_config = AutoConfig.from_pretrained(name, trust_remote_code=config.trust_remote_code)
    _apply_overrides(model_config, config.config)
    if pad_token_id is not None:
        model_config.pad_token_id = pad_token_id
    model_config.num_labels = len(labels)
    model_config.id2label = dict(enumerate(labels.names))
    model_config.label2id = {label: index for index, label in enumerate(labels.names)}
    model_config.problem_type = "single_label_classification"
    torch.manual_seed(seed)
    with map_loading_errors(name, "model"):
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            name,
            config=model_config,
            trust_remote_code=config.trust_remote_code,
            dtype=torch.float32,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    fresh = {*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])}
    lost = sorted(key for key in fresh if key.startswith(f"{model.base_model_prefix}.") and ".pooler." not in key)
    if lost:
        raise ModelError(
            f"{name}: {len(lost)} of the encoder's weights are missing or have another shape, such as {lost[0]}",
            "Check that the weights belong to this model type, and that model.config does not change its shape.",
        )
    return model


def _apply_overrides(model_config: Any, overrides: Mapping[str, Any]) -> None:
    """Set keys of the model's own configuration.

    Raises:
        ConfigError: the model has no such key, or does not accept the value.
    """
    for key, value in overrides.items():
        if key not in model_config.to_dict() or key in _FROM_THE_DATA:
            known = ", ".join(dropout_keys(model_config)) or "none"
            raise ConfigError(
                f"model.config.{key}: {model_config.model_type} has no such key to set",
                f"Dropout keys: {known}.",
            )
        try:
            setattr(model_config, key, value)
        except Exception as error:  # each model type has its own checks and exceptions
            raise ConfigError(f"model.config.{key}: {one_line(error)}") from error


def dropout_keys(model_config: Any) -> list[str]:
    """The keys of dropout probabilities in a model's own configuration."""
    return sorted(
        key
        for key, value in model_config.to_dict().items()
        if ("dropout" in key or key.endswith("pdrop")) and (value is None or isinstance(value, int | float))
    )


def encoder_dropout(name: str, config: ModelConfig) -> dict[str, float]:
    """The encoder's dropout probabilities by their keys, without those of heads; None of them is null.

    Args:
        name: The model's folder.
        config: The model's part of the configuration.

    Raises:
        ModelError: the model's configuration cannot be loaded.
    """
    quiet_transformers()
    from transformers import AutoConfig

    with map_loading_errors(name, "model"):
        model_config = AutoConfig.from_pretrained(name, trust_remote_code=config.trust_remote_code)
    _apply_overrides(model_config, config.config)
    values = {key: getattr(model_config, key) for key in dropout_keys(model_config)}
    return {
        key: float(value)
        for key, value in values.items()
        if value is not None and not any(part in key for part in _OF_HEADS)
    }


def quiet_transformers() -> None:
    """Turn off transformers' progress bars and reports; the commands show their own."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


@contextlib.contextmanager
def map_loading_errors(name: str, part: str) -> Iterator[None]:
    """Turn any exception of `from_pretrained` into a ModelError with the cause."""
    try:
        yield
    except (RDropError, MemoryError):
        raise
    except Exception as error:  # the code of a model, a tokenizer or a file format may raise anything
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"{part} {name} contains its own code, which rdrop does not run unless you allow it",
                "If you trust it, use --set model.trust_remote_code=true (train) or --trust-remote-code (evaluate,"
                " export, predict).",
            ) from error
        raise ModelError(f"{part} {name} cannot be loaded: {one_line(error)}") from error
