"""A Transformers Trainer with the R-Drop loss. Independent of configurations, data files and run folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdrop_cli.core.trainer.rdrop_trainer import RDropTrainer as RDropTrainer


def __getattr__(name: str) -> Any:
    """Import `RDropTrainer` on first access."""
    if name == "RDropTrainer":
        from rdrop_cli.core.trainer.rdrop_trainer import RDropTrainer

        return RDropTrainer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
