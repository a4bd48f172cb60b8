"""`rdrop export`: make a run's model usable without PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from rdrop_cli import processes
from rdrop_cli.commands import help_pages, options
from rdrop_cli.large_imports import large_imports
from rdrop_cli.terminal.console import Screen
from rdrop_cli.threads import set_thread_limits
from rdrop_cli.wording import duration

if TYPE_CHECKING:
    from rdrop_cli.core.exporting.after_training import Attempt
    from rdrop_cli.core.exporting.export import ExportResult
    from rdrop_cli.core.runs.checkpoint import Checkpoint

EXAMPLES = """[bold]Examples[/]
rdrop export runs/NAME                 [dim]# beside its PyTorch weights[/]
rdrop export NAME --int8               [dim]# a run in runs/, 8-bit model, too[/]
rdrop export runs/NAME --out DIR       [dim]# a folder to take elsewhere[/]
"""


def export(
    run: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(metavar="RUN", help="A run's folder, or the name of a run. Default: the newest finished run."),
    ] = None,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Also make a smaller, faster model with 8-bit weights.",
            rich_help_panel=help_pages.EVERYDAY,
        ),
    ] = False,
    threads: options.ThreadsOption = None,
    trust_remote_code: options.TrustRemoteCodeOption = False,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="A folder for everything that prediction needs. Default: onnx/ in the run's best/.",
            rich_help_panel=help_pages.OUTPUT,
        ),
    ] = None,
    json_output: options.JsonOption = False,
    quiet: options.QuietOption = False,
    debug: options.DebugOption = False,
) -> None:
    """Export a run's model to ONNX, checked against PyTorch."""
    from rdrop_cli.core.exporting import destination
    from rdrop_cli.core.runs.checkpoint import find_checkpoint, newest_finished
    from rdrop_cli.core.storage import extras
    from rdrop_cli.core.storage.files import user_path

    set_thread_limits(threads)
    if processes.world_size() > 1:
        raise typer.BadParameter("one process exports; run it without a launcher")
    checkpoint = newest_finished() if run is None else find_checkpoint(run)
    folder = destination.check_source(checkpoint)
    out = user_path(out) if out is not None else None
    if out is not None:
        destination.check_out(out, folder)
    extras.ONNX.require("exporting")
    screen = Screen(json_output=json_output, quiet=quiet)
    if remark := checkpoint.remark:
        screen.say(remark, style="yellow")
    screen.say(f"Exporting {folder}")

    with large_imports():
        from rdrop_cli.core.exporting.export import export_run
    with screen.stages() as stages:
        exported = export_run(
            checkpoint, int8=int8, out=out, trust_remote_code=trust_remote_code, on_progress=stages.update
        )
    _show(screen, exported, checkpoint, str(out or folder), asked=int8)
    if json_output:
        screen.document(exported.as_dict())
    if exported.refused:
        _fail(exported)


def _show(screen: Screen, exported: ExportResult, checkpoint: Checkpoint, usable: str, *, asked: bool) -> None:
    """Show the comparison, the files, and the next command.

    Args:
        usable: The argument of --checkpoint.
        asked: --int8 was given.
    """
    from rdrop_cli.commands.next_steps import prediction
    from rdrop_cli.core.runs.onnx_export import INT8
    from rdrop_cli.terminal.export_view import MEANING, compared_on, export_table, files_of

    screen.show(export_table(exported), title=f"Compared on {compared_on(exported.check)}")
    screen.say(MEANING)
    if INT8 in exported.sizes and not asked:
        screen.say("The int8 model was made again, as the export that this one replaces had one")
    screen.say(f"Exported in {duration(exported.seconds)} to {exported.folder}: {files_of(exported)}")
    labels = checkpoint.card.get("labels")
    backend = ["--backend", "onnx-int8"] if asked and INT8 in exported.sizes else []
    names = tuple(map(str, labels)) if isinstance(labels, list) else ()
    command = prediction(usable, names, has_pairs=checkpoint.columns.text_pair is not None, options=backend)
    screen.say(f"Next: {command}", style="bold", to_copy=True)


def _fail(exported: ExportResult) -> Any:
    """End with the reason why there is no int8 model.

    Raises:
        ModelError: always.
    """
    from rdrop_cli.errors import ModelError

    raise ModelError(f"{exported.refused}", f"The float32 export in {exported.folder} is complete.")


def export_trained(screen: Screen, run: Path, *, trust_remote_code: bool) -> Attempt:
    """Export a run that `rdrop train` has finished, and say in a line what it cost or why there is no export."""
    from rdrop_cli.core.exporting.after_training import export_after_training
    from rdrop_cli.core.progress import no_progress
    from rdrop_cli.core.storage import shell
    from rdrop_cli.terminal.export_view import cost_of

    with screen.stages() as stages:
        progress = stages.update if screen.is_live else no_progress
        attempt = export_after_training(run, trust_remote_code=trust_remote_code, on_progress=progress)
    if attempt.exported is not None:
        screen.say(cost_of(attempt.exported))
    elif attempt.can_retry:
        command = shell.join(["rdrop", "export", str(run)])
        screen.say(f"No ONNX export: {attempt.problem}. Make one with: {command}", style="yellow", to_copy=True)
    else:
        screen.say(f"No ONNX export: {attempt.problem}, so predictions load PyTorch", style="dim")
    return attempt


def document_of(attempt: Attempt | None) -> dict[str, Any]:
    """The keys about the export in the JSON document of `rdrop train`; both are null with --no-export."""
    if attempt is None or attempt.exported is None:
        return {"export": None, "export_error": attempt.problem if attempt is not None else None}
    described = attempt.exported.as_dict()
    return {"export": {key: described[key] for key in ("folder", "bytes", "seconds")}, "export_error": None}
