"""Finding and loading encoders, with errors that name the model and what to do."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rdrop_cli.errors import ConfigError, ModelError, RDropError, one_line

if TYPE_CHECKING:
    from rdrop_cli.core.data.labels import LabelMap
    from rdrop_cli.schema import ModelConfig


def load_classifier(
    name: str, config: ModelConfig, labels: LabelMap, *, seed: int, pad_token_id: int | None = None
) -> Any:
    """An encoder with a classification head; a fresh one depends on `seed` alone.

    Everything but the head and the pooler before it must come from the checkpoint.

    Args:
        name: The model's folder.
        pad_token_id: The tokenizer's, which decoders need to find a text's last token; None: as the model has it.

    Raises:
        ModelError: it cannot be loaded.
    """
    quiet_transformers()
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification

    with map_loading_errors(name, "model"):
        model_config = AutoConfig.from_pretrained(name, trust_remote_code=config.trust_remote_code)
    apply_overrides(model_config, config.config)
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
            f"{name}: {len(lost)} of the encoder's weights are missing or of another shape, such as {lost[0]}",
            "Are these weights of this kind of model, and does model.config leave its shape alone?",
        )
    return model


def apply_overrides(model_config: Any, overrides: Mapping[str, Any]) -> None:
    """Set keys of the model's own configuration.

    Raises:
        ConfigError: a key the model does not have.
    """
    for key, value in overrides.items():
        if key not in model_config.to_dict() or key in _FROM_THE_DATA:
            known = ", ".join(dropout_keys(model_config)) or "none"
            raise ConfigError(
                f"model.config.{key}: {model_config.model_type} has no such key to set", f"Dropout keys: {known}."
            )
        try:
            setattr(model_config, key, value)
        except Exception as error:  # each kind of model has its own checks, and its own errors
            raise ConfigError(f"model.config.{key}: {one_line(error)}") from error


_FROM_THE_DATA = ("num_labels", "id2label", "label2id", "problem_type", "model_type", "architectures")


def dropout_keys(model_config: Any) -> list[str]:
    """The dropout probabilities in a model's own configuration."""
    return sorted(
        key
        for key, value in model_config.to_dict().items()
        if ("dropout" in key or key.endswith("pdrop")) and (value is None or isinstance(value, int | float))
    )


def quiet_transformers() -> None:
    """Keep transformers' bars and reports off the terminal: the commands show their own."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


@contextlib.contextmanager
def map_loading_errors(name: str, part: str) -> Iterator[None]:
    """Turn what `from_pretrained` raises for an unusable model into a ModelError that keeps the cause."""
    try:
        yield
    except (RDropError, MemoryError):
        raise
    except Exception as error:  # from_pretrained raises whatever the code of a model, a tokenizer or a format does
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"{part} {name} brings code of its own, which is not run unless you ask for it",
                "If you trust it: --set model.trust_remote_code=true (train), --trust-remote-code (evaluate, predict).",
            ) from error
        raise ModelError(f"{part} {name} cannot be loaded: {one_line(error)}") from error
