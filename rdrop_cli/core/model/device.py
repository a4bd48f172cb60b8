"""Choose the device and the precision of a computation."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from rdrop_cli import processes
from rdrop_cli.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from rdrop_cli.schema import Precision

Dtype = Literal["float32", "bfloat16", "float16"]
_in_use: torch.device | None = None


def device_in_use() -> torch.device:
    """The device that `pick_device` returned last; before its first call, the one for `auto`."""
    return _in_use if _in_use is not None else _find_device("auto")


def pick_device(wanted: str = "auto") -> torch.device:
    """The device to compute on, by name.

    Args:
        wanted: auto, cpu, cuda, cuda:N or mps; auto is a CUDA GPU, else Apple's, else the CPU.

    Raises:
        ConfigError: this machine has no such device.
    """
    global _in_use
    _in_use = _find_device(wanted)
    return _in_use


def _find_device(wanted: str) -> torch.device:
    """As `pick_device`. A numbered GPU becomes the current one, so that code that only says "cuda" uses it too."""
    kind, _, number = wanted.partition(":")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device {wanted}: no CUDA GPU found", "Use --device cpu, or omit --device.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise ConfigError(f"device {wanted}: no Apple GPU found", "Use --device cpu, or omit --device.")
    if number:
        if processes.world_size() > 1:
            raise ConfigError(
                f"device {wanted}: a GPU cannot be chosen by number for several processes, since each needs its own",
                "Choose the GPUs with CUDA_VISIBLE_DEVICES.",
            )
        count = torch.cuda.device_count()
        if int(number) >= count:
            there = "the only GPU is cuda:0" if count == 1 else f"the GPUs are cuda:0 to cuda:{count - 1}"
            raise ConfigError(f"device {wanted}: not found; {there}", "Use one of those, or omit --device.")
        device = torch.device("cuda", int(number))
        torch.cuda.set_device(device)
        return device
    if wanted != "auto":
        return torch.device(kind)
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def pick_precision(wanted: Precision, device: torch.device) -> Dtype:
    """The precision of matrix products: `auto` is bfloat16 if the hardware supports it natively.

    CUDA also reports support where bfloat16 is only emulated; native support begins at compute capability 8.0. GPUs
    with 7.x get float16 (with a loss scaler in training), which is fast there, and all others float32.

    Raises:
        ConfigError: float16 on a CPU, where it is slower than float32 and overflows.
    """
    if wanted == "float16" and device.type == "cpu":
        raise ConfigError("train.precision float16 needs a GPU", "Use bfloat16, float32 or auto.")
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)[0]
        return "bfloat16" if capability >= 8 else "float16" if capability == 7 else "float32"
    if device.type == "cpu" and cpu_has_bfloat16():
        return "bfloat16"
    return "float32"


def supports(dtype: Dtype, device: torch.device) -> bool:
    """True if the device supports `dtype` natively, so that using it by default is not slower."""
    if dtype == "float16":
        return device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= 7
    return dtype in ("float32", pick_precision("auto", device))


def cpu_has_bfloat16(root: Path = Path("/")) -> bool | None:
    """Whether the CPU multiplies bfloat16 matrices natively (AVX512-BF16, AMX, or Arm's BF16); None: it is unknown.

    Args:
        root: Holds proc/.
    """
    names = {"avx512_bf16", "amx_bf16", "bf16"}
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    if any(capabilities.get(name) for name in names):
        return True
    cpuinfo = root / "proc/cpuinfo"
    words = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split()) if cpuinfo.is_file() else set()
    if words & names:
        return True
    is_known = words & {"flags", "Features"} or names & capabilities.keys()
    return False if is_known else None


def autocast(device: torch.device, dtype: Dtype) -> contextlib.AbstractContextManager[object]:
    """A context in which matrix products run in `dtype`; for float32 it does nothing."""
    if dtype == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, dtype))


def is_out_of_memory(error: RuntimeError) -> bool:
    """True if a device, or a library that allocates memory on it, ran out of memory."""
    from accelerate.utils.memory import should_reduce_batch_size

    signs = (
        "CUDA error: out of memory",
        "CUBLAS_STATUS_ALLOC_FAILED",
        "Failed to CUDA calloc",  # NCCL's buffers
        "Failed to CUDA host alloc",
    )
    is_nccl = "NCCL" in str(error) and "out of memory" in str(error)
    return (
        isinstance(error, torch.OutOfMemoryError)
        or should_reduce_batch_size(error)
        or is_nccl
        or any(sign in str(error) for sign in signs)
    )


@contextlib.contextmanager
def map_memory_errors(device: torch.device, hint: str) -> Iterator[None]:
    """Turn an out-of-memory error into a ModelError with a hint."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise ModelError(f"out of memory on {describe(device)}", hint) from error


def describe(device: torch.device) -> str:
    """The name of a device, for display."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "cpu":
        threads = torch.get_num_threads()
        return f"CPU, {threads} {'thread' if threads == 1 else 'threads'}"
    return "Apple GPU"
