"""Several processes that work as one, as `torchrun` and `accelerate launch` start them.

Both say in the environment who each process is. What is asked here costs nothing and imports nothing until there are
several; PyTorch's process group is joined when the first of them needs another.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import platform
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from rdrop_cli.errors import ConfigError, ProcessLost

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")
_PATIENCE = timedelta(hours=6)
"""While the main process reads and tokenizes, the others wait; one that ended is noticed at once all the same."""

_NCCL_PATIENCE = timedelta(minutes=30)
"""GPUs wait for one another within a step, and while the main process exports a model: for longer, one hangs."""

_SAME_SIGNAL = 2.0
"""Seconds in which a SIGTERM is the first one again: whoever sends it to all may have a launcher pass it on too."""

_hosts: Any = None
"""The process group of what is exchanged between hosts' memories; None: PyTorch's default group."""


def world_size() -> int:
    """How many processes work together; a number of them without this one's rank is no launcher's doing."""
    return max(1, _number("WORLD_SIZE", 1)) if "RANK" in os.environ else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return _number("RANK", 0) if world_size() > 1 else 0


def local_world_size() -> int:
    """How many of them work on this machine, where the launcher says so."""
    return max(1, _number("LOCAL_WORLD_SIZE", 1)) if world_size() > 1 else 1


def own_seed(seed: int) -> int:
    """This process's seed for what must differ between processes; alone it is `seed` itself.

    Mixed, not added: the second process of seed 42 has nothing in common with the first one of seed 43.
    """
    if world_size() == 1:
        return seed
    import numpy as np

    return int(np.random.SeedSequence([seed, rank()]).generate_state(1)[0])


def is_main_process() -> bool:
    """True in the one that shows and saves."""
    return rank() == 0


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default


@contextlib.contextmanager
def map_lost_processes() -> Iterator[None]:
    """Turn the failure of a collective operation into an error that says what it means.

    Raises:
        ProcessLost: another process ended while this one waited for it.
    """
    try:
        yield
    except RuntimeError as error:
        if world_size() == 1 or not _is_lost(error):
            raise
        raise ProcessLost(
            f"another of the {world_size()} processes was killed or has failed",
            "What was saved is kept: start all of them again, a training with --resume.",
        ) from error


def _is_lost(error: RuntimeError) -> bool:
    text = str(error).lower()
    if "out of memory" in text:  # NCCL names itself when it has no room
        return False
    return any(sign in text for sign in ("gloo", "nccl", "connection closed", "connection reset", "broken pipe"))


def join() -> None:
    """Meet the others; waits until all are here. Does nothing alone, or the second time.

    Raises:
        ConfigError: more processes than GPUs, or a launcher's variables that do not fit together.
    """
    import torch
    from torch import distributed

    if world_size() == 1 or distributed.is_initialized():
        return
    if rank() >= world_size() or not os.environ.get("MASTER_ADDR"):
        raise ConfigError(
            "RANK, WORLD_SIZE and MASTER_ADDR in the environment do not fit together",
            "Start several processes with torchrun, or unset RANK and WORLD_SIZE for one.",
        )
    if torch.cuda.is_available():
        global _hosts
        index = gpu_index(_number("LOCAL_RANK", 0), torch.cuda.device_count())
        os.environ["LOCAL_RANK"] = str(index)  # accelerate takes it for the number of the GPU
        torch.cuda.set_device(index)
        distributed.init_process_group("cpu:gloo,cuda:nccl", timeout=_NCCL_PATIENCE)
        _hosts = distributed.new_group(backend="gloo", timeout=_PATIENCE)
        own = f"{platform.node()} {torch.cuda.get_device_properties(index).uuid}"
        gpus: list[Any] = [None] * world_size()
        distributed.all_gather_object(gpus, own, group=_hosts)
        check_own_gpus(gpus)
    else:
        distributed.init_process_group("gloo", timeout=_PATIENCE)
    atexit.register(distributed.destroy_process_group)  # or PyTorch complains at the end


def gpu_index(local: int, gpus: int) -> int:
    """Which of the GPUs that a process sees is its own; where it sees one, as under `srun --gpus-per-task=1`, that one.

    Args:
        local: The process's number on its machine, from 0.

    Raises:
        ConfigError: more processes on this machine than GPUs.
    """
    if local < gpus or gpus == 1:
        return min(local, gpus - 1)
    raise ConfigError(f"process {local + 1} on this machine has no GPU of its own: there are {gpus}")


def check_own_gpus(gpus: Sequence[str]) -> None:
    """Make sure that no two processes took the same GPU.

    Args:
        gpus: Of each process, by rank: what identifies its GPU.

    Raises:
        ConfigError: two did.
    """
    for place, gpu in enumerate(gpus):
        if (first := gpus.index(gpu)) < place:
            raise ConfigError(
                f"processes {first} and {place} have the same GPU ({gpu})",
                "Start as many processes on a machine as it has GPUs.",
            )


@map_lost_processes()
def broadcast(value: T) -> T:
    """The main process's value, in every process."""
    if world_size() == 1:
        return value
    from torch import distributed

    join()
    values: list[Any] = [value]
    distributed.broadcast_object_list(values, group=_hosts)
    result: T = values[0]
    return result


def barrier() -> None:
    """Until every process is here."""
    broadcast(None)


def any_of(flag: bool) -> bool:
    """True in every process when it is in one."""
    return bool(largest(float(flag))[0])


@map_lost_processes()
def largest(*numbers: float) -> list[float]:
    """Of each number the largest of all processes, the same to the last bit in every one."""
    if world_size() == 1:
        return list(numbers)
    import torch
    from torch import distributed

    join()
    values = torch.tensor(numbers, dtype=torch.float64)
    distributed.all_reduce(values, distributed.ReduceOp.MAX, group=_hosts)
    result: list[float] = values.tolist()
    return result


@map_lost_processes()
def summed(values: NDArray[np.float32] | NDArray[np.float64]) -> Any:
    """The element-wise sum of every process's array of the same shape and dtype."""
    if world_size() == 1:
        return values
    import torch
    from torch import distributed

    join()
    total = torch.from_numpy(values.copy())
    distributed.all_reduce(total, group=_hosts)
    return total.numpy()


@contextlib.contextmanager
def main_process_first() -> Iterator[None]:
    """The main process runs the block, then the others do: what it wrote, they read."""
    if not is_main_process():
        barrier()
    try:
        yield
    finally:
        if is_main_process():
            barrier()


@contextlib.contextmanager
def ended_by_second_sigterm() -> Iterator[None]:
    """While the block runs, a SIGTERM that comes two seconds or more after the first ends this process at once.

    Python's handlers run when the main thread is back from what it called, which it never is in a process that hangs,
    waiting for others or for its GPU. So a thread of its own is told of signals, through a socket that the interpreter
    writes to. Alone a process needs none of this. Must be called in the main thread.
    """
    if world_size() == 1:
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    previous = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=_end_at_second_sigterm, args=(reader,), daemon=True)
    watcher.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous)
        writer.close()  # which ends the thread
        watcher.join()
        reader.close()


def _end_at_second_sigterm(signals: socket.socket) -> None:
    first: float | None = None
    while numbers := signals.recv(64):
        if signal.SIGTERM not in numbers:
            continue
        first = first or time.monotonic()
        if time.monotonic() - first >= _SAME_SIGNAL:
            with contextlib.suppress(OSError):  # there may be nobody to tell
                os.write(2, b"error: ended by a second SIGTERM. What was saved before is kept.\n")
            os._exit(128 + signal.SIGTERM)
