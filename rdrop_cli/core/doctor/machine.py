"""The system, the processor, the GPUs, and the precision that `auto` is there."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rdrop_cli.core.doctor.report import Finding
from rdrop_cli.core.doctor.software import import_fault
from rdrop_cli.core.model.cpu import describe_cpu

if TYPE_CHECKING:
    import torch

_LITTLE_FREE = 0.25
"""A GPU with a smaller share of free memory is in use by others."""


def system() -> Iterator[Finding]:
    """The operating system."""
    yield Finding("system", platform.platform())


def processor(root: Path = Path("/")) -> Iterator[Finding]:
    """The processor's name and those of its features that matter.

    Args:
        root: Holds proc/.
    """
    name, features = describe_cpu(root)
    yield Finding(
        "processor", f"{name} ({', '.join(features) or 'features unknown'})", {"name": name, "features": features}
    )


def devices() -> Iterator[Finding]:
    """Each GPU, the device that `auto` takes, and its precision."""
    if import_fault("torch"):
        yield Finding("device", "unknown, as PyTorch cannot be imported")
        return
    import torch

    from rdrop_cli.core.model import device as devices

    gpus = [_cuda_gpu(index) for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    yield from gpus or [_no_cuda_gpu()]
    if gpus:
        version = torch.version.cuda or torch.version.hip
        driver = _driver()
        yield Finding(
            "cuda",
            f"{version} in PyTorch" + (f", driver {driver}" if driver else ""),
            {"version": version, "driver": driver},
        )
    chosen = devices.pick_device("auto")
    yield Finding("device", f"auto selects {chosen}", {"auto": str(chosen)})
    precision = devices.pick_precision("auto", chosen)
    reason = _reason(chosen)
    yield Finding("precision", f"auto selects {precision}: {reason}", {"auto": precision, "reason": reason})


def _reason(device: torch.device) -> str:
    """Why `auto` is the precision that it is on a device."""
    import torch

    from rdrop_cli.core.model.device import cpu_has_bfloat16

    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        what = "bfloat16" if major >= 8 else "fast float16, but no bfloat16" if major == 7 else "neither in hardware"
        return f"a GPU of compute capability {major}.{minor} has {what}"
    if device.type == "mps":
        return "Apple GPUs are used in float32"
    has = cpu_has_bfloat16()
    if has is None:
        return "nothing here says whether this CPU has bfloat16 matrix instructions"
    return f"this CPU has {'' if has else 'no '}bfloat16 matrix instructions"


def _cuda_gpu(index: int) -> Finding:
    import torch

    properties = torch.cuda.get_device_properties(index)
    free, total = torch.cuda.mem_get_info(index)
    capability = f"{properties.major}.{properties.minor}"
    crowded = free < _LITTLE_FREE * total
    return Finding(
        f"gpu {index}",
        f"{properties.name}, {total / 2**30:.1f} GiB ({free / 2**30:.1f} GiB free), compute capability {capability}",
        {"name": properties.name, "total_bytes": total, "free_bytes": free, "capability": capability},
        problem=(
            "Most of its memory is in use: end other programs on it (nvidia-smi lists them), or choose another device"
            " with --device."
            if crowded
            else None
        ),
    )


def _no_cuda_gpu() -> Finding:
    import torch

    if torch.backends.mps.is_available():
        return Finding("gpu", "Apple GPU (mps)")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return Finding("gpu", "none visible, as CUDA_VISIBLE_DEVICES hides all")
    if not (Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi")):
        return Finding("gpu", "none")
    if torch.version.cuda is None:
        cause = "This PyTorch is built without CUDA: install another as https://pytorch.org/get-started/locally says."
    else:
        cause = (
            f"This PyTorch needs a driver for CUDA {torch.version.cuda} (nvidia-smi shows what yours supports), and a"
            " container must be given the GPU."
        )
    return Finding("gpu", "an NVIDIA GPU or driver, which PyTorch cannot use", problem=cause)


def _driver() -> str | None:
    version = Path("/proc/driver/nvidia/version")
    if not version.is_file():
        return None
    number = re.search(r"\d+\.\d+(\.\d+)?", version.read_text(encoding="utf-8", errors="replace"))
    return number[0] if number else None
