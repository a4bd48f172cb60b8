"""Says which packages the GPU benchmark lacks on this machine, with nothing but Python's own library.

python benchmarks/gpu_setup.py            # prints what is missing, one requirement a line; exit code 1 if anything
python benchmarks/gpu_setup.py --explain  # and how to bring it to a machine without a network
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
import tomllib
from pathlib import Path

NOT_NEEDED = {"datasets", "tensorboard", "typer"}
"""rdrop's own dependencies that the benchmark does without."""


def release(version: str) -> tuple[int, ...]:
    """(2, 13, 0) for 2.13.0+cu130."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("+")[0])[:3])


def missing() -> list[str]:
    """Requirements that are not met here."""
    project = Path(__file__).parent.parent / "pyproject.toml"
    lacking = []
    for requirement in tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]:
        name, bound = re.fullmatch(r"([\w.-]+)\s*>=\s*([\d.]+).*", requirement).groups()  # type: ignore[union-attr]
        if name in NOT_NEEDED:
            continue
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            lacking.append(requirement)
        else:
            if release(found) < release(bound):
                lacking.append(requirement)
    return lacking


def explain(lacking: list[str]) -> str:
    """What to do about it, for a machine that may have no network."""
    python = ".".join(platform.python_version_tuple()[:2])
    quoted = " ".join(f"'{requirement}'" for requirement in lacking)
    torch_too = any(requirement.startswith("torch") for requirement in lacking)
    lines = [
        f"error: this machine's Python {python} lacks: {', '.join(lacking)}.",
        "On a machine with a network:",
        f"    pip download --dest wheels --only-binary :all: --python-version {python}"
        f" --platform manylinux_2_28_{platform.machine()} --platform manylinux2014_{platform.machine()} {quoted}",
    ]
    if not torch_too:
        lines.append("    rm -f wheels/torch-* wheels/nvidia_* wheels/triton-*   # torch is here already")
    lines.append(
        "Bring the folder here as wheels/ (or name it in RDROP_WHEELS) and start again: it is installed by itself."
    )
    return "\n".join(lines)


if __name__ == "__main__":
    found_lacking = missing()
    if found_lacking:
        print(explain(found_lacking) if "--explain" in sys.argv else "\n".join(found_lacking))  # noqa: T201
        sys.exit(1)
