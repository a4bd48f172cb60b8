"""rdrop: fine-tune transformer text classifiers with R-Drop (Liang et al. 2021, arXiv:2106.14448).

The names in `__all__` are imported on first access, because importing PyTorch takes seconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rdrop_cli.core.inference.predictor import load
    from rdrop_cli.core.loss import rdrop_loss
    from rdrop_cli.core.metrics.classification import classification_metrics
    from rdrop_cli.core.trainer.rdrop_trainer import RDropTrainer

__version__ = "0.1.0"
__all__ = ["RDropTrainer", "__version__", "classification_metrics", "load", "rdrop_loss"]

_PLACES = {
    "RDropTrainer": "rdrop_cli.core.trainer.rdrop_trainer",
    "classification_metrics": "rdrop_cli.core.metrics.classification",
    "load": "rdrop_cli.core.inference.predictor",
    "rdrop_loss": "rdrop_cli.core.loss",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
