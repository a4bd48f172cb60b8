"""How a checkpoint is loaded to predict, as one value that can also be sent to another process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rdrop_cli.core.inference.backends.choice import open_classifier
from rdrop_cli.core.progress import Notice, Progress, no_notice, no_progress

if TYPE_CHECKING:
    from rdrop_cli.core.inference.backends.base import BackendChoice
    from rdrop_cli.core.inference.classifier import Classifier
    from rdrop_cli.core.runs.checkpoint import Checkpoint
    from rdrop_cli.schema import Precision


@dataclass(frozen=True)
class LoadOptions:
    """The settings of `open_classifier`, and of the threshold.

    Attributes:
        threshold: In the place of the one that is saved with the checkpoint; `none`: the most probable class is
            predicted; None: the saved one.
    """

    backend: BackendChoice = "auto"
    precision: Precision | None = None
    device: str = "auto"
    batch_size: int | None = None
    trust_remote_code: bool = False
    many_texts: bool = True
    threshold: float | Literal["none"] | None = None

    def open(
        self,
        checkpoint: Checkpoint,
        *,
        notice: Notice = no_notice,
        on_progress: Progress = no_progress,
    ) -> Classifier:
        """Load a checkpoint.

        Raises:
            RDropError: what `open_classifier` raises.
            ConfigError: a threshold for other than two classes.
        """
        classifier = open_classifier(
            checkpoint,
            backend=self.backend,
            many_texts=self.many_texts,
            precision=self.precision,
            device=self.device,
            batch_size=self.batch_size,
            trust_remote_code=self.trust_remote_code,
            set_threads=True,
            notice=notice,
            on_progress=on_progress,
        )
        if self.threshold is not None:
            classifier.move_threshold(None if self.threshold == "none" else self.threshold)
        return classifier
