"""Train a classifier from configuration to run folder."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import EarlyStoppingCallback, PrinterCallback, set_seed

from rdrop_cli import processes
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.best_model import is_raw, save_best
from rdrop_cli.core.runs.history import history_row
from rdrop_cli.core.trainer.exact_length_trainer import ExactLengthTrainer
from rdrop_cli.core.trainer.rdrop_trainer import RDropTrainer
from rdrop_cli.core.training.arguments import training_arguments
from rdrop_cli.core.training.callbacks import KeepBest, ObserveTraining, StopOnSignal
from rdrop_cli.core.training.diagnosis import make_diagnosis
from rdrop_cli.core.training.failures import map_failures
from rdrop_cli.core.training.final_evaluation import measure_best, validation_metrics
from rdrop_cli.core.training.observer import Observer
from rdrop_cli.core.training.result import TrainingResult, write_result
from rdrop_cli.core.training.resume import (
    ResumePoint,
    begin_run,
    check_random_state,
    has_ended,
    log_history,
    resume_run,
)
from rdrop_cli.core.training.set_up import LocalInputs, TrainingSetup, set_up_training
from rdrop_cli.core.training.trackers import Trackers
from rdrop_cli.errors import TrainingInterrupted

if TYPE_CHECKING:
    from rdrop_cli.core.data.dataset import Prepared
    from rdrop_cli.schema import Config


class TrainingRun:
    """A training from configuration to run folder. The constructor loads nothing; `set_up` loads and checks everything.

    Args:
        config: The resolved configuration.
        run: The run folder; it is created when training begins.
        resume: Resume from the run's newest intact checkpoint.
        overwrite: Remove a run that the folder contains when training begins.
        observer: Receives progress.
        inputs: Used instead of the configured data and model.
    """

    def __init__(
        self,
        config: Config,
        run: Path,
        *,
        resume: bool = False,
        overwrite: bool = False,
        observer: Observer | None = None,
        inputs: LocalInputs | None = None,
    ) -> None:
        self.config = config
        self.run = run
        self.resume = resume
        self.overwrite = overwrite
        self.observer = observer or Observer()
        self.inputs = inputs
        self.stopper = StopOnSignal(self.observer)
        self._ready: TrainingSetup | None = None
        self._began = 0.0
        self._said: set[str] = set()

    def set_up(self) -> TrainingSetup:
        """Load data and model and do everything that can fail early. Further calls return the same setup.

        `trainer` and `start` call it if necessary.

        Raises:
            RDropError: something is wrong with data, model or configuration.
        """
        if self._ready is None:
            self._began = time.perf_counter()
            self._ready = set_up_training(
                self.config,
                self.run,
                resume=self.resume,
                observer=self.observer,
                notice=self._notice,
                inputs=self.inputs,
            )
            self.run = self._ready.run  # with several processes, the main one chooses it
        return self._ready

    @property
    def data(self) -> Prepared:
        """The data; available after `set_up`."""
        return self._set_up_before().data

    @property
    def model_record(self) -> dict[str, Any]:
        """The model's part of the run's record; available after `set_up`."""
        return self._set_up_before().model_record

    def _set_up_before(self) -> TrainingSetup:
        if self._ready is None:
            raise RuntimeError("the training is not set up; call set_up() first")
        return self._ready

    def _notice(self, message: str) -> None:
        """Pass a message to the observer unless it was passed before."""
        if message not in self._said:
            self._said.add(message)
            self.observer.notice(message)

    def trainer(self, *, folder: Path | None = None, is_trial: bool = False) -> RDropTrainer:
        """The trainer with its callbacks.

        Args:
            folder: The folder to write to; None: the run folder.
            is_trial: Report to no tracker.
        """
        ready = self.set_up()
        config, run = ready.config, folder or ready.run
        if is_trial:
            config = config.model_copy(update={"train": config.train.model_copy(update={"report_to": []})})
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(run / layout.TENSORBOARD)
        callbacks: list[Any] = [
            ObserveTraining(self.observer, run / layout.HISTORY),
            KeepBest(partial(_save_best, ready, run)),
            make_diagnosis(config, ready.data, ready.class_weights, ready.model.config, self.observer.notice),
        ]
        if config.train.early_stopping.patience:
            stopping = config.train.early_stopping
            callbacks.append(EarlyStoppingCallback(stopping.patience, stopping.threshold))
        callbacks.append(self.stopper)
        trainer_class = ExactLengthTrainer if ready.by_exact_length else RDropTrainer
        trainer = trainer_class(
            model=ready.model,
            args=training_arguments(
                config, run, ready.device, ready.precision, unused_parameters=ready.has_unused_parameters
            ),
            train_dataset=ready.datasets["train"],
            eval_dataset=ready.datasets["validation"].by_length(),
            processing_class=ready.tokenizer,
            data_collator=ready.collate,
            compute_metrics=validation_metrics,
            callbacks=callbacks,
            alpha=config.rdrop.alpha,
            alpha_warmup=config.rdrop.alpha_warmup,
            two_passes=config.rdrop.two_passes,
            noise=config.rdrop.noise,
            ema=config.train.ema,
            label_smoothing=config.train.label_smoothing,
            ce_reduction=config.rdrop.ce_reduction,
            class_weights=list(ready.class_weights.values()) if ready.class_weights else None,
            auto_micro_batch=config.train.micro_batch_size == "auto",
            passes=config.rdrop.passes,
            group_by_length=config.train.group_by_length,
            on_micro_batch=self.observer.micro_batch,
        )
        trainer.remove_callback(PrinterCallback)
        return trainer

    def start(self) -> TrainingResult:
        """Train, then measure the best epoch's model on train (a sample), validation and, once, test.

        Raises:
            TrainingInterrupted: a signal stopped training, after saving a checkpoint.
            ModelError: the loss became infinite or NaN, or memory ran out.
            StorageError: a file cannot be written. Earlier checkpoints are kept.
        """
        ready = self.set_up()
        with (
            map_failures(ready.run, ready.device),
            Trackers(ready.config, ready.run, self.observer.notice) as trackers,
        ):
            return self._start(ready, trackers)

    def _start(self, ready: TrainingSetup, trackers: Trackers) -> TrainingResult:
        run = ready.run
        begin = processes.broadcast(self._open_run(ready) if processes.is_main_process() else ResumePoint())
        trainer = self.trainer()
        trainer.add_callback(trackers)
        trainer.damaged = begin.damaged.keys()
        self._announce(ready, begin)
        # Different in each process, or all would draw the same masks.
        set_seed(processes.own_seed(ready.config.train.seed))
        began = time.perf_counter()
        self._train(trainer, begin.checkpoint, ready.device.type)
        seconds, state = time.perf_counter() - began, trainer.state
        if self.stopper.agree():  # a signal may have arrived during the last evaluation
            raise TrainingInterrupted(
                f"Stopped at step {state.global_step:,} of {state.max_steps:,} and saved",
                f"Resume with: {layout.resume_command(run)}",
            )
        steps = state.global_step - begin.step
        if processes.is_main_process() and not is_raw(run / layout.BEST):
            # The metric was undefined at every evaluation; or an earlier session was killed after calibrating.
            _save_best(ready, run, state.best_global_step or state.global_step)
        processes.barrier()
        trainer.release()  # makes room for the best model, which is loaded next
        best = measure_best(ready.config, ready.data, ready.datasets, run, self.observer, self._notice)
        result = TrainingResult(
            run=run,
            checkpoint=run / layout.BEST,
            metrics=best.metrics,
            calibration=best.calibration,
            seconds=seconds,
            examples_per_second=steps * len(ready.datasets["train"]) / (ready.steps_in_epoch * seconds),
            steps=state.global_step,
            planned_steps=state.max_steps,
            first_step=begin.step,
            best_epoch=(state.best_global_step or state.global_step) / ready.steps_in_epoch,
        )
        trackers.finish(result.metrics)
        if processes.is_main_process():
            write_result(ready, result, best.predictions, time.perf_counter() - self._began)
        return result

    def _announce(self, ready: TrainingSetup, begin: ResumePoint) -> None:
        """Tell the observer what is going to be done, and what a resumed run has done."""
        self.observer.plan(ready.plan(begin.step))
        for path, fault in begin.damaged.items():
            self.observer.notice(f"{path} is skipped: {fault}")
        if begin.checkpoint is not None:
            for row in map(history_row, log_history(begin.checkpoint)):
                if "validation_accuracy" in row:
                    self.observer.log(row)

    def _train(self, trainer: RDropTrainer, checkpoint: Path | None, device: str) -> None:
        """Train to the end, from a checkpoint if there is one; nothing is left to do if it is that of the end."""
        if checkpoint is None or not has_ended(checkpoint):
            if checkpoint is not None:
                check_random_state(device, self.observer.notice)
            with self.stopper.listening():
                trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
            return
        trainer.state = trainer.state.load_from_json(str(checkpoint / layout.STATE))
        if processes.is_main_process():
            trainer.remove_old(checkpoint.parent)  # the session may have been killed before doing so

    def _open_run(self, ready: TrainingSetup) -> ResumePoint:
        """Start or resume the run folder, and return where to begin."""
        record = {
            "model": ready.model_record,
            "device": ready.device.type,
            "threads": ready.threads.count,
            "fallbacks": ready.fallbacks,
        }
        if self.resume:
            return resume_run(ready.run, ready.config, ready.data, record, self._notice)
        return begin_run(ready.run, ready.config, ready.data, record, overwrite=self.overwrite)


def _save_best(ready: TrainingSetup, run: Path, step: int) -> None:
    """Save the checkpoint of a step as the best model."""
    save_best(run / layout.CHECKPOINTS / f"checkpoint-{step}", ready.config, ready.data, run / layout.BEST)
