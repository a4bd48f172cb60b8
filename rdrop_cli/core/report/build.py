"""Find the run or comparison that a name means, and write its report to a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.runs import layout
from rdrop_cli.core.runs.finding import is_run, named_run, runs_by_age
from rdrop_cli.core.storage import extras
from rdrop_cli.core.storage.files import user_path, write_text
from rdrop_cli.errors import CheckpointError, ConfigError, StorageError

if TYPE_CHECKING:
    from rdrop_cli.core.progress import Progress
    from rdrop_cli.core.report.parts import Report


@dataclass(frozen=True)
class WrittenReport:
    """A report that has been written.

    Attributes:
        path: The file.
        size: In bytes.
        sections: The titles of those that it has.
        left_out: Why the others, or parts of them, could not be made: a title and a sentence each.
    """

    path: Path
    size: int
    sections: list[str]
    left_out: list[tuple[str, str]]

    def as_dict(self) -> dict[str, Any]:
        """The document of `--json`."""
        return {
            "report": str(self.path),
            "bytes": self.size,
            "sections": self.sections,
            "left_out": [{"section": title, "reason": reason} for title, reason in self.left_out],
        }


def write_report(
    name: str | None = None, *, against: str | None = None, out: Path | None = None, on_progress: Progress
) -> WrittenReport:
    """Write the report of a run or a comparison.

    Args:
        name: A run's folder or name, or a comparison's; None: the newest finished run.
        against: Another run with the same test examples, to put beside it.
        out: The file; None: report.html in the folder.

    Raises:
        CheckpointError: there is no such run or comparison, it has not finished, or the two runs cannot be compared.
        ConfigError: a comparison is to be compared with something.
        ModelError: a package that it needs is missing.
        StorageError: the file cannot be written.
    """
    folder = _find(name)
    if against is not None and is_comparison(folder):
        raise ConfigError(f"--against {against}: {folder} is a comparison", "Name two runs instead.")
    path = out or folder / layout.REPORT
    if path.is_dir():
        raise StorageError(f"{path}: is a folder", f"Name a file: --out {path / layout.REPORT}.")
    extras.REPORT.require("a report")

    from rdrop_cli.core.report.render import render

    report = _make(folder, against, on_progress)
    page = render(report)
    write_text(path, page)
    return WrittenReport(
        path,
        len(page.encode("utf-8")),
        [section.title for section in report.sections if not section.is_left_out],
        [(section.title, reason) for section in report.sections for reason in section.missing],
    )


def is_comparison(folder: Path) -> bool:
    """True of a folder with the results of a comparison."""
    return not is_run(folder) and any((folder / name).is_file() for name in layout.RESULTS)


def _make(folder: Path, against: str | None, on_progress: Progress) -> Report:
    if is_comparison(folder):
        from rdrop_cli.core.report.comparison_report import report_comparison

        return report_comparison(folder)
    from rdrop_cli.core.report.run_documents import open_run
    from rdrop_cli.core.report.run_report import report_run

    run = open_run(folder)
    other = open_run(named_run(against)) if against is not None else None
    return report_run(run, other, on_progress=on_progress)


def _find(name: str | None) -> Path:
    """The folder of a run or a comparison."""
    if name is None:
        return _newest()
    path = user_path(name)
    if len(path.parts) > 1 or not (layout.RUNS / path).is_dir():
        for candidate in (path, layout.COMPARISONS / path):
            if candidate.is_dir() and not is_run(candidate):
                if is_comparison(candidate):
                    return candidate
                if _holds_cells(candidate):
                    again = "Resume it with the same rdrop compare command."
                    raise CheckpointError(f"{candidate}: the comparison has no results yet", again)
    return named_run(name)


def _holds_cells(folder: Path) -> bool:
    return any(is_run(path) for path in folder.glob("*/seed*"))


def _newest() -> Path:
    for run in runs_by_age():
        if (run / layout.METRICS).is_file():
            return run
    raise CheckpointError(
        f"no finished run found in {layout.RUNS}/", "Name a run, or train one: rdrop train --alpha 5."
    )
