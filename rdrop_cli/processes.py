"""Several processes that work as one, as `torchrun` and `accelerate launch` start them.

Both say in the environment who each process is. What is asked here costs nothing and imports nothing until there are
several; PyTorch's process group is joined when the first of them needs another.
"""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from rdrop_cli.errors import ConfigError, ProcessLost

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")
_PATIENCE = timedelta(hours=6)
"""While the main process reads and tokenizes, the others wait; one that ended is noticed at once all the same."""


def count() -> int:
    """How many processes work together; a number of them without this one's rank is no launcher's doing."""
    return max(1, _number("WORLD_SIZE", 1)) if "RANK" in os.environ else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return _number("RANK", 0) if count() > 1 else 0


def count_here() -> int:
    """How many of them work on this machine, where the launcher says so."""
    return max(1, _number("LOCAL_WORLD_SIZE", 1)) if count() > 1 else 1


def is_main() -> bool:
    """True in the one that shows and saves."""
    return rank() == 0


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default


@contextlib.contextmanager
def naming_lost_processes() -> Iterator[None]:
    """Turn the failure of a collective operation into an error that says what it means.

    Raises:
        ProcessLost: another process ended while this one waited for it.
    """
    try:
        yield
    except RuntimeError as error:
        if count() == 1 or not _is_lost(error):
            raise
        raise ProcessLost(
            f"another of the {count()} processes was killed or has failed",
            "What was saved is kept: start all of them again, a training with --resume.",
        ) from error


def _is_lost(error: RuntimeError) -> bool:
    text = str(error).lower()
    return any(sign in text for sign in ("gloo", "nccl", "connection closed", "connection reset", "broken pipe"))


def join() -> None:
    """Meet the others; waits until all are here. Does nothing alone, or the second time.

    Raises:
        ConfigError: more processes than GPUs, or a launcher's variables that do not fit together.
    """
    import torch
    from torch import distributed

    if count() == 1 or distributed.is_initialized():
        return
    if rank() >= count() or not os.environ.get("MASTER_ADDR"):
        raise ConfigError(
            "RANK, WORLD_SIZE and MASTER_ADDR in the environment do not fit together",
            "Start several processes with torchrun, or unset RANK and WORLD_SIZE for one.",
        )
    if torch.cuda.is_available():
        local, gpus = _number("LOCAL_RANK", 0), torch.cuda.device_count()
        if local >= gpus:
            raise ConfigError(f"process {local + 1} on this machine has no GPU of its own: there are {gpus}")
        torch.cuda.set_device(local)
        distributed.init_process_group("cpu:gloo,cuda:nccl", timeout=_PATIENCE)
    else:
        distributed.init_process_group("gloo", timeout=_PATIENCE)
    atexit.register(distributed.destroy_process_group)  # or PyTorch complains at the end


@naming_lost_processes()
def from_main(value: T) -> T:
    """The main process's value, in every process."""
    if count() == 1:
        return value
    from torch import distributed

    join()
    values: list[Any] = [value]
    distributed.broadcast_object_list(values)
    result: T = values[0]
    return result


def wait() -> None:
    """Until every process is here."""
    from_main(None)


@naming_lost_processes()
def any_of(flag: bool) -> bool:
    """True in every process when it is in one."""
    if count() == 1:
        return flag
    import torch
    from torch import distributed

    join()
    flags = torch.tensor([int(flag)])
    distributed.all_reduce(flags, distributed.ReduceOp.MAX)
    return bool(flags.item())


@naming_lost_processes()
def summed(values: NDArray[np.float32] | NDArray[np.float64]) -> Any:
    """The element-wise sum of every process's array of the same shape and dtype."""
    if count() == 1:
        return values
    import torch
    from torch import distributed

    join()
    total = torch.from_numpy(values.copy())
    distributed.all_reduce(total)
    return total.numpy()


@contextlib.contextmanager
def main_first() -> Iterator[None]:
    """The main process runs the block, then the others do: what it wrote, they read."""
    if not is_main():
        wait()
    try:
        yield
    finally:
        if is_main():
            wait()
