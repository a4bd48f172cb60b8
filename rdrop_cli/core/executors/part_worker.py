"""Predicts parts on a node of a Ray cluster. Imports nothing heavy before the number of threads is set."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli import threads
from rdrop_cli.core.storage.files import staging_of
from rdrop_cli.errors import CheckpointError, DataError, RDropError

if TYPE_CHECKING:
    from rdrop_cli.core.inference.load_options import LoadOptions
    from rdrop_cli.core.inference.part_prediction import PartPredictor, PartReading
    from rdrop_cli.core.inference.part_records import PartRecord
    from rdrop_cli.core.inference.parts import Part, Parts
    from rdrop_cli.core.runs.checkpoint import Checkpoint

NAME = "part"
"""A file whose hidden name while it is being written is told, as an example."""


@dataclass(frozen=True)
class WorkerReady:
    """What a worker that has loaded the checkpoint says of itself.

    Attributes:
        settings: What its predictions depend on.
        staging: The hidden name under which it would write a file called `NAME`.
        node: The name of its machine.
        notices: What loading the checkpoint had to say.
    """

    settings: dict[str, Any]
    staging: str
    node: str
    notices: tuple[str, ...]


class PartWorker:
    """Keeps a checkpoint loaded, and predicts one part after the other.

    Expected errors are returned, not raised, so that they reach the other side as they are.

    Args:
        cpus: The number of threads.
        has_gpu: False: hide the GPUs of the node.
    """

    def __init__(self, cpus: int, has_gpu: bool) -> None:
        threads.let_waiting_threads_sleep()
        threads.set_thread_limits(cpus)
        if not has_gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        self._predictor: PartPredictor | None = None

    def open(
        self, checkpoint: Checkpoint, load_options: LoadOptions, parts: Parts, reading: PartReading
    ) -> WorkerReady | RDropError:
        """Load the checkpoint.

        Args:
            parts: Their folders, as absolute paths.
        """
        from rdrop_cli.core.inference.part_prediction import PartPredictor

        notices: list[str] = []
        try:
            self._look_for(Path(checkpoint.name), parts.root)
            classifier = load_options.open(checkpoint, notice=notices.append)
            self._predictor = PartPredictor(classifier, checkpoint, parts, reading)
        except RDropError as error:
            return error
        return WorkerReady(self._predictor.settings, staging_of(Path(NAME)).name, platform.node(), tuple(notices))

    def predict(self, part: Part) -> PartRecord | RDropError:
        """Predict a part, and record that it is finished."""
        assert self._predictor is not None
        try:
            return self._predictor.predict(part)
        except RDropError as error:
            return error

    def _look_for(self, checkpoint: Path, root: Path) -> None:
        shared = "The nodes need a file system that they share with this machine."
        if checkpoint.is_absolute() and not checkpoint.is_dir():
            raise CheckpointError(f"{checkpoint}: is not there on Ray node {platform.node()}", shared)
        if not root.is_dir():
            raise DataError(f"{root}: is not there on Ray node {platform.node()}", shared)
