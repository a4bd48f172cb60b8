"""Send a training's curves and results to Weights & Biases and MLflow, through transformers' integrations.

TensorBoard's files are written by the Trainer itself, since they need no run on a server.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from transformers import TrainerCallback

from rdrop_cli import processes
from rdrop_cli.config import KEYED_BY_DATA, flatten
from rdrop_cli.core.runs.trackers import TrackerProgress, load_sent, save_sent
from rdrop_cli.core.storage.addresses import without_password
from rdrop_cli.core.storage.extras import TRACKERS
from rdrop_cli.errors import one_line

if TYPE_CHECKING:
    from rdrop_cli.schema import Config

PROJECT = "rdrop"
"""The project or experiment, unless WANDB_PROJECT or MLFLOW_EXPERIMENT_NAME names another."""


class _Tracker(Protocol):
    """One tracker. Any of these may raise whatever its library raises."""

    callback: TrainerCallback
    """Transformers' integration, once the run has begun."""

    def begin(self, run_id: str | None, name: str, config: Mapping[str, Any]) -> tuple[str, str]:
        """Begin a run, or continue the one with an id; return its id and where it can be seen."""

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Send the final metrics."""

    def end(self, *, completed: bool) -> None:
        """Send what is left, and end the run."""


class _Wandb:
    callback: TrainerCallback

    def begin(self, run_id: str | None, name: str, config: Mapping[str, Any]) -> tuple[str, str]:
        import wandb
        from transformers.integrations import WandbCallback
        from transformers.integrations.integration_utils import rewrite_logs

        class WithSteps(WandbCallback):
            """Numbers its entries by training step, so that those of a resumed training follow the earlier ones."""

            def on_log(
                self, args: Any, state: Any, control: Any, model: Any = None, logs: Any = None, **_: Any
            ) -> None:
                entry = rewrite_logs({key: value for key, value in logs.items() if key not in _TOTALS})
                wandb.log({**entry, "train/global_step": state.global_step}, step=state.global_step)

        # Neither prompts nor messages: they would break the live view, and stdout is for results.
        settings = wandb.Settings(silent=True, console="off")
        wandb.setup(settings=settings)
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        self._run = wandb.init(
            project=project, id=run_id, name=name, resume="allow", config=dict(config), settings=settings,
            reinit="finish_previous",  # else a run that could not be ended would take the entries of the next one
        )  # fmt: skip
        self._finish = wandb.finish
        self.callback = WithSteps()
        offline = f"offline; to upload it: wandb sync {self._run.settings.sync_dir}"
        return str(self._run.id), offline if self._run.offline else str(self._run.url)

    def finish(self, metrics: Mapping[str, float]) -> None:
        self._run.summary.update(dict(metrics))

    def end(self, *, completed: bool) -> None:
        self._finish(exit_code=0 if completed else 1)


class _MLflow:
    callback: TrainerCallback

    def begin(self, run_id: str | None, name: str, config: Mapping[str, Any]) -> tuple[str, str]:
        # Several retries of the default would hold up a training for minutes when no server answers.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        import mlflow
        from transformers.integrations import MLflowCallback

        for name_of in ("mlflow", "alembic"):  # about the tables of a new database, for instance
            logging.getLogger(name_of).setLevel(logging.ERROR)

        class WithRun(MLflowCallback):
            """Takes the run that has begun; the settings are in it already."""

            def setup(self, args: Any, state: Any, model: Any) -> None:
                self._async_log = True
                self._initialized = True

        if run_id is None:
            mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT))
        run = mlflow.start_run(run_id=run_id, run_name=name if run_id is None else None)
        self._mlflow = mlflow
        if run_id is None:
            mlflow.log_params(_parameters(config))
        self.callback = WithRun()
        where = without_password(mlflow.get_tracking_uri())
        return str(run.info.run_id), f"experiment {run.info.experiment_id} in {where}"

    def finish(self, metrics: Mapping[str, float]) -> None:
        self._mlflow.log_metrics(dict(metrics), synchronous=True)

    def end(self, *, completed: bool) -> None:
        try:
            self._mlflow.flush_async_logging()
        finally:  # or the next run of this process would be refused
            self._mlflow.end_run("FINISHED" if completed else "KILLED")


_TRACKERS: dict[str, Callable[[], _Tracker]] = {"wandb": _Wandb, "mlflow": _MLflow}
_TOTALS = {"train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss", "total_flos"}
"""What the Trainer logs at its end, about one session only."""


class Trackers(TrainerCallback):
    """The trackers that a run reports to. Whatever goes wrong with one of them is said once, and training continues.

    Use it as a callback, and as a context manager around training and final evaluation. It does nothing in processes
    other than the main one.

    Args:
        run: The run folder; its name is the run's name in the trackers.
        notice: Called with one line about where a run can be seen, and about what goes wrong.
    """

    def __init__(self, config: Config, run: Path, notice: Callable[[str], None]) -> None:
        names = [name for name in config.train.report_to if name in TRACKERS] if processes.is_main_process() else []
        self._config, self._run, self._notice = config, run, notice
        self._names = names
        self._open: dict[str, _Tracker] = {}
        self._sent: dict[str, TrackerProgress] = {}
        self._before: dict[str, dict[str, int]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._open:
            name, tracker = self._open.popitem()
            with self._guarded(name):
                tracker.end(completed=error is None)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._begin()
        for name, tracker in list(self._open.items()):
            with self._guarded(name):
                tracker.callback.on_train_begin(args, state, control, **kwargs)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        kind = _kind(logs)
        if kind is None:
            return
        for name, tracker in list(self._open.items()):
            if state.global_step <= self._before[name].get(kind, -1):
                continue  # an earlier session was killed after it had sent this
            with self._guarded(name):
                self._sent[name].steps[kind] = state.global_step
                save_sent(self._run, self._sent)  # first: rather an entry too few after a kill than one twice
                tracker.callback.on_log(args, state, control, logs=dict(logs), **kwargs)

    def finish(self, metrics: Mapping[str, Mapping[str, Any]]) -> None:
        """Send the metrics of the finished run, such as `test/f1`, unless an earlier session has."""
        self._begin()
        final = {
            f"{split}/{name}": float(value)
            for split, values in metrics.items()
            for name, value in values.items()
            if isinstance(value, int | float) and not isinstance(value, bool)
        }
        for name, tracker in list(self._open.items()):
            if self._sent[name].is_complete:
                continue
            with self._guarded(name):
                tracker.finish(final)
                self._sent[name].is_complete = True
                save_sent(self._run, self._sent)

    def _begin(self) -> None:
        """Begin the runs, unless that has been done."""
        if not self._names:
            return
        names, self._names = self._names, []
        self._sent = load_sent(self._run)
        for name in names:
            sent = self._sent.setdefault(name, TrackerProgress())
            self._before[name] = dict(sent.steps)
            with self._guarded(name):
                tracker, done = _TRACKERS[name](), "began" if sent.id is None else "continues"
                self._open[name] = tracker
                sent.id, where = tracker.begin(sent.id, _run_name(self._run), self._config.model_dump())
                save_sent(self._run, self._sent)
                self._notice(f"{name}: {done} run {sent.id} ({where})")

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """If something with a tracker fails, say so, end its run and use it no more."""
        try:
            yield
        except Exception as error:  # the library's, its server's or the network's: none may end a training
            if tracker := self._open.pop(name, None):
                with suppress(Exception):  # it may not have begun, and the first error is the one to report
                    tracker.end(completed=False)
            cause = " ".join(without_password(word) for word in one_line(error).split())
            self._notice(f"{name}: {cause}; the training continues without it")


def _kind(logs: Mapping[str, Any] | None) -> str | None:
    """What kind of entry this is; None: nothing that is sent."""
    if not logs or _TOTALS & logs.keys():
        return None
    return "validation" if any(key.startswith("eval_") for key in logs) else "train"


def _parameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as MLflow's parameters, whose names cannot be all that classes are called."""
    return {
        key: json.dumps(value, ensure_ascii=False) if key in KEYED_BY_DATA and isinstance(value, dict) else value
        for key, value in flatten(dict(config)).items()
    }


def _run_name(run: Path) -> str:
    """The folder's name; with the arm's, for a run of a comparison."""
    return f"{run.parent.name}/{run.name}" if re.fullmatch(r"seed\d+", run.name) else run.name
