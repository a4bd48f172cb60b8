"""The finished runs of a comparison without their weights, kept so that a long one can continue on another machine.

One zip archive a seed, in a folder of benchmarks/results/cells/ named like the comparison's: settings, metrics, cost,
predictions (labels and probabilities, no texts). `rdrop compare` needs no more of a run that has finished. Where the
prepared data was is left out of the record of the data.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import machine

from rdrop_cli.core.runs import layout
from rdrop_cli.core.storage.integrity import with_checksum

CELLS = machine.RESULTS / "cells"
_FILES = (layout.CONFIG, layout.DATA, layout.METRICS, layout.COST, layout.HISTORY, *layout.PREDICTIONS.values())
_DATE = (1980, 1, 1, 0, 0, 0)
"""Of every file, so that the same runs give the same archive."""


def keep(comparison: Path) -> int:
    """Pack the finished runs of a comparison.

    Returns:
        How many there are.
    """
    done = sorted(path.parent for path in comparison.glob(f"*/seed*/{layout.METRICS}"))
    for seed in sorted({run.name for run in done}):
        target = CELLS / comparison.name / f"{seed}.zip"
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = target.with_suffix(".partial")
        with zipfile.ZipFile(staging, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for run in (each for each in done if each.name == seed):
                for path in (run / file for file in _FILES if (run / file).is_file()):
                    entry = zipfile.ZipInfo(path.relative_to(comparison).as_posix(), _DATE)
                    archive.writestr(entry, _content(path), zipfile.ZIP_DEFLATED)
        staging.replace(target)
    return len(done)


def bring_back(comparison: Path) -> int:
    """Unpack the kept runs that a comparison's folder lacks.

    Returns:
        How many these are.
    """
    missing = set()
    for path in sorted((CELLS / comparison.name).glob("seed*.zip")):
        with zipfile.ZipFile(path) as archive:
            for entry in archive.namelist():
                run = comparison / Path(entry).parent
                if run in missing or not run.exists():
                    missing.add(run)
                    archive.extract(entry, comparison)
    return len(missing)


def _content(path: Path) -> str | bytes:
    if path.name != layout.DATA:
        return path.read_bytes()
    return with_checksum({**json.loads(path.read_text(encoding="utf-8")), "prepared": None})
