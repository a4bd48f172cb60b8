"""PyTorch's number of CPU threads: the number requested, else the number of cores, or fewer on a busy machine."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from rdrop_cli import processes, threads

Reason = Literal["asked", "run", "busy", "cores"]

_MARGIN = 1.5
"""Use fewer threads if all of them take this many times as long as one. On an idle machine the ratio is below one; if
it is only a little above, all threads will be faster again once the other work ends."""
_TRIES = 3
_SECONDS = 0.1
"""Duration of a decisive measurement. In a short one, the scheduler favours threads that have slept, so that all of
them look too fast."""
_ROWS, _WIDTH, _INNER = 256, 384, 1536


@dataclass(frozen=True)
class Threads:
    """How many threads a training uses, and why.

    Attributes:
        reason: asked: set by --threads or OMP_NUM_THREADS; run: the number that the resumed run used before; busy:
            fewer, because the machine is busy; cores: PyTorch's default, or the cores that this process may use if
            they are fewer.
    """

    count: int
    reason: Reason


@dataclass(frozen=True)
class BusyTiming:
    """Timings on a busy machine: median seconds for one operation with `count` threads, and with one thread."""

    count: int
    seconds: float
    seconds_of_one: float
    best: int

    def __str__(self) -> str:
        return (
            f"The machine is busy: {self.count} threads are slower than one ({self.seconds * 1e3:.0f} ms instead of"
            f" {self.seconds_of_one * 1e3:.0f} ms), so this training uses {self.best}; set --threads to override"
        )


def apply_thread_limit() -> None:
    """Set PyTorch's number of threads to the requested one; without a request, limit it to the available cores."""
    asked = threads.requested_threads()
    if asked is not None:
        torch.set_num_threads(asked)
    elif torch.get_num_threads() > threads.cores_per_process():
        torch.set_num_threads(threads.cores_per_process())


def choose_threads(
    device: torch.device, *, resume: bool, recorded: int | None, notice: Callable[[str], None]
) -> Threads:
    """Choose and set the number of threads for a training.

    It determines the order of summation and so the last bits of a result. A resumed run therefore keeps its number
    unless another one is requested.

    Args:
        resume: A run is resumed.
        recorded: The number that the run used before; None: not recorded.
        notice: Called with one line about a choice that a user may not expect.
    """
    chosen = _choose(device, resume, recorded, notice)
    torch.set_num_threads(chosen.count)
    return chosen


def _choose(device: torch.device, resume: bool, recorded: int | None, notice: Callable[[str], None]) -> Threads:
    asked, default = threads.requested_threads(), min(_own_default(), threads.cores_per_process())
    if asked is not None:
        if recorded not in (None, asked):
            notice(
                f"This run used {recorded} threads before and continues with {asked}, so the last digits of its results"
                " may differ from those of an uninterrupted run"
            )
        return Threads(asked, "asked")
    if recorded is not None:
        if recorded != default:
            notice(f"This run continues with {recorded} threads, as before; set --threads to change that")
        return Threads(recorded, "run")
    if resume or device.type != "cpu" or processes.world_size() > 1:
        return Threads(default, "cores")
    timing, is_new = _measure_once(default)
    if timing is None:
        return Threads(default, "cores")
    if is_new:
        notice(str(timing))
    return Threads(timing.best, "busy")


@functools.cache
def _own_default() -> int:
    """PyTorch's default, the physical cores. The first call must come before another number is set."""
    return torch.get_num_threads()


_measured: dict[int, BusyTiming | None] = {}


def _measure_once(count: int) -> tuple[BusyTiming | None, bool]:
    """The result of `measure_contention`, which a process takes once, and whether this call took it."""
    is_new = count not in _measured
    if is_new:
        _measured[count] = measure_contention(count)
    return _measured[count], is_new


def measure_contention(count: int, *, time_with: Callable[[int, float], float] | None = None) -> BusyTiming | None:
    """Measure whether other work leaves too little of the machine for `count` threads; None if it does not.

    This takes about 50 ms on an idle machine, and about a second on one that seems busy. It draws no random numbers.

    Args:
        time_with: Measures the seconds for one operation, given a number of threads and how many seconds to repeat it.
    """
    if count == 1:
        return None
    before, time_with = torch.get_num_threads(), time_with or _time_with
    try:
        for seconds, margin in ((0.0, 1.0), (_SECONDS, _MARGIN)):
            medians = _medians([count, 1], seconds, time_with)
            if medians[count] < margin * medians[1]:
                return None
        fewer = [count >> shift for shift in range(1, count.bit_length())]
        by_number = _medians(fewer, _SECONDS, time_with) if len(fewer) > 1 else medians
        return BusyTiming(count, medians[count], medians[1], best=min(fewer, key=lambda number: by_number[number]))
    finally:
        torch.set_num_threads(before)


def _medians(counts: list[int], seconds: float, time_with: Callable[[int, float], float]) -> dict[int, float]:
    """Median times by number of threads; the numbers alternate so that disturbances affect all of them alike."""
    tries = [[time_with(count, seconds) for count in counts] for _ in range(_TRIES)]
    return {count: statistics.median(column) for count, column in zip(counts, zip(*tries, strict=True), strict=True)}


def _time_with(count: int, seconds: float) -> float:
    """Mean seconds for a layer of a small encoder with `count` threads, repeated for `seconds` but at least once."""
    torch.set_num_threads(count)
    rows, up, down = torch.ones(_ROWS, _WIDTH), torch.ones(_WIDTH, _INNER), torch.ones(_INNER, _WIDTH)

    def layer() -> None:
        torch.nn.functional.gelu(rows @ up) @ down

    with torch.inference_mode():
        layer()  # starts the threads
        began, done = time.perf_counter(), 0
        while done == 0 or time.perf_counter() - began < seconds:
            layer()
            done += 1
        return (time.perf_counter() - began) / done
