"""Fit a temperature to a finished run's best model, and write it into the head of best/.

One temperature is fitted on the raw probabilities of the validation split. It is slightly optimistic, because
validation also chose the epoch. The weights change only if that is shown to work: the layer that makes the logits is
found by trying, and the written model is read back before it replaces the raw one. Otherwise rdrop.json alone has the
temperature, and only rdrop applies it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from rdrop_cli import processes
from rdrop_cli.core.inference.backends.torch import TorchBackend
from rdrop_cli.core.metrics.calibration import at_temperature, fit_temperature
from rdrop_cli.core.metrics.predictions import softmax
from rdrop_cli.core.model import device as devices
from rdrop_cli.core.model.head_scaling import divide_in_files, scaling_weights
from rdrop_cli.core.model.loading import map_loading_errors
from rdrop_cli.core.progress import Notice, no_notice
from rdrop_cli.core.runs.best_model import record_calibration
from rdrop_cli.core.runs.calibration import Calibration
from rdrop_cli.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from rdrop_cli.core.data.tokens import TokenDataset
    from rdrop_cli.core.inference.backends.base import Backend
    from rdrop_cli.core.metrics.predictions import Predictions

TRIED_TEXTS = 16
"""Validation texts in the batch on which the head is tried and the written model is read back."""
LARGEST_DIFFERENCE = 1e-4
"""Of a probability, between the written model and the calibrated probabilities."""


def calibrate_best(
    best: Path,
    backend: Backend,
    dataset: TokenDataset,
    predictions: Predictions,
    *,
    trust_remote_code: bool = False,
    notice: Notice = no_notice,
) -> Calibration:
    """Fit a temperature, and record it in best/. All processes must call this; the main one does the work.

    Args:
        best: The run's best/, with raw weights.
        backend: The same model, loaded with PyTorch.
        dataset: The validation split.
        predictions: What the model gives for it, raw.
        trust_remote_code: Run Python code that comes with the model.
        notice: Called with one line if there is no temperature, or if only rdrop applies it.

    Raises:
        StorageError: best/ cannot be written.
    """
    calibration = Calibration()
    if processes.is_main_process():
        fitted = fit_temperature(predictions.labels, predictions.probabilities)
        calibration = Calibration(fitted.value, examples=len(predictions.labels), reason=fitted.reason)
        if fitted.reason is not None:
            notice(f"Probabilities are not calibrated: {fitted.reason}")
            record_calibration(best, calibration)
        else:
            assert isinstance(backend, TorchBackend)
            texts = [dataset[index] for index in range(min(TRIED_TEXTS, len(dataset)))]
            calibration = _in_head_if_possible(best, backend, texts, calibration, trust_remote_code, notice)
    return processes.broadcast(calibration)


class _CannotBeWritten(Exception):
    """The temperature cannot be written into the head; the message says why."""


def _in_head_if_possible(
    best: Path,
    backend: TorchBackend,
    texts: list[dict[str, object]],
    calibration: Calibration,
    trust_remote_code: bool,
    notice: Callable[[str], None],
) -> Calibration:
    """Record a calibration with the temperature in the head, or else only in rdrop.json."""
    temperature = calibration.temperature
    batch = {name: value.to(backend.device) for name, value in backend.collate(texts).items()}
    baked = Calibration(temperature, in_head=True, examples=calibration.examples)

    def write(folder: Path) -> None:
        """Change the weights in a copy of best/, load that, and compare."""
        if not divide_in_files(folder, weights, temperature):
            raise _CannotBeWritten("the weights of its head are stored in another form")
        try:
            difference = np.abs(_stock_probabilities(folder, backend, batch, trust_remote_code) - expected).max()
        except ModelError as error:
            raise _CannotBeWritten(f"the changed model cannot be loaded ({error.message})") from error
        if not difference <= LARGEST_DIFFERENCE:
            raise _CannotBeWritten(f"the changed model gives other probabilities, by up to {difference:.2g}")

    try:
        weights = scaling_weights(backend.model, batch)
        if not weights:
            raise _CannotBeWritten("no layer of its own scales the logits")
        expected = at_temperature(_probabilities(backend.model, batch), temperature)
        record_calibration(best, baked, write)
    except _CannotBeWritten as reason:
        notice(f"The temperature is not in this model's weights, so only rdrop applies it: {reason}")
        record_calibration(best, calibration)
        return calibration
    return baked


def _stock_probabilities(
    folder: Path, backend: TorchBackend, batch: Mapping[str, Tensor], trust_remote_code: bool
) -> NDArray[np.float64]:
    """What Transformers alone gives for a batch with the model in a folder.

    Raises:
        ModelError: it cannot be loaded, or memory ran out.
    """
    from transformers import AutoModelForSequenceClassification

    with map_loading_errors(str(folder), "checkpoint"), devices.map_memory_errors(backend.device, ""):
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=trust_remote_code
        )
        return _probabilities(model.to(backend.device).eval(), batch)


def _probabilities(model: torch.nn.Module, batch: Mapping[str, Tensor]) -> NDArray[np.float64]:
    """(texts, classes), in float32 whatever the precision of the run."""
    with torch.no_grad():
        return softmax(model(**batch).logits.float().cpu().numpy())
