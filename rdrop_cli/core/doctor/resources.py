"""Cores, threads, present load, memory and disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rdrop_cli import threads
from rdrop_cli.core.doctor.report import Finding
from rdrop_cli.core.doctor.software import import_fault
from rdrop_cli.errors import one_line

_SECONDS = 0.5
"""In which the load is measured."""
_LITTLE_MEMORY = 3 * 2**30
_LITTLE_DISK = 2 * 2**30


def cores() -> Iterator[Finding]:
    """The cores of the machine, those that this process may use, and what limits it."""
    machine, usable = os.cpu_count() or 1, threads.usable_cores()
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine
    quota = min(threads.quotas(), default=None)
    limits = [f"{machine} in the machine"]
    limits += [f"{affinity} by this process's affinity"] if affinity < machine else []
    limits += [f"{quota:g} by the container's CPU quota"] if quota is not None else []
    value = {"machine": machine, "affinity": affinity, "quota": quota, "usable": usable}
    yield Finding("cores", f"{usable} usable ({', '.join(limits)})", value)
    yield from _threads_asked_for(usable)


def _threads_asked_for(usable: int) -> Iterator[Finding]:
    """What is wrong with OMP_NUM_THREADS, if anything is."""
    setting, asked = os.environ.get("OMP_NUM_THREADS", "").strip(), threads.requested_threads()
    advice = f"unset OMP_NUM_THREADS, or set it to {usable}."
    if setting and asked is None:
        yield Finding(
            "OMP_NUM_THREADS", setting, problem=f"This is not a number of threads, so it is ignored: {advice}"
        )
    elif asked is not None and asked > usable:
        yield Finding(
            "OMP_NUM_THREADS", str(asked), asked, problem=f"More threads than cores slow each other down: {advice}"
        )


def load() -> Iterator[Finding]:
    """What the machine is busy with now, and the threads that a training would use beside it."""
    import psutil

    in_use = psutil.cpu_percent(interval=_SECONDS) / 100 * (os.cpu_count() or 1)
    average = psutil.getloadavg()[0]
    idle = max(0.0, (os.cpu_count() or 1) - in_use)
    problem = None
    if idle < threads.cores_per_process() - 0.5:
        problem = (
            f"The machine is busy, so a training will be slow: wait, end other programs, or use fewer threads"
            f" (--threads {max(1, int(idle))})."
        )
    yield Finding(
        "load",
        f"{in_use:.1f} of {os.cpu_count()} cores in use (mean of the last minute {average:.1f})",
        {"cores_in_use": round(in_use, 2), "one_minute": round(average, 2)},
        problem=problem,
    )
    yield _training_threads()


def _training_threads() -> Finding:
    if import_fault("torch"):
        return Finding("threads", "unknown, as PyTorch cannot be imported")
    import torch

    from rdrop_cli.core.model import torch_threads
    from rdrop_cli.core.model.device import device_in_use

    before = torch.get_num_threads()
    try:
        settled = torch_threads.choose_threads(device_in_use(), resume=False, recorded=None, notice=lambda _: None)
    finally:
        torch.set_num_threads(before)
    why = {
        "asked": "set by OMP_NUM_THREADS",
        "busy": "as more are slower while the machine is busy",
        "cores": "one per usable core",
        "run": "as before",
    }
    return Finding(
        "threads",
        f"{settled.count} in a training, {why[settled.reason]}",
        {"count": settled.count, "reason": settled.reason},
    )


def memory(root: Path = Path("/")) -> Iterator[Finding]:
    """Memory of the machine, and the container's limit where it is lower.

    Args:
        root: Holds proc/ and sys/.
    """
    import psutil

    machine = psutil.virtual_memory()
    total, available = machine.total, machine.available
    limits = [limit for limit in map(_memory_limit, threads.control_groups("memory", root)) if limit]
    limit, left = min(limits, default=(None, available))
    available = min(available, left)
    if limit is not None and limit >= total:
        limit = None
    text = f"{_gib(available)} available of {_gib(total)}"
    yield Finding(
        "memory",
        text if limit is None else f"{text}, of which this container may use {_gib(limit)}",
        {"total_bytes": total, "available_bytes": available, "limit_bytes": limit},
        problem=(
            "That is low: training the starter takes 2.5 GiB. End other programs, or use a smaller --batch-size"
            " or --micro-batch."
            if available < _LITTLE_MEMORY
            else None
        ),
    )


def _memory_limit(group: Path) -> tuple[int, int] | None:
    """A control group's limit and what is left of it, in bytes; None where it sets none (or, in version 1, a huge one).

    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html (memory.max) and cgroup-v1's memory.limit_in_bytes.
    """
    for names in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, used = (_number(group / name) for name in names[:2])
        if limit is not None and used is not None:
            return limit, max(0, limit - used + _cached(group / "memory.stat", names[2]))
    return None


def _cached(statistics: Path, name: str) -> int:
    """Bytes that count as used and are given back when they are needed: files that were read."""
    try:
        lines = statistics.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(number) for key, _, number in (line.partition(" ") for line in lines) if key == name), 0)


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def folder(name: str, path: Path, *, prevents_training: bool = False) -> Iterator[Finding]:
    """How much room there is where a folder is or would be, and whether it can be written to.

    Args:
        prevents_training: Without it no training can succeed.
    """
    path = Path.cwd() / path
    there = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    cause = _unwritable(there)
    problem = None
    if cause:
        problem = f"It cannot be written to ({cause}): see to its permissions, or use another folder."
    elif free < _LITTLE_DISK:
        problem = "That is low: a run of the starter takes up to 1.2 GiB. Make room, or use another folder."
    yield Finding(
        name,
        f"{_gib(free)} free, {'not ' if cause else ''}writable: {path}" + ("" if there == path else " (not there yet)"),
        {"path": str(path), "exists": there == path, "free_bytes": free, "writable": cause is None},
        problem=problem,
        prevents_training=prevents_training and cause is not None,
    )


def _unwritable(folder: Path) -> str | None:
    """Why a folder cannot be written to, found by trying."""
    try:
        with tempfile.TemporaryFile(dir=folder) as stream:
            stream.write(b"x" * 4096)
    except OSError as error:
        return error.strerror or one_line(error)
    return None


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
