"""Compare two checkpoints on the same examples: paired bootstrap of the differences, and McNemar's exact test."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.metrics.bootstrap import METRICS, Interval, interval, p_value, weakness
from rdrop_cli.core.metrics.classification import classification_metrics
from rdrop_cli.core.metrics.significance import McNemar, mcnemar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from rdrop_cli.core.metrics.predictions import Predictions


@dataclass(frozen=True)
class CheckpointDifference:
    """The first checkpoint's metric minus the second's.

    Attributes:
        difference: None if the metric is undefined.
        p_value: Two-sided: McNemar's for accuracy, the paired bootstrap's for the others; None if there are too few
            examples for that.
    """

    difference: float | None
    interval: Interval
    p_value: float | None


@dataclass(frozen=True)
class HeadToHead:
    """Two checkpoints compared.

    Attributes:
        metrics: Those of each checkpoint, as `classification_metrics` gives them.
        gaps: By metric.
    """

    metrics: tuple[dict[str, Any], dict[str, Any]]
    gaps: dict[str, CheckpointDifference]
    mcnemar: McNemar

    def as_dict(self) -> dict[str, Any]:
        """The part of the `--json` document about the second checkpoint."""
        return {
            "metrics": self.metrics[1],
            "differences": {
                name: {
                    "difference": gap.difference,
                    "interval": [gap.interval.low, gap.interval.high],
                    "p_value": gap.p_value,
                }
                for name, gap in self.gaps.items()
            },
            "mcnemar": asdict(self.mcnemar),
        }


def head_to_head(
    first: Predictions, second: Predictions, drawn: dict[str, NDArray[np.float64]], *, positive: int = 1
) -> HeadToHead:
    """Compare two checkpoints.

    Args:
        first: The first checkpoint's predictions.
        second: The second's, for the same examples in the same order.
        drawn: Both checkpoints' metrics on resamples, as `resample` gives them.
        positive: The positive class's id; with two classes only.
    """
    own, other = (
        classification_metrics(model.labels, model.probabilities, positive=positive) for model in (first, second)
    )
    is_weak = weakness([first, second]) is not None
    test = mcnemar(*(model.probabilities.argmax(axis=1) == model.labels for model in (first, second)))
    gaps = {}
    for name in METRICS:
        resampled = drawn[name][0] - drawn[name][1]
        gaps[name] = CheckpointDifference(
            None if own[name] is None or other[name] is None else own[name] - other[name],
            interval(resampled),
            test.p_value if name == "accuracy" else None if is_weak else p_value(resampled),
        )
    return HeadToHead((own, other), gaps, test)
