"""The model hub, and environment variables that change what rdrop and its libraries do."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rdrop_cli.core.doctor import privacy
from rdrop_cli.core.doctor.report import Finding
from rdrop_cli.core.storage import hub
from rdrop_cli.core.storage.addresses import is_well_formed, without_password

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
    shown = without_password(address)
    if hub.is_offline():
        yield Finding("hub", "offline (HF_HUB_OFFLINE is set)", {"endpoint": shown, "state": "offline"})
        return
    cause = hub.probe(address)
    yield Finding(
        "hub",
        cause or f"{shown} answers",
        {"endpoint": shown, "state": "unreachable" if cause else "answers"},
        problem=_advice(address) if cause else None,
    )


def _advice(address: str) -> str:
    if not is_well_formed(address):
        return "Correct HF_ENDPOINT, or unset it."
    return (
        "The starter, local folders and what is cached work without it. For other models and data, name a mirror:"
        " --set hub.endpoint=URL or HF_ENDPOINT."
    )


def environment() -> Iterator[Finding]:
    """Variables that are set, without secrets."""
    names = [name for name in sorted(os.environ) if name.startswith(_PREFIXES) or name.upper() in _NAMES]
    if not names:
        yield Finding("variables", "no relevant variable is set", {})
    for name in names:
        yield Finding(name, privacy.variable(name, os.environ[name]) or "(empty)")
