"""The model hub, and environment variables that change what rdrop and its libraries do."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rdrop_cli.core.doctor import privacy
from rdrop_cli.core.doctor.report import Finding
from rdrop_cli.core.storage import hub

_PREFIXES = (
    "RDROP_", "HF_", "HUGGINGFACE_", "HUGGING_FACE_", "TRANSFORMERS_", "DATASETS_", "TOKENIZERS_",
    "CUDA_", "NVIDIA_", "PYTORCH_", "TORCH_", "NCCL_", "OMP_", "MKL_", "OPENBLAS_", "RAYON_",
)  # fmt: skip
_NAMES = frozenset({
    "XDG_CACHE_HOME", "TMPDIR", "PYTHONPATH", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR",
})  # fmt: skip


def reach() -> Iterator[Finding]:
    """Whether the hub answers; it is asked for three seconds at most, unless the user wants to be offline."""
    address = hub.endpoint()
    if hub.is_offline():
        yield Finding("hub", "offline, as HF_HUB_OFFLINE says", {"endpoint": address, "state": "offline"})
        return
    cause = hub.probe(address)
    yield Finding(
        "hub",
        cause or f"{address} answers",
        {"endpoint": address, "state": "unreachable" if cause else "answers"},
        problem=(
            "The starter, local folders and what is cached work without it. For other models and data, name a mirror:"
            " --set hub.endpoint=URL or HF_ENDPOINT."
            if cause
            else None
        ),
    )


def environment() -> Iterator[Finding]:
    """Variables that are set, without secrets."""
    names = [name for name in sorted(os.environ) if name.startswith(_PREFIXES) or name.upper() in _NAMES]
    if not names:
        yield Finding("variables", "none that matters is set", {})
    for name in names:
        yield Finding(name, privacy.variable(name, os.environ[name]) or "(empty)")
