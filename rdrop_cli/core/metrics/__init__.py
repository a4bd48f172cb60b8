"""Metrics of predictions, their intervals and tests. Imports no other part of rdrop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdrop_cli.core.metrics.classification import classification_metrics as classification_metrics


def __getattr__(name: str) -> Any:
    """Import `classification_metrics` on first access."""
    if name == "classification_metrics":
        from rdrop_cli.core.metrics.classification import classification_metrics

        return classification_metrics
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
