"""The machine a benchmark ran on, how fast it multiplies, and where results go."""

from __future__ import annotations

import datetime
import json
import platform
import resource
import time
from pathlib import Path
from typing import Any

import torch
import transformers

from rdrop_cli import __version__
from rdrop_cli.core.model.device import pick_device

RESULTS = Path(__file__).parent / "results"


def describe() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "rdrop": __version__,
        "date": datetime.date.today().isoformat(),
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                wide = [flag for flag in ("avx512_bf16", "amx_bf16") if flag in cpuinfo.read_text(encoding="utf-8")]
                return f"{name} ({', '.join(wide) or 'no bfloat16 products'})"
    return platform.processor() or platform.machine()


def product_flops(dtype: torch.dtype, size: int | None = None, seconds: float = 1.0) -> float:
    """FLOP/s of a square matrix product: 8192 cubed on a GPU, 2048 cubed on a CPU."""
    device = pick_device()
    size = size or (8192 if device.type == "cuda" else 2048)
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    for _ in range(3):
        left @ right
    synchronize()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        for _ in range(5):
            left @ right
        synchronize()
        count += 5
    return 2 * size**3 * count / (time.perf_counter() - began)


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def peak_bytes() -> int:
    """Most memory used so far: of the GPU on one, else of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def save(name: str, command: str, results: dict[str, Any]) -> Path:
    """Write a benchmark's results with the command that gave them and the machine."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    document = {"command": command, "machine": describe(), **results}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return path
