"""Several processes that work together, as started by `torchrun` or `accelerate launch`.

Both describe each process in its environment. With a single process the functions here do nothing and import nothing.
With several, PyTorch's process group is joined at the first operation that needs another process.
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
"""Timeout while the others wait for the main process to read and tokenize. A process that ended is noticed at once."""

_NCCL_PATIENCE = timedelta(minutes=30)
"""Timeout for GPUs. They wait for each other within a step and while best/ is saved; if it takes longer, one hangs."""

_SAME_SIGNAL = 2.0
"""Seconds within which another SIGTERM counts as the same: a launcher may pass on one that all processes received."""

_hosts: Any = None
"""The process group for exchanging data in host memory; None: PyTorch's default group."""


def world_size() -> int:
    """How many processes work together. WORLD_SIZE counts only with RANK, since a launcher sets both."""
    return max(1, _number("WORLD_SIZE", 1)) if "RANK" in os.environ else 1


def rank() -> int:
    """The number of this process, from 0."""
    return _number("RANK", 0) if world_size() > 1 else 0


def local_world_size() -> int:
    """How many of the processes are on this machine, according to the launcher; else 1."""
    return max(1, _number("LOCAL_WORLD_SIZE", 1)) if world_size() > 1 else 1


def own_seed(seed: int) -> int:
    """This process's seed for numbers that must differ between processes; with a single process, `seed` itself.

    Seed and rank are mixed, not added, so that the second process with seed 42 differs from the first with seed 43.
    """
    if world_size() == 1:
        return seed
    import numpy as np

    return int(np.random.SeedSequence([seed, rank()]).generate_state(1)[0])


def is_main_process() -> bool:
    """True in the process that shows progress and saves files."""
    return rank() == 0


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default


@contextlib.contextmanager
def map_lost_processes() -> Iterator[None]:
    """Turn a failed collective operation into an error that explains it.

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
            "Saved checkpoints are kept. Start all processes again, with --resume for a training.",
        ) from error


def _is_lost(error: RuntimeError) -> bool:
    text = str(error).lower()
    if "out of memory" in text:  # NCCL names itself in its out-of-memory errors
        return False
    return any(sign in text for sign in ("gloo", "nccl", "connection closed", "connection reset", "broken pipe"))


def join() -> None:
    """Join the process group, waiting for all processes. Does nothing for a single process, or the second time.

    Raises:
        ConfigError: there are more processes than GPUs, or the launcher's variables contradict each other.
    """
    import torch
    from torch import distributed

    if world_size() == 1 or distributed.is_initialized():
        return
    has_meeting_place = os.environ.get("MASTER_ADDR") and os.environ.get("MASTER_PORT", "").isdecimal()
    if rank() >= world_size() or not has_meeting_place:
        raise ConfigError(
            "the environment variables RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT contradict each other or are"
            " incomplete",
            "Start several processes with torchrun, or unset RANK and WORLD_SIZE for one.",
        )
    if torch.cuda.is_available():
        global _hosts
        index = gpu_index(_number("LOCAL_RANK", 0), torch.cuda.device_count())
        os.environ["LOCAL_RANK"] = str(index)  # accelerate uses it as the number of the GPU
        torch.cuda.set_device(index)
        distributed.init_process_group("cpu:gloo,cuda:nccl", timeout=_NCCL_PATIENCE)
        _hosts = distributed.new_group(backend="gloo", timeout=_PATIENCE)
        own = f"{platform.node()} {torch.cuda.get_device_properties(index).uuid}"
        gpus: list[Any] = [None] * world_size()
        distributed.all_gather_object(gpus, own, group=_hosts)
        check_own_gpus(gpus)
    else:
        distributed.init_process_group("gloo", timeout=_PATIENCE)
    atexit.register(distributed.destroy_process_group)  # PyTorch warns at exit otherwise


def gpu_index(local: int, gpus: int) -> int:
    """Which of the visible GPUs a process uses; the only one if it sees just one, as with `srun --gpus-per-task=1`.

    Args:
        local: The process's number on its machine, from 0.

    Raises:
        ConfigError: more processes on this machine than GPUs.
    """
    if local < gpus or gpus == 1:
        return min(local, gpus - 1)
    raise ConfigError(
        f"process {local + 1} on this machine has no GPU of its own: there are only {gpus}",
        "Start as many processes on a machine as it has GPUs, or set CUDA_VISIBLE_DEVICES= to use none.",
    )


def check_own_gpus(gpus: Sequence[str]) -> None:
    """Make sure that no two processes took the same GPU.

    Args:
        gpus: An identifier of each process's GPU, by rank.

    Raises:
        ConfigError: two processes have the same GPU.
    """
    for place, gpu in enumerate(gpus):
        if (first := gpus.index(gpu)) < place:
            raise ConfigError(
                f"processes {first} and {place} use the same GPU ({gpu})",
                "Start as many processes on a machine as it has GPUs, or set CUDA_VISIBLE_DEVICES= to use none.",
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
    """Wait until every process has reached this point."""
    broadcast(None)


def any_of(flag: bool) -> bool:
    """True in every process if the flag is True in any."""
    return bool(largest(float(flag))[0])


@map_lost_processes()
def largest(*numbers: float) -> list[float]:
    """The maximum of each number over all processes, identical to the last bit in each of them."""
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
    """Run the block in the main process first and then in the others, which can read what it wrote."""
    if not is_main_process():
        barrier()
    try:
        yield
    finally:
        if is_main_process():
            barrier()


@contextlib.contextmanager
def ended_by_second_sigterm() -> Iterator[None]:
    """While the block runs, a SIGTERM that arrives two seconds or more after the first ends this process at once.

    Python runs signal handlers only when the main thread returns to the interpreter. In a process that hangs, waiting
    for others or for its GPU, that never happens. So a separate thread watches for signals, through a socket that the
    interpreter writes their numbers to. A single process does not need this. Call it in the main thread.
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
        writer.close()  # this ends the thread
        watcher.join()
        reader.close()


def _end_at_second_sigterm(signals: socket.socket) -> None:
    first: float | None = None
    while numbers := signals.recv(64):
        if signal.SIGTERM not in numbers:
            continue
        first = first or time.monotonic()
        if time.monotonic() - first >= _SAME_SIGNAL:
            with contextlib.suppress(OSError):  # stderr may be closed
                os.write(2, b"error: ended by a second SIGTERM. What was saved before is kept.\n")
            os._exit(128 + signal.SIGTERM)
