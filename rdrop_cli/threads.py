"""How many threads to compute with, and how they wait for one another.

OpenMP's runtimes read the environment once, when PyTorch or scikit-learn loads them. So this imports nothing heavy, and
is asked before they are.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from rdrop_cli import processes

_LOOKS = {"AuthenticAMD": 1_000}
_LOOKS_ELSEWHERE = 10_000
"""How often a waiting thread looks before it sleeps, by the processor's maker.

By default threads look for many milliseconds on end, during which whatever else the machine does has no use of the
core. Few looks cost speed on a quiet machine, where a thread that sleeps must be woken, and many cost it on a busy one.
1,000 instead of 10,000 on an AMD EPYC: 1.9 times as fast beside a process that spins, 0.93 on the quiet machine; on an
Intel Xeon 1.3 times, but 0.76 on the quiet machine. `benchmarks/busy_machine.py --vary GOMP_SPINCOUNT=1000,10000`.
"""
_NOT_ABOUT_WAITING = frozenset({"KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"})
"""What importing scikit-learn leaves in the environment of the programs that it starts."""


def let_waiting_threads_sleep() -> None:
    """Keep threads that wait for one another from occupying their cores, unless the user has set how they wait."""
    for name in os.environ:
        if name == "OMP_WAIT_POLICY" or (name.startswith(("GOMP_", "KMP_")) and name not in _NOT_ABOUT_WAITING):
            return
    os.environ.update(waiting())


def waiting(root: Path = Path("/")) -> dict[str, str]:
    """OpenMP's variables that say how long a thread waits before it sleeps.

    Args:
        root: Holds proc/.
    """
    maker = re.search(r"^vendor_id\s*: (\w+)", _read(root / "proc/cpuinfo"), re.MULTILINE)
    looks = _LOOKS.get(maker[1], _LOOKS_ELSEWHERE) if maker else _LOOKS_ELSEWHERE
    # GNU's runtime counts looks; Intel's and LLVM's wait for milliseconds, of which 1 is the least above none.
    return {"GOMP_SPINCOUNT": str(looks), "KMP_BLOCKTIME": "1"}


def choose(count: int | None) -> None:
    """Take over `--threads`, for this process and those it starts; None: it was not given.

    Call it before anything heavy is imported. NumPy's and SciPy's OpenBLAS knows of no quota and hears of it here;
    PyTorch, whose default may be lower, hears of it once it is loaded.
    """
    if count is not None:
        os.environ["OMP_NUM_THREADS"] = str(count)
        os.environ.setdefault("RAYON_NUM_THREADS", str(count))  # the tokenizer's
    elif chosen() is None:
        os.environ.setdefault("OPENBLAS_NUM_THREADS", str(share()))


def chosen() -> int | None:
    """The number that `--threads` or the user's OMP_NUM_THREADS says; None where neither does."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # the others are for nested regions
    return int(first) if first.isascii() and first.isdecimal() and int(first) > 0 else None


def share() -> int:
    """The cores for this process: those that it may use, shared with the others of its launcher on this machine."""
    return max(1, cores() // processes.local_world_size())


def cores(root: Path = Path("/")) -> int:
    """The cores that this process may use: by its affinity and by the CPU quota of its container.

    Args:
        root: Holds proc/ and sys/.
    """
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    granted = min(quotas(root), default=math.inf)
    return affinity if granted >= affinity else max(1, math.ceil(granted))


def quotas(root: Path = Path("/")) -> Iterator[float]:
    """The CPU quotas, in cores, of this process's control groups and of those they lie in.

    Source: https://docs.kernel.org/admin-guide/cgroup-v2.html (cpu.max) and cgroup-v1's cpu.cfs_quota_us.
    """
    for group in control_groups("cpu", root):
        yield from _quota(group)


def control_groups(controller: str, root: Path = Path("/")) -> Iterator[Path]:
    """Where the kernel may keep this process's limits: folders that need not exist.

    A container often sees its own group as the topmost one, though /proc names the path that the host knows.

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
    if len(words) == 2 and all(word.isdecimal() and int(word) > 0 for word in words):  # not max or -1, which is none
        yield int(words[0]) / int(words[1])


def _read(path: Path) -> str:
    """A small file's text; nothing for one that is not there, or not for us to read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
