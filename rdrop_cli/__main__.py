"""Entry point of `rdrop` and of `python -m rdrop_cli`."""

import atexit
import os
import sys
from pathlib import Path

from rdrop_cli import threads
from rdrop_cli.app import app  # imports nothing heavy
from rdrop_cli.large_imports import in_own_process


def main() -> None:
    """Run the command line, even if a standard stream is closed or cannot encode some characters."""
    threads.let_waiting_threads_sleep()
    in_own_process()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the end
        getattr(sys, name).reconfigure(errors="backslashreplace")
    try:
        app(prog_name="rdrop")
    except SystemExit as stop:
        if "onnxruntime" in sys.modules and "torch" not in sys.modules:
            _end_at_once(stop)
        raise


def _end_at_once(stop: SystemExit) -> None:
    """End the process without taking the interpreter and the loaded model apart, a fifth of a short prediction's time.

    Exit handlers run, and what was printed is flushed. Returns if that fails, or if Python has something left to print.
    """
    if not isinstance(stop.code, int | None):
        return
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return
    os._exit(stop.code or 0)


if __name__ == "__main__":
    main()
