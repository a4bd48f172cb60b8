"""Training a classifier from configuration to run folder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, PrinterCallback, set_seed

from rdrop_cli import processes
from rdrop_cli.core.data import audit
from rdrop_cli.core.data.dataset import Prepared, is_prepared, load_prepared
from rdrop_cli.core.data.prepare import check_rejects, data_notes, is_local, prepare_data, tokenize_splits
from rdrop_cli.core.data.tokens import TokenDataset, Tokens, strip_state
from rdrop_cli.core.metrics.predictions import Predictions
from rdrop_cli.core.model import device as devices
from rdrop_cli.core.model import torch_threads, trial
from rdrop_cli.core.model.collator import make_collator
from rdrop_cli.core.model.fast_path import accelerate_training
from rdrop_cli.core.model.loading import load_classifier, map_loading_errors
from rdrop_cli.core.model.locate import fetch_model, locate_model
from rdrop_cli.core.model.tokenizer import load_tokenizer
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.best_model import export_best
from rdrop_cli.core.runs.history import history_row
from rdrop_cli.core.runs.model_card import model_card
from rdrop_cli.core.runs.outputs import library_versions, save_outputs
from rdrop_cli.core.runs.record import data_record, model_record, read_record
from rdrop_cli.core.storage.files import write_text
from rdrop_cli.core.trainer.exact_length import ExactLengthTrainer
from rdrop_cli.core.trainer.rdrop_trainer import RDropTrainer
from rdrop_cli.core.training.arguments import training_arguments
from rdrop_cli.core.training.callbacks import KeepBest, ObserveTraining, StopOnSignal
from rdrop_cli.core.training.diagnosis import make_diagnosis
from rdrop_cli.core.training.failures import map_failures
from rdrop_cli.core.training.final_evaluation import measure_best, validation_metrics
from rdrop_cli.core.training.first_step import try_first_step
from rdrop_cli.core.training.observer import Observer, TrainingPlan
from rdrop_cli.core.training.preflight import check_dropout, check_splits, has_unused_parameters
from rdrop_cli.core.training.resume import (
    STATE,
    Start,
    begin_run,
    check_random_state,
    has_ended,
    log_history,
    resume_run,
)
from rdrop_cli.errors import TrainingInterrupted
from rdrop_cli.schema import Config


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run has to show.

    Attributes:
        metrics: By split: train (a sample), validation, and test if there is one.
        seconds: Of training in this session; the rate is of this session too.
        steps: Of the whole run; a resumed session began behind `first_step`.
    """

    run: Path
    checkpoint: Path
    metrics: dict[str, dict[str, Any]]
    seconds: float
    examples_per_second: float
    steps: int
    first_step: int
    best_epoch: float


class TrainingRun:
    """A training that is set up and checked, but has not begun.

    Setting up loads data and model and does everything that can fail early.

    Args:
        config: The resolved configuration.
        run: The run folder; it is made when training begins.
        resume: Resume from the run's last checkpoint.
        overwrite: Remove a run that stands in the folder when training begins.
        observer: Is told of progress.

    Raises:
        RDropError: anything about data, model or configuration that does not hold.

    Attributes:
        data: As it was read, with its fingerprint.
        model_record: What identifies the model, as the run records it.
    """

    def __init__(
        self,
        config: Config,
        run: Path,
        *,
        resume: bool = False,
        overwrite: bool = False,
        observer: Observer | None = None,
    ) -> None:
        self._began = time.perf_counter()
        self.run = Path(processes.broadcast(str(run)))
        self.resume = resume
        self.overwrite = overwrite
        self.observer = observer or Observer()
        self.config = config
        self.device = devices.pick_device(config.train.device)
        devices.reset_peak_memory(self.device)  # an earlier training's, in a comparison
        self.precision = devices.pick_precision(config.train.precision, self.device)
        self._said: set[str] = set()
        has_record = resume and (self.run / layout.DATA).is_file()
        self._recorded: Mapping[str, Any] = read_record(self.run) if has_record else {}

        name = locate_model(config.model, config.hub)
        with processes.main_process_first():
            name = fetch_model(name, config.model.revision, self.observer.stage)
        self.threads = self._settle_threads()
        self.tokenizer = load_tokenizer(
            name, max_length=config.model.max_length, trust_remote_code=config.model.trust_remote_code
        )
        with processes.main_process_first():
            data = self._load_data()
            check_splits(data, config)
            self.data = tokenize_splits(data, config, self.tokenizer, on_progress=self.observer.stage)
        self.datasets = {
            split: TokenDataset(self._tokens(split), examples.labels) for split, examples in self.data.splits.items()
        }
        strip_state(self.tokenizer)  # checkpoints save it
        self.model = load_classifier(
            name, config.model, self.data.labels, seed=config.train.seed, pad_token_id=self._pad_token_id()
        )
        self.model_record = model_record(Path(name), self.tokenizer, self.model.config)
        self.collate = make_collator(self.tokenizer, self.model)
        example = {name: value for name, value in self.datasets["train"][0].items() if name != "labels"}
        with map_loading_errors(config.model.name, "model"):  # its first passes show what its settings are worth
            trial.check_positions(self.model, self.tokenizer, self.collate, config.model.max_length)
            if config.train.fast:
                accelerate_training(self.model)
            check_dropout(self.model, self.collate([example]), config, self._notice)
        self._has_unused_parameters = processes.world_size() > 1 and has_unused_parameters(
            self.model, self.collate([example])
        )
        segments = self.datasets["train"].tokens.type_ids is not None
        works = try_first_step(
            self.model, self.tokenizer, config, self.device, self.precision, segments=segments, notice=self._notice
        )
        self.config, self.precision, self.collate = works.config, works.precision, works.collate
        self.by_exact_length, self.fallbacks = works.by_exact_length, works.fallbacks
        self.stopper = StopOnSignal(self.observer)

    def _pad_token_id(self) -> int:
        """The tokenizer's; a resumed run keeps the one it began with, by which RoBERTa counts its positions."""
        model = self._recorded.get("model")
        recorded = (model.get("config") or {}).get("pad_token_id") if isinstance(model, dict) else None
        return recorded if isinstance(recorded, int) else int(self.tokenizer.pad_token_id)

    def _notice(self, message: str) -> None:
        """Tell the observer, once."""
        if message not in self._said:
            self._said.add(message)
            self.observer.notice(message)

    def _settle_threads(self) -> torch_threads.Threads:
        recorded = self._recorded.get("threads")
        return torch_threads.settle(
            self.device,
            resume=self.resume,
            recorded=recorded if isinstance(recorded, int) else None,  # runs of earlier versions do not say
            notice=self.observer.notice,
        )

    def _load_data(self) -> Prepared:
        """The configured data; to resume, the prepared copy where the source is out of reach from here."""
        if self._recorded and not is_local(self.config.data.source):
            folder = Path(str(self._recorded.get("prepared")))
            if is_prepared(folder):
                return load_prepared(folder)
        data = prepare_data(self.config, columns=self._recorded.get("columns"), on_progress=self.observer.stage)
        if not self.resume:
            check_rejects(data, self.config)
        return data

    def _tokens(self, split: str) -> Tokens:
        return self.data.tokens(split, self.tokenizer, max_length=self.config.model.max_length)

    def trainer(self) -> RDropTrainer:
        """The trainer with everything that happens around it."""
        config = self.config
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(self.run / layout.TENSORBOARD)
        callbacks: list[Any] = [
            ObserveTraining(self.observer, self.run / layout.HISTORY),
            KeepBest(self._export),
            make_diagnosis(config, self.data, self.model.config, self.observer.notice),
        ]
        if config.train.early_stopping.patience:
            stopping = config.train.early_stopping
            callbacks.append(EarlyStoppingCallback(stopping.patience, stopping.threshold))
        callbacks.append(self.stopper)
        trainer_class = ExactLengthTrainer if self.by_exact_length else RDropTrainer
        trainer = trainer_class(
            model=self.model,
            args=training_arguments(
                config, self.run, self.device, self.precision, unused_parameters=self._has_unused_parameters
            ),
            train_dataset=self.datasets["train"],
            eval_dataset=self.datasets["validation"].by_length(),
            processing_class=self.tokenizer,
            data_collator=self.collate,
            compute_metrics=validation_metrics,
            callbacks=callbacks,
            alpha=config.rdrop.alpha,
            label_smoothing=config.train.label_smoothing,
            ce_reduction=config.rdrop.ce_reduction,
            passes=config.rdrop.passes,
            group_by_length=config.train.group_by_length,
            auto_micro_batch=config.train.micro_batch_size == "auto",
            on_micro_batch=self.observer.micro_batch,
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    def start(self) -> TrainingResult:
        """Train, then measure the best epoch's model on train (a sample), validation and, once, test.

        Raises:
            TrainingInterrupted: stopped by a signal, after saving a checkpoint.
            ModelError: the loss became infinite or no number, or memory ran out.
            StorageError: something cannot be written. What was saved before is kept, also then.
        """
        with map_failures(self.run, self.device):
            return self._start()

    def _start(self) -> TrainingResult:
        begin = processes.broadcast(self._open_run() if processes.is_main_process() else Start())
        checkpoint = begin.checkpoint
        trainer = self.trainer()
        trainer.damaged = begin.damaged.keys()
        self.observer.plan(self.plan(begin.step))
        for path, fault in begin.damaged.items():
            self.observer.notice(f"{path} is passed over: {fault}")
        if checkpoint is not None:
            for row in map(history_row, log_history(checkpoint)):
                if "validation_accuracy" in row:
                    self.observer.log(row)
        set_seed(processes.own_seed(self.config.train.seed))  # or all would draw the same dropout masks
        began = time.perf_counter()
        if checkpoint is None or not has_ended(checkpoint):
            if checkpoint is not None:
                check_random_state(self.device.type, self.observer.notice)
            with self.stopper.listening():
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            state = trainer.state
        else:
            state = trainer.state = trainer.state.load_from_json(str(checkpoint / STATE))
            if processes.is_main_process():
                trainer.remove_old(checkpoint.parent)  # it was stopped before it came to that
        seconds = time.perf_counter() - began
        if self.stopper.agree():  # also asked during the last evaluation
            raise TrainingInterrupted(
                f"Stopped at step {state.global_step:,} of {state.max_steps:,} and saved",
                f"Resume with: {layout.resume_command(self.run)}",
            )
        steps = state.global_step - begin.step
        if processes.is_main_process() and not (self.run / layout.BEST).is_dir():
            self._export(state.global_step)  # the metric was undefined at every evaluation
        processes.barrier()
        trainer.release()  # the best model is loaded beside it
        metrics, test = measure_best(self.config, self.data, self.datasets, self.run, self.observer, self._notice)
        result = TrainingResult(
            run=self.run,
            checkpoint=self.run / layout.BEST,
            metrics=metrics,
            seconds=seconds,
            examples_per_second=steps * len(self.datasets["train"]) / (self.steps_in_epoch * seconds),
            steps=state.global_step,
            first_step=begin.step,
            best_epoch=(state.best_global_step or state.global_step) / self.steps_in_epoch,
        )
        if processes.is_main_process():
            self._record(result, test)
        return result

    def _record(self, result: TrainingResult, test: Predictions | None) -> None:
        """Write what makes the run a finished one."""
        cost = {
            "seconds": result.seconds,
            "wall_seconds": time.perf_counter() - self._began,
            "examples_per_second": result.examples_per_second,
            "steps": result.steps,
            "resumed_from_step": result.first_step or None,
            "best_epoch": result.best_epoch,
            "device": devices.describe(self.device),
            "threads": self.threads.count,
            "threads_reason": self.threads.reason,
            "versions": library_versions(),
        }
        save_outputs(self.run, test, cost)
        write_text(
            result.checkpoint / "README.md",
            model_card(self.config, self.data.labels.names, data_record(self.data), result.metrics),
        )
        write_text(self.run / layout.METRICS, json.dumps(result.metrics, indent=2) + "\n")

    def _open_run(self) -> Start:
        """Make or check the run folder; where to begin."""
        record = {
            "model": self.model_record,
            "device": self.device.type,
            "threads": self.threads.count,
            "fallbacks": self.fallbacks,
        }
        if self.resume:
            return resume_run(self.run, self.config, self.data, record, self._notice)
        return begin_run(self.run, self.config, self.data, record, overwrite=self.overwrite)

    def _export(self, step: int) -> None:
        checkpoint = self.run / layout.CHECKPOINTS / f"checkpoint-{step}"
        export_best(checkpoint, self.config, self.data, self.run / layout.BEST)

    def plan(self, first_step: int = 0) -> TrainingPlan:
        """What is going to happen; `first_step` steps are done."""
        train = self.config.train
        return TrainingPlan(
            run=self.run,
            model=self.config.model.name,
            data=self.config.data.source,
            device=devices.describe(self.device),
            precision=self.precision,
            parameters=sum(parameter.numel() for parameter in self.model.parameters()),
            examples={name: len(split) for name, split in self.data.splits.items()},
            epochs=train.epochs,
            steps=self.steps_in_epoch * train.epochs,
            first_step=first_step,
            batch_size=train.batch_size,
            micro_batch_size=train.micro_batch_size,
            alpha=self.config.rdrop.alpha,
            ce_reduction=self.config.rdrop.ce_reduction,
            label_smoothing=train.label_smoothing,
            metric=train.metric,
            columns=self.data.columns,
            classes=audit.class_balance(self.data.splits["train"].labels.tolist(), self.data.labels),
            data_notes=data_notes(self.data),
        )

    @property
    def steps_in_epoch(self) -> int:
        """Optimizer steps in one epoch; the last may have fewer examples."""
        return -(-len(self.datasets["train"]) // self.config.train.batch_size)
