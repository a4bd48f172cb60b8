"""Set how many threads to compute with, and how they wait for each other.

OpenMP's runtimes read their environment variables once, when PyTorch or scikit-learn loads them. This module therefore
imports nothing heavy, and sets the variables before those are imported.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from rdrop_cli import processes

_SPIN_COUNTS = {"AuthenticAMD": 1_000}
_SPIN_COUNT_ELSEWHERE = 10_000
"""How many times a waiting thread checks for work before it sleeps, by the processor's maker.

By default, threads keep checking for many milliseconds and occupy their cores meanwhile. With few checks, training is
slower on an idle machine, because sleeping threads must be woken; with many, it is slower on a busy one. Speed with
1,000 checks relative to 10,000: on an AMD EPYC 1.9 beside a busy process and 0.93 on the idle machine; on an Intel Xeon
1.3 and 0.76. Measured with `benchmarks/busy_machine.py --vary GOMP_SPINCOUNT=1000,10000`.
"""
_NOT_ABOUT_WAITING = frozenset({"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"})
"""Variables that importing scikit-learn sets, which programs started from there inherit."""


def let_waiting_threads_sleep() -> None:
    """Let waiting threads sleep instead of occupying their cores, unless the user has set how they wait."""
    for name in os.environ:
        if name == "OMP_WAIT_POLICY" or (name.startswith(("GOMP_", "KMP_")) and name not in _NOT_ABOUT_WAITING):
            return
    os.environ.update(openmp_wait_variables())


def openmp_wait_variables(root: Path = Path("/")) -> dict[str, str]:
    """The OpenMP variables that set how long a thread waits before it sleeps.

    Args:
        root: The folder that contains proc/.
    """
    maker = re.search(r"^vendor_id\s*: (\w+)", _read(root / "proc/cpuinfo"), re.MULTILINE)
    spin_count = _SPIN_COUNTS.get(maker[1], _SPIN_COUNT_ELSEWHERE) if maker else _SPIN_COUNT_ELSEWHERE
    # GNU's runtime counts checks. Intel's and LLVM's wait for a number of milliseconds; 1 is the smallest except 0.
    return {"GOMP_SPINCOUNT": str(spin_count), "KMP_BLOCKTIME": "1"}


def set_thread_limits(count: int | None) -> None:
    """Apply `--threads` to this process and those it starts.

    Call it before anything heavy is imported. The OpenBLAS of NumPy and SciPy does not know CPU quotas, so its limit is
    set here. PyTorch's is set after it is loaded, because its own default may be lower.

    Args:
        count: The number of threads; None: the option was not given.
    """
    if count is not None:
        os.environ["OMP_NUM_THREADS"] = str(count)
        os.environ.setdefault("RAYON_NUM_THREADS", str(count))  # the tokenizer's
    elif requested_threads() is None:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(cores_per_process()))


def requested_threads() -> int | None:
    """The number set by `--threads` or the user's OMP_NUM_THREADS; None if neither is set."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # the others are for nested regions
    if not first.isascii() or not first.isdecimal() or len(first) > 4:  # more digits are no number of threads
        return None
    return int(first) or None


def cores_per_process() -> int:
    """Cores for this process: those it may use, divided among the launcher's processes on this machine."""
    return max(1, usable_cores() // processes.local_world_size())


def usable_cores(root: Path = Path("/")) -> int:
    """The number of cores that this process may use, limited by its affinity and by the CPU quota of its container.

    Args:
        root: The folder that contains proc/ and sys/.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = min(quotas(root), default=math.inf)
    return affinity if granted >= affinity else max(1, math.ceil(granted))


def quotas(root: Path = Path("/")) -> Iterator[float]:
    """The CPU quotas, in cores, of this process's control groups and of their parents.

    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max) and cgroup-v1's cpu.cfs_quota_us.
    """
    for group in control_groups("cpu", root):
        yield from _quota(group)


def control_groups(controller: str, root: Path = Path("/")) -> Iterator[Path]:
    """Where the kernel may keep this process's limits: folders that need not exist.

    A container often sees its own group at the top, although /proc has the path on the host.

    Args:
        controller: What is limited, such as `cpu` or `memory`.
        root: Holds proc/ and sys/.
    """
    top = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        parts = [part for part in path.split("/") if part not in ("", "..")]
        if number == "0" and not controllers:
            mounts = [top, top / "unified"]
        elif controller in controllers.split(","):
            mounts = [top / controller, top / controllers]
        else:
            continue
        for mount in mounts:
            for depth in range(len(parts) + 1):
                yield mount.joinpath(*parts[:depth])


def _quota(group: Path) -> Iterator[float]:
    words = _read(group / "cpu.max").split() or [
        *_read(group / "cpu.cfs_quota_us").split(),
        *_read(group / "cpu.cfs_period_us").split(),
    ]
    if len(words) == 2 and all(word.isdecimal() and int(word) > 0 for word in words):  # max and -1 mean no quota
        yield int(words[0]) / int(words[1])


def _read(path: Path) -> str:
    """The text of a small file; empty if it does not exist or cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
