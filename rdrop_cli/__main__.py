"""Entry point of `rdrop` and of `python -m rdrop_cli`."""

import os
import sys
from pathlib import Path

from rdrop_cli import threads
from rdrop_cli.app import app  # imports nothing heavy


def main() -> None:
    """Run the command line, even if a standard stream is closed or cannot encode some characters."""
    threads.let_waiting_threads_sleep()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - until the end
        getattr(sys, name).reconfigure(errors="backslashreplace")
    app(prog_name="rdrop")


if __name__ == "__main__":
    main()
