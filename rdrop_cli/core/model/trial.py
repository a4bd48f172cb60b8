"""What a model can do where it will run: tried before anything long begins, and settled for what works.

A half precision that an operation lacks, a kernel that a device computes otherwise, an input longer than the
positions: each shows in the first step or, worse, not at all. So a first step is made beforehand.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rdrop_cli.core.model import device as devices
from rdrop_cli.core.model import probes
from rdrop_cli.core.model.fast_path import is_accelerated, stock_kernels, use_stock_kernels
from rdrop_cli.errors import ConfigError, ModelError, one_line

if TYPE_CHECKING:
    from rdrop_cli.core.data.tokens import TokenDataset
    from rdrop_cli.core.model.device import Dtype
    from rdrop_cli.core.model.probes import Collate

Loss = Callable[[Tensor], Tensor]
"""Of the logits of a trial's rows, (rows, classes), to a scalar."""
_FAULTS = (RuntimeError, ValueError, TypeError, IndexError, FloatingPointError)
"""What a pass raises for something that a device or a dtype cannot do."""
_TOLERANCE = {"float32": 1e-3, "bfloat16": 2**-3, "float16": 2**-6}
"""Largest difference between kernels, as a share of their results: roundings of the dtype, summed over layers."""


@dataclass(frozen=True)
class Settled:
    """What works.

    Attributes:
        fast: No kernel of ours had to be given up.
    """

    precision: Dtype
    fast: bool


def check_positions(model: Any, tokenizer: Any, collate: Collate, max_length: int) -> None:
    """Refuse inputs longer than the positions that a model says it has, or turns out to have.

    Args:
        model: In float32, on the CPU.

    Raises:
        ConfigError: `max_length` does not fit; with the largest that does.
    """
    said = said_positions(model.config)
    usable = probes.usable_length(model, tokenizer, collate, min(max_length, said or max_length))
    if 0 < usable < max_length:
        raise ConfigError(
            f"model.max_length {max_length} is more than the model's {usable} positions",
            f"Use --max-length {usable} or less.",
        )


def said_positions(model_config: Any) -> int | None:
    """The number of positions in a model's configuration, not all of which need be usable; None: no limit."""
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
) -> Settled:
    """Move a classifier to its device and make one step there: forward, loss and backward; no weight is changed.

    Args:
        model: On the CPU, in float32, with the kernels that it shall train with.
        rows: Of the longest input there can be.
        notice: Is told what does not work.

    Raises:
        ModelError: the step fails in float32 and with the stock kernels too.
        RuntimeError: memory ran out.
    """
    if device.type != "cpu":
        # An index out of range would leave a GPU unusable for the whole process; here it is an ordinary error.
        with torch.no_grad(), _mode(model, training=False):
            _require(lambda: model(**probes.batch_of(rows, collate)), torch.device("cpu"))
        model.to(device)
    batch = probes.batch_of(rows, collate, device)

    def step(dtype: Dtype) -> None:
        generators = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=generators), _mode(model, training=True):
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
) -> Settled:
    """As `settle_training`, for deterministic passes of a classifier that is on its device in evaluation mode."""
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
) -> Settled:
    """The first that works of: as wanted, with stock kernels, and both again in float32."""
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
                notice(f"{wanted} does not work for this model on {where} ({_cause(first)}): float32 is used instead")
            if stock:
                use_stock_kernels(model)
                notice(f"The fast kernels do not work for this model on {where} ({_cause(first)}): the stock ones run")
            elif had_kernels and not _kernels_agree(model, tokenizer, collate, device, precision):
                use_stock_kernels(model)
                notice(f"The fast kernels give other results on {where} in {precision}: the stock ones are used")
                return Settled(precision, fast=False)
            return Settled(precision, fast=not stock)
    raise ModelError(
        f"the model fails on {where}: {_cause(first)}", "Does it take such inputs? Try a smaller --max-length."
    ) from first


def _require(run: Callable[[], Any], device: torch.device) -> None:
    if (fault := _fault(run)) is not None:
        raise ModelError(
            f"the model fails on {devices.describe(device)}: {_cause(fault)}",
            "Does it take such inputs? Try a smaller --max-length.",
        ) from fault


def _fault(run: Callable[[], Any]) -> Exception | None:
    """What stops a pass, unless it is a lack of memory, which is raised."""
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
    """True where a model's fast kernels give the stock ones' results, on its device and in this precision."""
    batch = probes.batch_of(probes.made_up(tokenizer, model, [probes.SHORT, probes.LONG]), collate, device)

    def read() -> Tensor:
        """What the head may read, and the logits."""
        with torch.no_grad(), devices.autocast(device, precision), _mode(model, training=False):
            hidden, logits = probes.run(model, batch)
        first = hidden[:, 0] if hidden is not None and hidden.dim() == 3 else logits
        return torch.cat([first.flatten().float(), logits.flatten().float()])

    fast = read()
    with stock_kernels(model):
        stock = read()
    if not torch.isfinite(stock).all():
        return True  # of damaged weights, which is no fault of a kernel
    return bool((fast - stock).norm() <= _TOLERANCE[precision] * stock.norm())


@contextlib.contextmanager
def _mode(model: Any, *, training: bool) -> Iterator[None]:
    before = model.training
    model.train(training)
    try:
        yield
    finally:
        model.train(before)
