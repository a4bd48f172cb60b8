"""A Transformers Trainer with the R-Drop loss. Knows nothing of configurations, data files or run folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdrop_cli.core.trainer.rdrop_trainer import RDropTrainer as RDropTrainer


def __getattr__(name: str) -> Any:
    """`RDropTrainer`, loaded when it is asked for."""
    if name == "RDropTrainer":
        from rdrop_cli.core.trainer.rdrop_trainer import RDropTrainer

        return RDropTrainer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
