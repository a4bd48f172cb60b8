"""Try a model on its device before anything long begins, and choose the precision and the kernels that work.

An operation without a half-precision version, a kernel that gives other results on some device, an input longer than
the positions: each would show in the first step or, worse, not at all. So one step is tried in advance.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rdrop_cli.core.model import device as devices
from rdrop_cli.core.model import probes
from rdrop_cli.core.model.fast_path import is_accelerated, stock_kernels, use_stock_kernels
from rdrop_cli.core.model.mode import in_mode
from rdrop_cli.errors import ConfigError, ModelError, one_line

if TYPE_CHECKING:
    from rdrop_cli.core.data.tokens import TokenDataset
    from rdrop_cli.core.model.device import Dtype
    from rdrop_cli.core.model.probes import Collate

Loss = Callable[[Tensor], Tensor]
"""From the logits of the trial's rows, (rows, classes), to a scalar."""
_FAULTS = (RuntimeError, ValueError, TypeError, IndexError, FloatingPointError)
"""Exceptions of a pass that uses something a device or a dtype does not support."""
_TOLERANCE = {"float32": 1e-3, "bfloat16": 2**-3, "float16": 2**-6}
"""Largest relative difference between kernels: rounding errors of the dtype, accumulated over layers."""


@dataclass(frozen=True)
class WorkingSetup:
    """The precision and kernels that work.

    Attributes:
        fast: rdrop's kernels are still in use, where the model had them.
    """

    precision: Dtype
    fast: bool


def check_positions(model: Any, tokenizer: Any, collate: Collate, max_length: int) -> None:
    """Refuse inputs longer than the positions in a model's configuration, or than those found by trying.

    Args:
        model: In float32, on the CPU.

    Raises:
        ConfigError: `max_length` is too large; the message has the largest possible value.
    """
    positions = configured_positions(model.config)
    usable = probes.usable_length(model, tokenizer, collate, min(max_length, positions or max_length))
    if 0 < usable < max_length:
        raise ConfigError(
            f"model.max_length {max_length} exceeds the model's {usable} positions",
            f"Use --max-length {usable} or less.",
        )


def configured_positions(model_config: Any) -> int | None:
    """The number of positions in a model's configuration, some of which may be unusable; None: no limit."""
    positions = getattr(model_config, "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions > 0 else None


def settle_training(
    model: Any,
    tokenizer: Any,
    rows: TokenDataset,
    collate: Collate,
    loss: Loss,
    device: torch.device,
    precision: Dtype,
    notice: Callable[[str], None],
) -> WorkingSetup:
    """Move a classifier to its device and try forward, loss and backward there; no weight is changed.

    Args:
        model: On the CPU, in float32, with the kernels to train with.
        rows: Inputs of the greatest possible length.
        notice: Called with one line about anything that does not work.

    Raises:
        ModelError: the step fails even in float32 with the stock kernels.
        RuntimeError: memory ran out.
    """
    if device.type != "cpu":
        # On a GPU, an index out of range makes the device unusable for the rest of the process; on a CPU it is an
        # ordinary error.
        with torch.no_grad(), in_mode(model, training=False):
            _require(lambda: model(**probes.batch_of(rows, collate)), torch.device("cpu"))
        model.to(device)
    batch = probes.batch_of(rows, collate, device)

    def step(dtype: Dtype) -> None:
        generators = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=generators), in_mode(model, training=True):
            try:
                with devices.autocast(device, dtype):
                    logits = model(**batch).logits
                value = loss(logits.float())
                value.backward()
                if not torch.isfinite(value):
                    raise FloatingPointError(f"the loss is {value.item()}")
            finally:
                model.zero_grad()

    return _settle(model, tokenizer, collate, step, device, precision, notice)


def settle_inference(
    model: Any,
    tokenizer: Any,
    collate: Collate,
    device: torch.device,
    precision: Dtype,
    notice: Callable[[str], None],
) -> WorkingSetup:
    """Like `settle_training`, for a classifier that is already on its device in evaluation mode."""
    batch = probes.batch_of(probes.made_up(tokenizer, model, [probes.SHORT, probes.LONG]), collate, device)

    def step(dtype: Dtype) -> None:
        with torch.no_grad(), devices.autocast(device, dtype):
            model(**batch)

    return _settle(model, tokenizer, collate, step, device, precision, notice)


def _settle(
    model: Any,
    tokenizer: Any,
    collate: Collate,
    step: Callable[[Dtype], None],
    device: torch.device,
    wanted: Dtype,
    notice: Callable[[str], None],
) -> WorkingSetup:
    """Try in this order: as wanted, with stock kernels, and both again in float32. Keep the first that works."""
    had_kernels = is_accelerated(model)
    where = devices.describe(device)
    first: Exception | None = None
    for precision in dict.fromkeys((wanted, "float32")):
        for stock in (False, True) if had_kernels else (False,):
            with stock_kernels(model) if stock else contextlib.nullcontext():
                fault = _fault(lambda precision=precision: step(precision))  # type: ignore[misc]
            first = first or fault
            if fault is not None:
                continue
            if precision != wanted:
                notice(f"{wanted} does not work for this model on {where} ({_cause(first)}), so float32 is used")
            if stock:
                use_stock_kernels(model)
                notice(
                    f"rdrop's fast kernels do not work for this model on {where} ({_cause(first)}), so the stock"
                    " kernels are used"
                )
            elif had_kernels and not _kernels_agree(model, tokenizer, collate, device, precision):
                use_stock_kernels(model)
                notice(
                    f"rdrop's fast kernels give different results on {where} in {precision}, so the stock kernels are"
                    " used"
                )
                return WorkingSetup(precision, fast=False)
            return WorkingSetup(precision, fast=not stock)
    raise ModelError(
        f"the model fails on {where}: {_cause(first)}",
        "Try a smaller --max-length, and check that the model accepts such inputs.",
    ) from first


def _require(run: Callable[[], Any], device: torch.device) -> None:
    if (fault := _fault(run)) is not None:
        raise ModelError(
            f"the model fails on {devices.describe(device)}: {_cause(fault)}",
            "Try a smaller --max-length, and check that the model accepts such inputs.",
        ) from fault


def _fault(run: Callable[[], Any]) -> Exception | None:
    """The exception that a pass raises, or None; an out-of-memory error is raised again."""
    try:
        run()
    except _FAULTS as error:
        if isinstance(error, RuntimeError) and devices.is_out_of_memory(error):
            raise
        return error
    return None


def _cause(error: BaseException | None) -> str:
    return f"{type(error).__name__}: {one_line(error)}" if error is not None else "unknown"


def _kernels_agree(model: Any, tokenizer: Any, collate: Collate, device: torch.device, precision: Dtype) -> bool:
    """True if a model's fast kernels give the same results as the stock ones, on its device and in this precision."""
    batch = probes.batch_of(probes.made_up(tokenizer, model, [probes.SHORT, probes.LONG]), collate, device)

    def read() -> Tensor:
        """The first token's hidden state, if available, and the logits."""
        with torch.no_grad(), devices.autocast(device, precision), in_mode(model, training=False):
            hidden, logits = probes.run(model, batch)
        first = hidden[:, 0] if hidden is not None and hidden.dim() == 3 else logits
        return torch.cat([first.flatten().float(), logits.flatten().float()])

    fast = read()
    with stock_kernels(model):
        stock = read()
    if not torch.isfinite(stock).all():
        return True  # the weights are damaged, which is not the kernels' fault
    return bool((fast - stock).norm() <= _TOLERANCE[precision] * stock.norm())
