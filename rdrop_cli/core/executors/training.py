"""Train the run of a job, wherever this process is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rdrop_cli.core.model.memory import give_back_memory
from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.claim import claim_run
from rdrop_cli.core.runs.resolve import as_recorded
from rdrop_cli.core.training.run import TrainingRun
from rdrop_cli.core.training.set_up import LocalInputs
from rdrop_cli.errors import CheckpointError, DataError

if TYPE_CHECKING:
    from rdrop_cli.core.executors.base import Job
    from rdrop_cli.core.training.observer import Observer


def train(job: Job, observer: Observer) -> None:
    """Train or resume the run, if data and weights are those that the comparison began with.

    Raises:
        DataError: the data has changed.
        CheckpointError: the weights differ from those of another run.
        RDropError: as in training.
    """
    with claim_run(job.folder, job.config):
        resume = (job.folder / layout.CONFIG).is_file()
        config = as_recorded(job.folder, job.config)[0] if resume else job.config
        inputs = LocalInputs(job.model, job.prepared) if job.model and job.prepared else None
        training = TrainingRun(config, job.folder, resume=resume, observer=observer, inputs=inputs)
        training.set_up()
        check_data(job, training.data.fingerprint)
        check_weights(job, training.model_record.get("weights"))
        training.start()
        del training
        give_back_memory()


def check_data(job: Job, fingerprint: str) -> None:
    """Make sure that a run is trained with the data that the comparison began with.

    Raises:
        DataError: it has changed.
    """
    if fingerprint != job.fingerprint:
        raise DataError(
            f"{job.name}: the data has changed since this comparison began",
            "Restore the old data and run the same command to resume, or give the comparison another --out.",
        )


def check_weights(job: Job, weights: object) -> None:
    """Make sure that all runs of a model begin with the same weights, so that differences are due to the arms.

    Raises:
        CheckpointError: they differ.
    """
    if job.weights is not None and isinstance(weights, str) and weights != job.weights:
        raise CheckpointError(
            f"{job.name}: the weights of {job.config.model.name} differ from those that {job.first} began with",
            "Restore the old weights, or give the comparison another --out.",
        )
