"""The processor's name, and those of its features that decide which kernels run. Imports nothing heavy."""

from __future__ import annotations

import platform
import re
from pathlib import Path

_FEATURES = (
    *("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "sve", "bf16"),
)
"""What the kernels of PyTorch and ONNX Runtime make use of, by the kernel's names."""


def describe_cpu(root: Path = Path("/")) -> tuple[str, list[str]]:
    """The processor's name and the features that matter; no features where the system does not tell.

    Args:
        root: Holds proc/.
    """
    cpuinfo = root / "proc/cpuinfo"
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.is_file() else ""
    named = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.+)$", text, re.MULTILINE)
    has = set(flags[1].split()) if flags else set()
    name = named[1].strip() if named else platform.processor() or platform.machine()
    return name, [feature for feature in _FEATURES if feature in has]
