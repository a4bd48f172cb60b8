"""The configuration's schema: every key, its type, its range and its default."""

from __future__ import annotations

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


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, validate_default=True, protected_namespaces=())


class DataConfig(_Group):
    """Where the labelled text comes from and how it is split."""

    source: Name = "rotten-tomatoes"
    """Built-in name, file, folder, prepared folder or hub id."""
    text_column: str | None = None
    label_column: str | None = None
    text_pair_column: str | None = None
    label_names: Annotated[list[Name], Field(min_length=2)] | None = None
    """Names of the classes in the order of their ids; None: as the data has them."""
    label_map: dict[Name, Name] = Field(default_factory=dict)
    """Classes of labels that have another name in the data."""
    positive_label: Name | None = None
    """Which of two classes F1, precision and recall are about; None: the second. It gets the id 1."""
    validation: Fraction = 0.1
    test: Fraction = 0.1
    train_examples: Annotated[int, Field(ge=2, lt=2**31)] | None = None
    """Train on a sample of this many examples, with the classes in proportion; None: on all."""
    seed: Seed = 42
    """Seed of the split alone, so that training seeds share one split."""
    repeats: Literal["normalized", "exact"] = "normalized"
    """What makes two texts repeats, which never stand in two splits: `normalized` looks past case and white space."""
    allow_rejects: bool = False
    """Train even when more than 1 % of a split's rows cannot be used."""

    @field_validator("label_map", mode="before")
    @classmethod
    def _numbers_are_labels_too(cls, value: object) -> object:
        """YAML reads 1 as a number."""
        if not isinstance(value, dict):
            return value
        return {_label(key): _label(name) for key, name in value.items()}

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


def _label(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class ModelConfig(_Group):
    """The encoder that is fine-tuned."""

    name: Name = "starter"
    """`starter`, a folder that `from_pretrained` loads, or a hub id."""
    revision: str | None = None
    trust_remote_code: bool = False
    """Run Python code that comes with the model."""
    max_length: Annotated[int, Field(ge=8)] = 128
    """Longest input in tokens, special tokens included; the rest of a text is cut off."""
    config: dict[str, bool | int | Finite | str | None] = Field(default_factory=dict)
    """Overrides for the model's own configuration, such as hidden_dropout_prob."""


class RDropConfig(_Group):
    """The regulariser: CE + alpha * symmetric KL of two dropout passes."""

    alpha: NonNegative = 5.0
    """Weight of the KL term; 0 is plain fine-tuning with one pass."""
    ce_reduction: Literal["mean", "sum"] = "mean"
    """`sum` is the paper's CE1 + CE2: its alpha is twice this one's at `mean`."""
    passes: Literal["concat", "sequential"] = "concat"
    allow_zero_dropout: bool = False


class EarlyStoppingConfig(_Group):
    """Stop when the validation metric has not improved by `threshold` for `patience` evaluations."""

    patience: Annotated[int, Field(ge=0)] = 3
    """0 turns early stopping off."""
    threshold: NonNegative = 0.01


class TrainConfig(_Group):
    """Optimisation, evaluation and saving."""

    epochs: Count = 2
    batch_size: Count = 32
    """Examples per optimizer step; a step's loss is the mean over them."""
    micro_batch_size: Count | Literal["auto"] | None = None
    """Examples per forward pass; must divide batch_size. None: batch_size; auto: as many as the memory takes."""
    eval_batch_size: Count = 64
    lr: Positive = 1e-4
    weight_decay: NonNegative = 0.01
    warmup: Fraction = 0.1
    """Share of the steps in which the learning rate rises."""
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    max_grad_norm: NonNegative = 1.0
    label_smoothing: Fraction = 0.1
    metric: Literal["f1", "accuracy", "roc_auc", "nll"] = "f1"
    """The validation metric that picks the best epoch."""
    early_stopping: EarlyStoppingConfig = Field(default_factory=EarlyStoppingConfig)
    keep_checkpoints: Count = 2
    """Newest checkpoints that are kept, beside the best one."""
    log_steps: Count = 50
    precision: Precision = "auto"
    group_by_length: bool = True
    fast: bool = True
    """Leave out work that changes no result, and on CPUs use cheaper dropout and attention."""
    gradient_checkpointing: bool = False
    num_workers: Annotated[int, Field(ge=0, le=256)] = 0
    tensorboard: bool = True
    seed: Seed = 42

    @field_validator("micro_batch_size", mode="before")
    @classmethod
    def _micro_batch_is_a_count_or_auto(cls, value: object) -> object:
        """One fault where the union of types would report one for each."""
        is_count = isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31
        if value is None or value == "auto" or is_count:
            return value
        raise ValueError("must be a number from 1 on, or auto")

    @model_validator(mode="after")
    def _micro_batches_fill_the_batch(self) -> TrainConfig:
        if isinstance(self.micro_batch_size, int) and self.batch_size % self.micro_batch_size:
            raise ValueError(f"micro_batch_size {self.micro_batch_size} must divide batch_size {self.batch_size}")
        return self


class HubConfig(_Group):
    """How models and data sets are fetched; HF_ENDPOINT and HF_HUB_OFFLINE are honoured too."""

    endpoint: Annotated[str, Field(pattern=r"^[\x21-\x7e]+$")] | None = None
    offline: bool = False


class Config(_Group):
    """Everything that decides what a run computes."""

    data: DataConfig = Field(default_factory=DataConfig)
    model: ModelConfig = Field(default_factory=ModelConfig)
    rdrop: RDropConfig = Field(default_factory=RDropConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)
    hub: HubConfig = Field(default_factory=HubConfig)
