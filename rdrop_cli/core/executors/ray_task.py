"""What a Ray node does for a run: it trains it in a process of its own, in a temporary folder, and sends it back.

Imports nothing heavy: the process of the training does.
"""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.executors.archive import pack, unpack
from rdrop_cli.core.executors.messages import error_as_message, job_from_text
from rdrop_cli.core.executors.ray_progress import ProgressOfRun
from rdrop_cli.core.executors.worker_process import MORE_TRIES, WorkerProcess, environment
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.record import read_record
from rdrop_cli.core.storage import integrity
from rdrop_cli.core.storage.files import write_text
from rdrop_cli.core.storage.lock import LOCK
from rdrop_cli.errors import ModelError, RDropError, StorageError

if TYPE_CHECKING:
    from rdrop_cli.core.executors.base import Job

_STAYS = (layout.CHECKPOINTS, LOCK)
"""What is not sent back."""


def train_job(
    text: str,
    threads: int,
    gpus: float,
    model: bytes,
    prepared: bytes,
    begun: bytes | None,
    recorded: str,
    collector: Any = None,
) -> dict[str, Any]:
    """Train a run and return its folder, without checkpoints.

    Args:
        text: The job, as `job_as_text` gives it; its folders are those of the driver.
        gpus: How many this task was given; 0: the run is trained on the CPU.
        model: The base model's folder, packed.
        prepared: The prepared data, packed.
        begun: The run folder, packed, if the run is to be resumed.
        recorded: Where the driver has the prepared data, as the run is to record it.
        collector: The actor that collects progress.

    Returns:
        `notices`, and either `folder` (bytes) or the fields of `error_as_message`.
    """
    notices: list[list[Any]] = []
    try:
        with TemporaryDirectory(prefix="rdrop-") as place:
            here = Path(place)
            for name, content in (("model", model), ("prepared", prepared), ("run", begun)):
                if content is not None:
                    unpack(content, here / name)
            job = job_from_text(text)
            progress = ProgressOfRun(str(job.folder), collector)
            job = replace(job, folder=here / "run", model=here / "model", prepared=here / "prepared")
            variables = environment(threads) if gpus else environment(threads, CUDA_VISIBLE_DEVICES="")
            failure = _train(job, variables, notices, progress)
            if failure is not None:
                return {"notices": notices, **failure}
            _record_place(job.folder, recorded)
            files = [path for path in job.folder.rglob("*") if path.is_file() and _is_sent(path, job.folder)]
            return {"notices": notices, "folder": pack(job.folder, files)}
    except OSError as error:
        fault = StorageError(f"{error.filename or 'a file'}: {error.strerror or error}")
        return {"notices": notices, **_on_this_node(error_as_message(fault))}
    except RDropError as error:
        return {"notices": notices, **_on_this_node(error_as_message(error))}


def _train(
    job: Job, variables: dict[str, str], notices: list[list[Any]], progress: ProgressOfRun
) -> dict[str, Any] | None:
    """Train a job, again if its process is killed; the message of its failure, or None."""
    for _ in range(MORE_TRIES + 1):
        process = WorkerProcess(variables)
        process.train(job)
        progress.begin()
        last: dict[str, Any] = {}
        for message in process.messages():
            if "event" not in message:
                last = message
                break
            if message["event"] in ("notice", "micro_batch"):
                notices.append([message["event"], *message["values"]])
            else:
                progress.pass_on(message)
        cause = process.wait()
        if last:
            return _on_this_node(last) if "error" in last else None
        notices.append(["notice", f"Its process on {platform.node()} {cause}"])
    return _on_this_node(error_as_message(ModelError(f"its process {cause}, {MORE_TRIES + 1} times")))


def _on_this_node(message: dict[str, Any]) -> dict[str, Any]:
    return {**message, "message": f"{message['message']} (on node {platform.node()})"}


def _record_place(run: Path, recorded: str) -> None:
    """Record the prepared data where the driver has it, as a run that was trained there does."""
    record = read_record(run)
    write_text(run / layout.DATA, integrity.with_checksum({**record, "prepared": recorded}))


def _is_sent(path: Path, folder: Path) -> bool:
    return path.relative_to(folder).parts[0] not in _STAYS
