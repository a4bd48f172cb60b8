"""Memory: what weights take, the most that was used, and giving back what is no longer used."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import platform
import sys

import torch


def weight_bytes(model: torch.nn.Module) -> int:
    """Bytes of a model's weights."""
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: what a GPU's allocator reserved since `reset_peak_memory`, else what this process used.

    The memory of CUDA and its libraries themselves, about half a gibibyte, is not included.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource  # psutil reports a peak on Windows only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def reset_peak_memory(device: torch.device) -> None:
    """Restart the measurement of a GPU's peak and release its cached memory; a process's peak cannot be reset."""
    if device.type == "cuda":
        gc.collect()  # a trainer and its model refer to each other
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def give_back_memory() -> None:
    """Return memory to the system that nothing uses any more, such as that of a model that was deleted.

    GNU's C library, and PyTorch's allocator for GPUs, keep what was freed for later: two gigabytes after a few steps
    with MPNet-base, which the processes that train would lack.
    """
    gc.collect()  # a trainer and its model refer to each other
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError):  # other C libraries have no such function
            ctypes.CDLL(None).malloc_trim(0)
