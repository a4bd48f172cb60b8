"""The command line: registration of the commands and the one boundary that errors reach a user through."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from rdrop_cli import __version__, processes
from rdrop_cli.commands import (
    compare,
    config,
    doctor,
    evaluate,
    export,
    predict,
    prepare,
    push,
    report,
    runs,
    sweep,
    train,
)
from rdrop_cli.commands.help_pages import EVERYDAY, RUNS_AND_MACHINE, Command, hide_types_of_flags
from rdrop_cli.commands.options import DEBUG_KEY
from rdrop_cli.errors import ProcessLost, RDropError, TrainingInterrupted
from rdrop_cli.terminal.console import show_error


class ErrorBoundary(TyperGroup):
    """Shows an expected error as one line; a traceback only when asked for."""

    def get_params(self, ctx: Any) -> Any:
        """The parameters, as they are to be shown."""
        params = super().get_params(ctx)
        hide_types_of_flags(params)
        return params

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Parse what comes before the command's name."""
        with _bad_usage_in_one_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run the command; errors become exit codes: 1 expected or internal, 2 bad usage, 130 interrupted."""
        threading.excepthook = _show_thread_error
        try:
            with _bad_usage_in_one_line():
                return super().invoke(ctx)
        except RDropError as error:
            if _wants_traceback(ctx):
                raise
            if not isinstance(error, TrainingInterrupted):
                show_error(str(error), shared=not isinstance(error, ProcessLost))
            elif processes.is_main_process():  # all of several processes stop together
                show_error(str(error), prefix="")
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as error:
            show_error("interrupted")
            raise typer.Exit(130) from error
        except BrokenPipeError:
            raise
        except MemoryError as error:
            if _wants_traceback(ctx):
                raise
            show_error("out of memory; use a smaller --batch-size or --max-length")
            raise typer.Exit(1) from error
        except OSError as error:
            if _wants_traceback(ctx):
                raise
            where = f"{error.filename}: " if error.filename else ""
            show_error(f"{where}{error.strerror or error}")
            raise typer.Exit(1) from error
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except Exception as error:
            # The last resort: an error nobody foresaw must not spill a traceback over a user, but it keeps its cause.
            if _wants_traceback(ctx):
                raise
            show_error(f"internal error: {type(error).__name__}: {error}. Run again with --debug for the traceback")
            raise typer.Exit(1) from error


@contextlib.contextmanager
def _bad_usage_in_one_line() -> Iterator[None]:
    """Typer's own message is a panel of five lines, which shows what was typed as it is."""
    try:
        yield
    except typer.TyperException as error:
        message = getattr(error, "format_message", str)().removeprefix("Invalid value: ")
        if not message:  # no arguments at all: the help has been shown
            raise
        message += "" if message.endswith((".", "?")) else "."
        where = getattr(error, "ctx", None)
        command = where.command_path if where is not None else "rdrop"
        show_error(f"{message} See: {command} --help")
        raise typer.Exit(2) from error


def _show_thread_error(failed: threading.ExceptHookArgs) -> None:
    """What fails in a thread reaches the user through the main thread, which waits for it; as one line if not."""
    if not isinstance(failed.exc_value, OSError | SystemExit):
        show_error(f"internal error in a background thread: {failed.exc_type.__name__}: {failed.exc_value}")


def _wants_traceback(ctx: Any) -> bool:
    return bool(ctx.meta.get(DEBUG_KEY))  # --debug or RDROP_DEBUG


app = typer.Typer(
    cls=ErrorBoundary,
    name="rdrop",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog='Start with: rdrop train --alpha 5   then: rdrop predict "great movie"',
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"rdrop {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Fine-tune transformer text classifiers with R-Drop, and measure whether it helped."""


app.command("prepare", cls=Command, epilog=prepare.EXAMPLES, rich_help_panel=EVERYDAY)(prepare.prepare)
app.command("train", cls=Command, epilog=train.EXAMPLES, rich_help_panel=EVERYDAY)(train.train)
app.command("evaluate", cls=Command, epilog=evaluate.EXAMPLES, rich_help_panel=EVERYDAY)(evaluate.evaluate)
app.command("compare", cls=Command, epilog=compare.EXAMPLES, rich_help_panel=EVERYDAY)(compare.compare)
app.command("sweep", cls=Command, epilog=sweep.EXAMPLES, rich_help_panel=EVERYDAY)(sweep.sweep)
app.command("predict", cls=Command, epilog=predict.EXAMPLES, rich_help_panel=EVERYDAY)(predict.predict)
app.command("export", cls=Command, epilog=export.EXAMPLES, rich_help_panel=EVERYDAY)(export.export)
app.command("push", cls=Command, epilog=push.EXAMPLES, rich_help_panel=EVERYDAY)(push.push)
app.command("report", cls=Command, epilog=report.EXAMPLES, rich_help_panel=EVERYDAY)(report.report)
app.add_typer(runs.app, name="runs", rich_help_panel=RUNS_AND_MACHINE)
app.add_typer(config.config, name="config", epilog=config.EXAMPLES, rich_help_panel=RUNS_AND_MACHINE)
app.command("doctor", cls=Command, epilog=doctor.EXAMPLES, rich_help_panel=RUNS_AND_MACHINE)(doctor.doctor)
