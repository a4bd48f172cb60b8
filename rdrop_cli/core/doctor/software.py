"""Versions of what rdrop stands on, compared with what its own metadata asks for, and the extras."""

from __future__ import annotations

import importlib
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from rdrop_cli import __version__
from rdrop_cli.core.doctor.report import Finding
from rdrop_cli.core.storage import hub, shell
from rdrop_cli.core.storage.addresses import is_well_formed
from rdrop_cli.errors import one_line

if TYPE_CHECKING:
    from packaging.requirements import Requirement

DISTRIBUTION = "rdrop-cli"
IMPORTED = ("torch", "transformers")
"""Packages that are imported, as one that is installed need not work."""
_FOR_DEVELOPERS = "dev"


def rdrop() -> Iterator[Finding]:
    """rdrop's own version, and Python's."""
    from packaging.specifiers import SpecifierSet

    yield Finding("rdrop", __version__)
    version = platform.python_version()
    needed = _metadata("Requires-Python")
    supported = not needed or SpecifierSet(needed[0]).contains(version, prereleases=True)
    yield Finding(
        "python",
        f"{version}{_needs(''.join(needed))}, {platform.python_implementation()}, {sys.executable}",
        {"version": version, "needs": "".join(needed), "executable": sys.executable},
        problem=None if supported else f"This Python is not supported: use one that is {needed[0]}.",
    )


def packages() -> Iterator[Finding]:
    """What rdrop requires."""
    required = [requirement for requirement in _requirements() if not _extra_of(requirement)]
    if not required:
        yield Finding("requirements", "unknown: rdrop is not installed as a package, so nothing says what it requires")
    for requirement in required:
        yield _package(requirement)


def _package(requirement: Requirement) -> Finding:
    name, needs = requirement.name, ",".join(sorted(map(str, requirement.specifier), reverse=True))
    version, problem, prevents = version_of(name), None, False
    install = shell.join(["pip", "install", f"{name}{needs}"])
    if version is None:
        problem, prevents = f"It is required. Install it with: {install}", True
    elif name in IMPORTED and (problem := _import_problem(name, install)):
        prevents = True
    elif not requirement.specifier.contains(version, prereleases=True):
        problem = f"This version is not supported. Install another with: {install}"
    return Finding(
        name,
        f"{version or 'not installed'}{_needs(needs)}",
        {"version": version, "needs": needs},
        problem=problem,
        prevents_training=prevents,
    )


def _import_problem(name: str, install: str) -> str | None:
    """Why a package cannot be imported and what to do about it; None where it can."""
    if name == "transformers" and not is_well_formed(hub.endpoint()):
        return "It cannot be imported because HF_ENDPOINT is not a valid address. Correct the variable, or unset it."
    fault = import_fault(name)
    if fault is None:
        return None
    cause = f"It cannot be imported: {type(fault).__name__}: {one_line(fault)}."
    if isinstance(fault, ImportError | OSError):
        return f"{cause} Reinstall it: {install} --force-reinstall"
    return f"{cause} The cause may be an environment variable or another package."


def import_fault(name: str) -> Exception | None:
    """The error that importing a package raises; None where it can be imported."""
    try:
        importlib.import_module(name)
    except Exception as error:  # a broken installation raises anything: ImportError, OSError, RuntimeError, ...
        return error
    return None


def extras() -> Iterator[Finding]:
    """What can be installed in addition, and how."""
    requirements = list(_requirements())
    for extra in _metadata("Provides-Extra"):
        wanted = [requirement.name for requirement in requirements if _extra_of(requirement) == extra]
        versions = {name: version_of(name) for name in wanted if name != DISTRIBUTION}
        if extra == _FOR_DEVELOPERS:
            continue
        if not versions:
            text = "not available on this system"
        elif all(versions.values()):
            text = ", ".join(f"{name} {version}" for name, version in versions.items())
        else:
            text = f"not installed: {shell.join(['pip', 'install', f'{DISTRIBUTION}[{extra}]'])}"
        yield Finding(extra, text, versions)


def version_of(name: str) -> str | None:
    """An installed package's version; None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _requirements() -> Iterator[Requirement]:
    from packaging.requirements import Requirement

    yield from map(Requirement, _metadata("Requires-Dist"))


def _extra_of(requirement: Requirement) -> str | None:
    """The extra that a requirement belongs to; None: it is always required."""
    if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
        return None
    matching = [extra for extra in _metadata("Provides-Extra") if requirement.marker.evaluate({"extra": extra})]
    return matching[0] if matching else "none here"


def _metadata(field: str) -> list[str]:
    """A field of rdrop's own metadata, which may occur many times; none where it is not installed as a package."""
    try:
        return metadata.metadata(DISTRIBUTION).get_all(field) or []
    except metadata.PackageNotFoundError:
        return []


def _needs(specifier: str) -> str:
    return f" (needs {specifier})" if specifier else ""
