"""The whole examination. Whatever is broken, the rest is still examined."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from rdrop_cli.core.doctor import machine, privacy, resources, software, surroundings
from rdrop_cli.core.doctor.report import Finding, Section
from rdrop_cli.core.storage import hub
from rdrop_cli.errors import StorageError, one_line


def examine(runs: Path) -> list[Section]:
    """Look at the installation and the machine; takes some seconds, most of them to import PyTorch.

    Args:
        runs: The folder that runs are written to.

    Raises:
        StorageError: the working directory was removed, in which PyTorch ends the process when it is imported.
    """
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise StorageError("the working directory no longer exists", "Change to another folder.") from error
    return [
        _section("software", rdrop=software.rdrop, packages=software.packages),
        _section("extras", extras=software.extras),
        _section(
            "machine",
            system=machine.system,
            processor=machine.processor,
            devices=machine.devices,
            cores=resources.cores,
            load=resources.load,
            memory=resources.memory,
        ),
        _section(
            "storage",
            runs=partial(resources.folder, "runs", runs, prevents_training=True),
            cache=partial(resources.folder, "hub cache", hub.cache()),
        ),
        _section("network", hub=surroundings.reach),
        _section("environment", variables=surroundings.environment),
    ]


def _section(name: str, **looks: Callable[[], Iterable[Finding]]) -> Section:
    findings = [finding for subject, look in looks.items() for finding in _look(subject, look)]
    return Section(name, tuple(map(_fit_to_publish, findings)))


def _look(subject: str, look: Callable[[], Iterable[Finding]]) -> list[Finding]:
    try:
        return list(look())
    except (ImportError, OSError, RuntimeError) as error:  # a package or driver that does not work
        problem = f"It could not be examined: {one_line(error)}."
        return [Finding(subject, "unknown", problem=problem, prevents_training=isinstance(error, ImportError))]


def _fit_to_publish(finding: Finding) -> Finding:
    clean = privacy.without_secrets
    return replace(finding, text=clean(finding.text), value=clean(finding.value), problem=clean(finding.problem))
