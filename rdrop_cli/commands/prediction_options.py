"""Options that `rdrop predict` has for many files."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from rdrop_cli.commands import help_pages

ShardOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        metavar="I/N",
        help="Many files: predict the I-th of N shares, such as 1/8.",
        rich_help_panel=help_pages.DATA,
    ),
]
OnOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        metavar="ray[:ADDRESS]",
        help="Many files: predict on a Ray cluster, or on all cores of this machine with Ray.",
        rich_help_panel=help_pages.MACHINE,
    ),
]
CpusPerWorkerOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        metavar="N",
        help="CPUs of each worker on Ray. Default: 1.",
        callback=help_pages.between(1, 1024),
        rich_help_panel=help_pages.MACHINE,
    ),
]
GpusPerWorkerOption = Annotated[
    Optional[float],  # noqa: UP045
    typer.Option(
        metavar="NUMBER",
        help="GPUs of each worker on Ray, e.g. 0.5; 0: the CPU. Default: 1 if the cluster has GPUs.",
        callback=help_pages.between(0, 64),
        rich_help_panel=help_pages.MACHINE,
    ),
]
OverwriteOption = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Many files: predict finished ones again, and replace other predictions in the folder.",
        rich_help_panel=help_pages.OUTPUT,
    ),
]
