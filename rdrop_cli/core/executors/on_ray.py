"""Train jobs as tasks of a Ray cluster, whose nodes need not share a file system."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli import threads
from rdrop_cli.core.data.prepare import prepare_data
from rdrop_cli.core.executors import ray_capacity, ray_cluster
from rdrop_cli.core.executors.archive import pack, unpack
from rdrop_cli.core.executors.base import Job, JobResult
from rdrop_cli.core.executors.messages import error_from_message, job_as_text, pass_on
from rdrop_cli.core.executors.ray_progress import ProgressOfRuns
from rdrop_cli.core.executors.ray_task import train_job
from rdrop_cli.core.executors.training import check_data
from rdrop_cli.core.model.locate import fetch_model, locate_model
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.claim import claim_run
from rdrop_cli.core.storage.files import unwritable, writing_folder
from rdrop_cli.core.storage.lock import LOCK
from rdrop_cli.errors import DataError, ProcessLost, RDropError, TrainingInterrupted, one_line

if TYPE_CHECKING:
    from rdrop_cli.core.training.observer import Observer
    from rdrop_cli.schema import Config

_LOST_NODES = 5
"""How often Ray repeats a task whose worker or node is lost."""
_MOMENT = 0.5
_OF_MODELS = {".json", ".txt", ".model", ".jinja", ".py", ".safetensors"}
"""Configuration, tokenizer and weights, as they are downloaded from the hub."""


@dataclass
class _Task:
    job: Job
    observer: Observer
    answer: Any


class RayTasks:
    """An executor on a Ray cluster.

    Args:
        address: HOST:PORT; None: RAY_ADDRESS, else a Ray on this machine.
        cpus: CPUs of each run; also its threads, unless --threads or OMP_NUM_THREADS says how many it has.
        gpus: GPUs of each run, or the share of one; None: one if the cluster has any, else none.
    """

    in_process = False
    is_here = False
    saves = False

    def __init__(self, address: str | None, cpus: int = 1, gpus: float | None = None) -> None:
        self.address = address
        self.cpus = cpus
        self.gpus = gpus
        self.threads = threads.requested_threads() or cpus
        self._ray: Any = None
        self._progress: ProgressOfRuns | None = None
        self._tasks: dict[Path, _Task] = {}
        self._sent: dict[tuple[str, ...], Any] = {}
        self._stopped: list[JobResult] = []
        self._has_room = True

    def open(self) -> None:
        """Connect, and check the nodes' versions and what the cluster can run.

        Raises:
            ConfigError: Ray is missing or does not answer, versions differ, or no node is large enough.
        """
        ray_capacity.check_gpus(self.gpus, "--gpus-per-run")
        self._ray = ray_cluster.require_ray()
        ray_cluster.connect(self.address)
        if self.gpus is None:
            self.gpus = 1.0 if any(node.get("GPU") for node in self._nodes()) else 0.0
        if not self.slots():
            raise ray_capacity.no_room(self.cpus, self.gpus, self._nodes(), "run")
        self._progress = ProgressOfRuns(self._ray)
        ray_cluster.check_versions()
        self._progress.wait_for_start()
        self._train = self._ray.remote(
            num_cpus=self.cpus, num_gpus=self.gpus, max_retries=_LOST_NODES, retry_exceptions=False, max_calls=1
        )(train_job)

    def slots(self) -> int:
        """How many runs the nodes that are there can train at the same time."""
        assert self.gpus is not None, "it has not been opened"
        return ray_capacity.room(self.cpus, self.gpus, self._nodes())

    def submit(self, job: Job, observer: Observer) -> None:
        """Send the job to the cluster; model and data only once.

        Raises:
            DataError: the data has changed.
            RDropError: the model or the data cannot be read.
        """
        model, prepared, recorded = self._inputs(job)
        begun = None
        if (job.folder / layout.CONFIG).is_file():
            begun = self._ray.put(_pack(job.folder, lambda path: path.name != LOCK))
        assert self.gpus is not None and self._progress is not None
        answer = self._train.options(name=job.name).remote(
            job_as_text(job), self.threads, self.gpus, model, prepared, begun, recorded, self._progress.collector
        )
        self._tasks[job.folder] = _Task(job, observer, answer)

    def poll(self) -> list[JobResult]:
        """Wait for a moment, and put the runs that have come back in their place."""
        ended, self._stopped = self._stopped, []
        by_answer = {task.answer: task for task in self._tasks.values()}
        if by_answer:
            self._tell_of_room()
            self._tell_progress()
            ready, _ = self._ray.wait(list(by_answer), num_returns=1, timeout=_MOMENT)
            for answer in ready:
                task = by_answer[answer]
                del self._tasks[task.job.folder]
                ended.append(JobResult(task.job, self._receive(task)))
        elif not ended:
            time.sleep(_MOMENT)  # no node has room for the next run
        return ended

    def _tell_of_room(self) -> None:
        """Say once if the nodes that are left cannot train a run, since Ray then waits for others."""
        had_room, self._has_room = self._has_room, self.slots() > 0
        if had_room and not self._has_room:
            task = next(iter(self._tasks.values()))
            task.observer.notice("No node of the Ray cluster has room for a run; the comparison waits for one")

    def _tell_progress(self) -> None:
        observers = {str(folder): task.observer for folder, task in self._tasks.items()}
        assert self._progress is not None
        for run, message in self._progress.take():
            if run in observers:
                pass_on(message, observers[run])

    def cancel(self) -> None:
        """End the tasks. What they have done is lost, since it is on the nodes; finished runs are here."""
        for task in self._tasks.values():
            self._ray.cancel(task.answer, force=True)
            self._stopped.append(JobResult(task.job, TrainingInterrupted(f"{task.job.name}: stopped")))
        self._tasks.clear()

    def close(self) -> None:
        """End the tasks, and disconnect."""
        if self._ray is not None:
            with contextlib.suppress(self._ray.exceptions.RayError):
                self.cancel()
        self._sent.clear()
        ray_cluster.shutdown()

    def _nodes(self) -> list[dict[str, float]]:
        """The resources of the nodes that are there."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _inputs(self, job: Job) -> tuple[Any, Any, str]:
        """Model and data in the cluster's object store, and where the data is here."""
        data = prepare_data(job.config)
        check_data(job, data.fingerprint)
        assert data.folder is not None
        folder = data.folder
        return self._put(_model_folder(job.config), _is_of_model), self._put(folder, _is_file), str(folder.resolve())

    def _put(self, folder: Path, wanted: Any) -> Any:
        key = (str(folder.absolute()),)
        if key not in self._sent:
            self._sent[key] = self._ray.put(_pack(folder, wanted))
        return self._sent[key]

    def _receive(self, task: _Task) -> RDropError | None:
        """Put a finished run in its place; or the reason why there is none."""
        try:
            reply = self._ray.get(task.answer)
        except (self._ray.exceptions.WorkerCrashedError, self._ray.exceptions.NodeDiedError):
            return ProcessLost(
                f"{task.job.name}: its worker or node was lost {_LOST_NODES + 1} times",
                "Run the same command to resume.",
            )
        except self._ray.exceptions.RayError as error:
            return ProcessLost(f"{task.job.name}: {one_line(error)}", "Run the same command to resume.")
        for kind, value in reply["notices"]:
            getattr(task.observer, "micro_batch" if kind == "micro_batch" else "notice")(value)
        if "error" in reply:
            return error_from_message(reply)
        try:
            _land(task.job, reply["folder"])
        except RDropError as error:
            return error
        return None


def _land(job: Job, content: bytes) -> None:
    """Write a finished run beside its place, and rename it.

    Raises:
        CheckpointError: another process is writing to the folder.
        DataError: what was received is damaged.
        StorageError: it cannot be written.
    """
    with claim_run(job.folder, job.config), writing_folder(job.folder) as staging:
        unpack(content, staging)
        if not (staging / layout.METRICS).is_file():
            raise DataError(f"{job.name}: the run that was received is not finished")


def _model_folder(config: Config) -> Path:
    return Path(fetch_model(locate_model(config.model, config.hub), config.model.revision))


def _pack(folder: Path, wanted: Any) -> bytes:
    try:
        return pack(folder, [path for path in folder.rglob("*") if path.is_file() and wanted(path)])
    except OSError as error:
        raise unwritable(folder, error) from error


def _is_of_model(path: Path) -> bool:
    return path.suffix in _OF_MODELS


def _is_file(path: Path) -> bool:
    return path.is_file()
