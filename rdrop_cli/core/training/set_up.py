"""Load a training's data, tokenizer and model, and check that they work together on the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli import processes
from rdrop_cli.core.data.class_weights import class_weights
from rdrop_cli.core.data.dataset import Prepared, is_prepared, load_prepared
from rdrop_cli.core.data.notes import check_rejects, data_notes
from rdrop_cli.core.data.prepare import is_local, prepare_data, tokenize_splits
from rdrop_cli.core.data.tokens import TokenDataset, strip_state
from rdrop_cli.core.model import device as devices
from rdrop_cli.core.model import memory, torch_threads, trial
from rdrop_cli.core.model.collator import Collator, make_collator
from rdrop_cli.core.model.fast_path import accelerate_training
from rdrop_cli.core.model.loading import encoder_dropout, load_classifier, map_loading_errors
from rdrop_cli.core.model.locate import fetch_model, locate_model
from rdrop_cli.core.model.tokenizer import check_token_ids, load_tokenizer
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.method import describe_method
from rdrop_cli.core.runs.record import model_record, read_record
from rdrop_cli.core.training.first_step import try_first_step
from rdrop_cli.core.training.observer import Observer, TrainingPlan
from rdrop_cli.core.training.preflight import check_dropout, check_splits, has_unused_parameters

if TYPE_CHECKING:
    import torch

    from rdrop_cli.core.model.device import Dtype
    from rdrop_cli.schema import Config, ModelConfig


@dataclass(frozen=True)
class LocalInputs:
    """Where this machine has a model and prepared data that the configuration names as they are on another one."""

    model: Path
    prepared: Path


@dataclass(frozen=True)
class TrainingSetup:
    """A training's parts.

    Attributes:
        run: The run folder; with several processes, the main process's.
        config: As configured, with the precision and the kernels that work.
        fallbacks: The requested value of each key of `config` that had to be replaced.
        threads: The number of threads, and why.
        data: The prepared data.
        class_weights: The weight of each class in the cross-entropy; None: the same for all.
        datasets: The data's tokens with their labels, by split.
        model: The classifier, on its device.
        model_record: The model's part of the run's record.
        has_unused_parameters: The loss does not depend on some parameters; checked only with several processes.
        collate: Makes batches for the kernels in use.
        by_exact_length: Padding would change the model's predictions.
    """

    run: Path
    config: Config
    fallbacks: dict[str, Any]
    device: torch.device
    precision: Dtype
    threads: torch_threads.Threads
    tokenizer: Any
    data: Prepared
    class_weights: dict[str, float] | None
    datasets: dict[str, TokenDataset]
    model: Any
    model_record: dict[str, Any]
    has_unused_parameters: bool
    collate: Collator
    by_exact_length: bool

    @property
    def steps_in_epoch(self) -> int:
        """Optimizer steps in one epoch; the last may have fewer examples."""
        return -(-len(self.datasets["train"]) // self.config.train.batch_size)

    def plan(self, first_step: int = 0) -> TrainingPlan:
        """What the training is going to do; `first_step` steps have already been done."""
        config, data = self.config, self.data
        return TrainingPlan(
            run=self.run,
            model=config.model.name,
            data=config.data.source,
            device=devices.describe(self.device),
            precision=self.precision,
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
            examples={name: len(split) for name, split in data.splits.items()},
            epochs=config.train.epochs,
            steps=self.steps_in_epoch * config.train.epochs,
            first_step=first_step,
            batch_size=config.train.batch_size,
            micro_batch_size=config.train.micro_batch_size,
            method=describe_method(config),
            label_smoothing=config.train.label_smoothing,
            class_weights=self.class_weights,
            balanced=config.train.class_weights == "balanced",
            metric=config.train.metric,
            columns=data.columns,
            classes=data.class_counts("train"),
            data_notes=data_notes(data),
        )


def set_up_training(
    config: Config,
    run: Path,
    *,
    resume: bool,
    observer: Observer,
    notice: Callable[[str], None],
    inputs: LocalInputs | None = None,
) -> TrainingSetup:
    """Load data and model, downloading a model on the hub if necessary, and do everything that can fail early.

    Args:
        run: The run folder; nothing is written to it.
        resume: The folder contains the run, whose recorded threads, columns and padding token are kept.
        observer: Receives progress.
        notice: Called with one line about anything that does not work on the device.
        inputs: Used instead of the configured data and model.

    Raises:
        RDropError: something is wrong with data, model or configuration.
    """
    run = Path(processes.broadcast(str(run)))
    device = devices.pick_device(config.train.device)
    memory.reset_peak_memory(device)  # in a comparison, an earlier training has run on the device
    precision = devices.pick_precision(config.train.precision, device)
    recorded = read_record(run) if resume and (run / layout.DATA).is_file() else {}
    name = str(inputs.model) if inputs else _find_model(config, observer)
    threads = _settle_threads(device, recorded, resume, observer)
    tokenizer = load_tokenizer(
        name, max_length=config.model.max_length, trust_remote_code=config.model.trust_remote_code
    )
    with processes.main_process_first():
        data = load_prepared(inputs.prepared) if inputs else _load_data(config, recorded, resume, observer)
        check_splits(data, config)
        weights = class_weights(config.train.class_weights, data.class_counts("train"))
        data = tokenize_splits(data, config, tokenizer, on_progress=observer.stage)
    datasets = {
        split: TokenDataset(data.tokens(split, tokenizer, max_length=config.model.max_length), examples.labels)
        for split, examples in data.splits.items()
    }
    strip_state(tokenizer)  # it is saved with checkpoints
    pad_token_id = _pad_token_id(recorded, tokenizer)
    model = load_classifier(
        name, _with_dropout(name, config), data.labels, seed=config.train.seed, pad_token_id=pad_token_id
    )
    check_token_ids(max(int(dataset.tokens.ids.max()) for dataset in datasets.values()), model, config.model.name)
    record = model_record(Path(name), tokenizer, model.config)
    has_unused = _check_model(model, tokenizer, datasets["train"], config, notice)
    segments = datasets["train"].tokens.type_ids is not None
    works = try_first_step(model, tokenizer, config, device, precision, segments=segments, notice=notice)
    return TrainingSetup(
        run=run,
        config=works.config,
        fallbacks=works.fallbacks,
        device=device,
        precision=works.precision,
        threads=threads,
        tokenizer=tokenizer,
        data=data,
        class_weights=weights,
        datasets=datasets,
        model=model,
        model_record=record,
        has_unused_parameters=has_unused,
        collate=works.collate,
        by_exact_length=works.by_exact_length,
    )


def _with_dropout(name: str, config: Config) -> ModelConfig:
    """The model's part of the configuration, with `rdrop.dropout` for the keys that it does not name itself."""
    if config.rdrop.dropout is None:
        return config.model
    everywhere = dict.fromkeys(encoder_dropout(name, config.model), config.rdrop.dropout)
    return config.model.model_copy(update={"config": {**everywhere, **config.model.config}})


def _find_model(config: Config, observer: Observer) -> str:
    name = locate_model(config.model, config.hub)
    with processes.main_process_first():
        return fetch_model(name, config.model.revision, observer.stage)


def _settle_threads(
    device: torch.device, recorded: Mapping[str, Any], resume: bool, observer: Observer
) -> torch_threads.Threads:
    threads = recorded.get("threads")
    return torch_threads.choose_threads(
        device,
        resume=resume,
        recorded=threads if isinstance(threads, int) else None,  # earlier versions did not record it
        notice=observer.notice,
    )


def _load_data(config: Config, recorded: Mapping[str, Any], resume: bool, observer: Observer) -> Prepared:
    """The configured data; when resuming without access to the source, its prepared copy."""
    if recorded and not is_local(config.data.source):
        folder = Path(str(recorded.get("prepared")))
        if is_prepared(folder):
            return load_prepared(folder)
    data = prepare_data(config, columns=recorded.get("columns"), on_progress=observer.stage)
    if not resume:
        check_rejects(data, config)
    return data


def _pad_token_id(recorded: Mapping[str, Any], tokenizer: Any) -> int:
    """The tokenizer's; a resumed run keeps the one it began with, because RoBERTa's positions depend on it."""
    model = recorded.get("model")
    pad_token_id = (model.get("config") or {}).get("pad_token_id") if isinstance(model, dict) else None
    return pad_token_id if isinstance(pad_token_id, int) else int(tokenizer.pad_token_id)


def _check_model(
    model: Any, tokenizer: Any, train: TokenDataset, config: Config, notice: Callable[[str], None]
) -> bool:
    """Make sure that a model can be trained as configured, and prepare its kernels.

    Returns:
        Whether the loss does not depend on some of its parameters; checked only with several processes.
    """
    collate = make_collator(tokenizer, model)
    example = {name: value for name, value in train[0].items() if name != "labels"}
    with map_loading_errors(config.model.name, "model"):  # the first passes show whether its settings are valid
        trial.check_positions(model, tokenizer, collate, config.model.max_length)
        if config.train.fast:
            accelerate_training(model)
        check_dropout(model, collate([example]), config, notice)
    return processes.world_size() > 1 and has_unused_parameters(model, collate([example]))
