"""PyTorch's threads on the CPU: as many as were asked for, or as there are cores for, or fewer on a busy machine."""

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
"""Fewer threads are used where all of them take so many times as long as one. On a quiet machine they take a fraction;
a little more than one is no reason to do without them when the other work has ended."""
_TRIES = 3
_SECONDS = 0.1
"""Of a try that decides. In a short one a thread that has slept is favoured by the scheduler, so one looks too good."""
_ROWS, _WIDTH, _INNER = 256, 384, 1536


@dataclass(frozen=True)
class Threads:
    """How many threads a training uses, and why.

    Attributes:
        reason: asked: by --threads or OMP_NUM_THREADS; run: as the resumed run did before; busy: fewer, as the machine
            is busy; cores: PyTorch's own number, or the cores that this process may use if they are fewer.
    """

    count: int
    reason: Reason


@dataclass(frozen=True)
class Busy:
    """What timing showed on a busy machine: median seconds of one operation with `count` threads, and with one."""

    count: int
    seconds: float
    seconds_of_one: float
    best: int

    def __str__(self) -> str:
        return (
            f"The machine is busy: {self.count} threads are slower than one ({self.seconds * 1e3:.0f} ms against"
            f" {self.seconds_of_one * 1e3:.0f} ms), so this training uses {self.best}; set --threads to choose"
        )


def limit() -> None:
    """Use as many threads as were asked for, else no more than there are cores for."""
    asked = threads.chosen()
    if asked is not None:
        torch.set_num_threads(asked)
    elif torch.get_num_threads() > threads.share():
        torch.set_num_threads(threads.share())


def settle(device: torch.device, *, resume: bool, recorded: int | None, notice: Callable[[str], None]) -> Threads:
    """Decide how many threads a training uses, and use them.

    The number decides in which order sums are made, and so the last bits of a result. A resumed run therefore keeps
    its own unless another is asked for.

    Args:
        resume: A run is resumed.
        recorded: The number that it used before; None: it does not say.
        notice: Is told, in one line, what a user would not expect.
    """
    chosen = _settle(device, resume, recorded, notice)
    torch.set_num_threads(chosen.count)
    return chosen


def _settle(device: torch.device, resume: bool, recorded: int | None, notice: Callable[[str], None]) -> Threads:
    asked, default = threads.chosen(), min(_own_default(), threads.share())
    if asked is not None:
        if recorded not in (None, asked):
            notice(
                f"Threads: {recorded} so far, {asked} from here on; the last digits of results may differ from those of"
                " an uninterrupted run"
            )
        return Threads(asked, "asked")
    if recorded is not None:
        if recorded != default:
            notice(f"Threads: {recorded}, as this run used so far; set --threads to choose")
        return Threads(recorded, "run")
    if resume or device.type != "cpu" or processes.world_size() > 1:
        return Threads(default, "cores")
    timing, is_new = _look_once(default)
    if timing is None:
        return Threads(default, "cores")
    if is_new:
        notice(str(timing))
    return Threads(timing.best, "busy")


@functools.cache
def _own_default() -> int:
    """What PyTorch takes by itself: the physical cores. To be asked before another number is set."""
    return torch.get_num_threads()


_looked: dict[int, Busy | None] = {}


def _look_once(count: int) -> tuple[Busy | None, bool]:
    """All trainings of one process, such as a comparison's, use the same number; whether this is the first of them."""
    is_new = count not in _looked
    if is_new:
        _looked[count] = busy(count)
    return _looked[count], is_new


def busy(count: int, *, time_with: Callable[[int, float], float] | None = None) -> Busy | None:
    """Find out whether something else leaves too little of the machine for `count` threads; None where it does not.

    Takes some 50 ms on a quiet machine, and about a second on one that looks busy. No random number is drawn.

    Args:
        time_with: Seconds of one operation with a number of threads, tried for so many seconds.
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
        return Busy(count, medians[count], medians[1], best=min(fewer, key=lambda number: by_number[number]))
    finally:
        torch.set_num_threads(before)


def _medians(counts: list[int], seconds: float, time_with: Callable[[int, float], float]) -> dict[int, float]:
    """Median times by number of threads, which take turns so that all meet the same disturbances."""
    tries = [[time_with(count, seconds) for count in counts] for _ in range(_TRIES)]
    return {count: statistics.median(column) for count, column in zip(counts, zip(*tries, strict=True), strict=True)}


def _time_with(count: int, seconds: float) -> float:
    """Seconds that a layer of a small encoder takes with `count` threads: the mean over `seconds`, or of one time."""
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
