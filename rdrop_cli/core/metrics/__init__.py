"""Metrics of predictions, their intervals and tests. Imports nothing else of rdrop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdrop_cli.core.metrics.classification import classification_metrics as classification_metrics


def __getattr__(name: str) -> Any:
    """`classification_metrics`, loaded when it is asked for."""
    if name == "classification_metrics":
        from rdrop_cli.core.metrics.classification import classification_metrics

        return classification_metrics
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
