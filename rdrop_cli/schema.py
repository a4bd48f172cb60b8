"""The configuration's schema: every key, its type, its range, its default and what it is for.

A key's docstring is its description in `rdrop config`, in the JSON Schema and in the documentation. It takes one line.
"""

from __future__ import annotations

import re
import sys
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Fraction = Annotated[float, Field(ge=0.0, lt=1.0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Name = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Tracker = Literal["tensorboard", "wandb", "mlflow"]
_DEVICE = r"auto|cpu|mps|cuda(:\d{1,4})?"


class _Group(BaseModel):
    model_config = ConfigDict(
        extra="forbid", strict=True, validate_default=True, protected_namespaces=(), use_attribute_docstrings=True
    )


class DataConfig(_Group):
    """Where the labelled text comes from and how it is split."""

    source: Name = "rotten-tomatoes"
    """Built-in name (rotten-tomatoes, imdb), file, folder, prepared folder or hub id (OWNER/NAME)."""
    text_column: str | None = None
    """Column with the text; null: the one with a usual name, such as text, sentence or review."""
    label_column: str | None = None
    """Column with the label; null: the one with a usual name, such as label, sentiment or class."""
    text_pair_column: str | None = None
    """Column with the second text of a pair; null: found if both columns have usual names (sentence1, sentence2)."""
    label_names: Annotated[list[Name], Field(min_length=2)] | None = None
    """Names of the classes in the order of their ids; null: as the data has them."""
    label_map: dict[Name, Name] = Field(default_factory=dict)
    """Class of each label that has another name in the data, such as {pos: positive, neg: negative}."""
    positive_label: Name | None = None
    """The one of two classes that F1, precision, recall and ROC-AUC are about (its id is 1); null: the second."""
    validation: Fraction = 0.1
    """Share of the training data held out for validation where the data has no such split; 0: none."""
    test: Fraction = 0.1
    """Share of the training data held out for the test where the data has no such split; 0: none."""
    train_examples: Annotated[int, Field(ge=2, lt=2**31)] | None = None
    """Train on a sample of this many examples, with the classes in proportion; null: on all of them."""
    seed: Seed = 42
    """Seed of the split and the sample, separate from train.seed so that runs with different seeds share a split."""
    repeats: Literal["normalized", "exact"] = "normalized"
    """Which texts count as repeats and share a split: `normalized` ignores case and white space, `exact` does not."""
    allow_rejects: bool = False
    """Train even if more than 1 % of a split's rows cannot be used."""

    @field_validator("label_map", mode="before", json_schema_input_type=dict[Name | int, Name | int])
    @classmethod
    def _numbers_are_labels_too(cls, value: object) -> object:
        """YAML reads 1 as a number."""
        if not isinstance(value, dict):
            return value
        return {_label(key): _label(name) for key, name in value.items()}

    @field_validator(
        "label_names", mode="before", json_schema_input_type=Annotated[list[Name | float], Field(min_length=2)] | None
    )
    @classmethod
    def _numbers_are_names_too(cls, value: object) -> object:
        """YAML reads 1 and 1.5 as numbers."""
        return [_label(name) for name in value] if isinstance(value, list) else value

    @field_validator("positive_label", mode="before", json_schema_input_type=Name | float | None)
    @classmethod
    def _a_number_is_a_name_too(cls, value: object) -> object:
        """As for the names of classes."""
        return _label(value)

    @model_validator(mode="after")
    def _label_names_differ(self) -> DataConfig:
        if self.label_names is not None and len(set(self.label_names)) < len(self.label_names):
            raise ValueError("label_names must all differ")
        return self

    @model_validator(mode="after")
    def _splits_leave_training_data(self) -> DataConfig:
        if self.validation + self.test >= 1.0:
            raise ValueError("validation + test must leave something to train on")
        return self


def _is_weight(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= sys.float_info.max


def _label(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


class ModelConfig(_Group):
    """The encoder that is fine-tuned."""

    name: Name = "starter"
    """`starter`, a folder that `from_pretrained` loads, or a hub id (OWNER/NAME)."""
    revision: str | None = None
    """Branch, tag or commit of a model on the hub; null: its main branch."""
    trust_remote_code: bool = False
    """Run Python code that comes with the model; only for models that you trust."""
    max_length: Annotated[int, Field(ge=8)] = 128
    """Longest input in tokens, special tokens included; the rest of a text is cut off."""
    config: dict[str, bool | int | Finite | str | None] = Field(default_factory=dict)
    """Values that replace those in the model's own configuration, such as {hidden_dropout_prob: 0.2}."""


class RDropConfig(_Group):
    """The loss: cross-entropy (CE) plus alpha times the symmetric KL divergence of two dropout passes."""

    alpha: NonNegative = 5.0
    """Weight of the KL term; 0: plain fine-tuning, with one pass."""
    alpha_warmup: Fraction = 0.0
    """Share of the optimizer steps during which alpha rises evenly from 0 to its value."""
    two_passes: bool = False
    """Make two passes where alpha is 0 too, so that nothing but the KL term is missing."""
    noise: NonNegative = 0.0
    """Above 0: R3F, whose KL term is between passes without dropout, one with such noise on the embeddings."""
    dropout: Fraction | None = None
    """Every dropout probability of the encoder that model.config does not set; null: those of the model."""
    ce_reduction: Literal["mean", "sum"] = "mean"
    """How the two passes' CE is combined: `mean`, or the paper's `sum`, which needs twice the alpha."""
    passes: Literal["concat", "sequential"] = "concat"
    """Both passes as one forward pass over the batch twice (`concat`), or one after the other (`sequential`)."""
    allow_zero_dropout: bool = False
    """Train a model even if its two passes come out equal for lack of dropout, so that R-Drop has no effect."""

    @property
    def passes_per_example(self) -> int:
        """Forward and backward passes over each example in an epoch."""
        if self.noise:
            return 3
        return 2 if self.alpha or self.two_passes else 1

    @model_validator(mode="after")
    def _noise_has_a_weight(self) -> RDropConfig:
        if self.noise and not self.alpha:
            raise ValueError("noise has no effect where alpha, the weight of the KL term, is 0")
        return self


class EarlyStoppingConfig(_Group):
    """Training ends when the validation metric has stopped improving."""

    patience: Annotated[int, Field(ge=0)] = 3
    """Evaluations in a row, one an epoch, without an improvement before training ends; 0: early stopping is off."""
    threshold: NonNegative = 0.01
    """How far the metric must change to count as an improvement (absolute: from 0.80 to 0.81 is 0.01)."""


class TrainConfig(_Group):
    """Optimisation, evaluation and saving."""

    epochs: Count = 2
    """Passes over the training data."""
    batch_size: Count = 32
    """Examples per optimizer step, over all micro-batches and processes; a step's loss is the mean over them."""
    micro_batch_size: Count | Literal["auto"] | None = None
    """Examples per forward pass; must divide batch_size. null: batch_size; auto: as many as fit in memory."""
    eval_batch_size: Count = 64
    """Examples per forward pass of an evaluation."""
    lr: Positive = 1e-4
    """Learning rate at its highest, after the warm-up."""
    weight_decay: NonNegative = 0.01
    """Weight decay of AdamW."""
    warmup: Fraction = 0.1
    """Share of the optimizer steps during which the learning rate rises to lr, whatever the schedule."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate changes after the warm-up: `cosine` and `linear` fall to 0, `constant` stays."""
    ema: Fraction = 0.0
    """Decay of a moving average of the weights, which is then evaluated and saved in their place; 0: none."""
    max_grad_norm: NonNegative = 1.0
    """Norm to which larger gradients are clipped; 0: no clipping."""
    label_smoothing: Fraction = 0.1
    """Share of each label's probability that is spread over all classes; in the cross-entropy only, not in the KL."""
    class_weights: Literal["none", "balanced"] | dict[str, Positive] = "none"
    """Weight of each class in the cross-entropy: `balanced`, or one for each name, such as {ham: 1, spam: 5}."""
    metric: Literal["f1", "accuracy", "roc_auc", "nll"] = "f1"
    """Validation metric that chooses the best epoch: the highest value, or the lowest for nll (cross-entropy)."""
    early_stopping: EarlyStoppingConfig = Field(default_factory=EarlyStoppingConfig)
    calibrate: Literal["temperature", "none"] = "temperature"
    """Correct how sure the finished model is with a temperature fitted on validation; `none`: leave it raw."""
    keep_checkpoints: Count = 2
    """How many of the newest checkpoints to keep, besides the best epoch's."""
    log_steps: Count = 50
    """Optimizer steps between two entries in the log."""
    precision: Precision = "auto"
    """Precision of matrix products; auto: native bfloat16, else float16 on Volta and Turing GPUs, else float32."""
    device: Annotated[str, Field(json_schema_extra={"pattern": f"^({_DEVICE})$"})] = "auto"
    """auto, cpu, cuda, cuda:N or mps; auto: a CUDA GPU, else an Apple GPU, else the CPU."""
    group_by_length: bool = True
    """Make batches of examples of similar length, so that less is computed for padding."""
    fast: bool = True
    """Leave out work that changes no result, and on CPUs use cheaper dropout and attention."""
    gradient_checkpointing: bool = False
    """Save memory by computing activations again in the backward pass, which takes longer."""
    num_workers: Annotated[int, Field(ge=0, le=256)] = 0
    """Additional processes that prepare batches; 0: the training process does it."""
    report_to: list[Tracker] = ["tensorboard"]
    """Where the curves and results also go: tensorboard (into the run folder), wandb, mlflow; []: nowhere."""
    seed: Seed = 42
    """Seed of the classification head, of dropout and of the order of the examples."""

    @model_validator(mode="before")
    @classmethod
    def _earlier_versions_had_tensorboard(cls, values: object) -> object:
        """Earlier versions wrote `tensorboard: true` or `false`, which adds it to `report_to` or takes it out."""
        if not isinstance(values, dict) or "tensorboard" not in values:
            return values
        wanted = values["tensorboard"]
        if not isinstance(wanted, bool):
            raise ValueError(f"tensorboard must be true or false, got {wanted!r}")
        others = values.get("report_to", [])
        if not isinstance(others, list):
            return values
        kept = [name for name in others if name != "tensorboard"]
        rest = {key: value for key, value in values.items() if key != "tensorboard"}
        return {**rest, "report_to": ["tensorboard", *kept] if wanted else kept}

    @field_validator("report_to")
    @classmethod
    def _each_tracker_once(cls, value: list[str]) -> list[str]:
        return list(dict.fromkeys(value))

    @field_validator("device")
    @classmethod
    def _device_has_a_name(cls, value: str) -> str:
        if re.fullmatch(_DEVICE, value):
            return value
        raise ValueError("must be auto, cpu, cuda, cuda:N or mps")

    @field_validator("micro_batch_size", mode="before")
    @classmethod
    def _micro_batch_is_a_count_or_auto(cls, value: object) -> object:
        """One fault where the union of types would report one for each."""
        is_count = isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31
        if value is None or value == "auto" or is_count:
            return value
        raise ValueError("must be a number from 1 on, or auto")

    @field_validator(
        "class_weights",
        mode="before",
        json_schema_input_type=Literal["none", "balanced"] | Annotated[dict[str, Positive], Field(min_length=1)],
    )
    @classmethod
    def _class_weights_are_numbers(cls, value: object) -> object:
        """One fault where the union of types would report one for each; YAML reads 1 and 1.5 as numbers."""
        if value in ("none", "balanced"):
            return value
        if not isinstance(value, dict) or not value:
            raise ValueError("must be none, balanced, or a weight for each class, such as {ham: 1, spam: 5}")
        if any(name is None or isinstance(name, bool) for name in value):
            raise ValueError("needs quotes around names that YAML reads as something else, such as 'yes' or 'null'")
        if not all(_is_weight(weight) for weight in value.values()):
            raise ValueError("must have weights that are numbers above 0")
        return {_label(name): weight for name, weight in value.items()}

    @model_validator(mode="after")
    def _micro_batches_fill_the_batch(self) -> TrainConfig:
        if isinstance(self.micro_batch_size, int) and self.batch_size % self.micro_batch_size:
            raise ValueError(f"micro_batch_size {self.micro_batch_size} must divide batch_size {self.batch_size}")
        return self


class HubConfig(_Group):
    """How models and data sets are fetched; the variables HF_ENDPOINT and HF_HUB_OFFLINE are honoured too."""

    endpoint: Annotated[str, Field(pattern=r"^[\x21-\x7e]+$")] | None = None
    """Address of a mirror of the hub; null: HF_ENDPOINT if it is set, else https://huggingface.co."""
    offline: bool = False
    """Use only what is already in the cache, without the network."""


class Config(_Group):
    """Everything that decides what a run computes."""

    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    rdrop: RDropConfig = Field(default_factory=RDropConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    hub: HubConfig = Field(default_factory=HubConfig)
