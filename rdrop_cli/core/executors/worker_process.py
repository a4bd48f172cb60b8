"""The process that trains runs (`worker`), seen from the one that started it. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.executors.messages import job_as_text

if TYPE_CHECKING:
    from rdrop_cli.core.executors.base import Job

MORE_TRIES = 2
"""How often a job is repeated whose process was killed."""


class WorkerProcess:
    """A fresh process that waits for jobs. Ctrl-C on the terminal does not reach it.

    It ends when this process does, and after a job that failed.

    Args:
        environment: Its environment variables; see `environment`.

    Raises:
        OSError: the system refuses to start it.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - `wait` closes it
        self._reading, writing = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "rdrop_cli.core.executors.worker"],
                stdin=subprocess.PIPE,
                stdout=writing,
                stderr=self._errors,
                env=environment,
                start_new_session=True,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),  # the same on Windows
            )
        except OSError:
            os.close(self._reading)
            self._errors.close()
            raise
        finally:
            os.close(writing)
        assert self._process.stdin is not None
        self._input = self._process.stdin

    def train(self, job: Job) -> None:
        """Give it a job, once it has done the one before. The message of its end has `done` or `error`."""
        with contextlib.suppress(OSError):  # it has ended already, which shows when its messages are read
            self._input.write((job_as_text(job) + "\n").encode())
            self._input.flush()

    def messages(self) -> Iterator[dict[str, Any]]:
        """What it sends, until it ends."""
        with os.fdopen(self._reading, "rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):  # not one that a kill cut off
                    yield json.loads(line)

    def stop(self) -> None:
        """Ask it to save and end, as a training does after a signal."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def wait(self) -> str:
        """Let it end if it has nothing to do, wait for its end, and say how it ended."""
        with contextlib.suppress(OSError):
            self._input.close()
        code = self._process.wait()
        if self._errors.closed:
            return ""
        self._errors.seek(0)
        errors = self._errors.read().decode(errors="replace").strip().splitlines()
        self._errors.close()
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"was ended by {signal.Signals(-code).name}"
        return f"ended with exit code {code}" + (f" ({errors[-1].strip()})" if errors else "")


def environment(threads: int, **more: str) -> dict[str, str]:
    """The environment of a process that trains with a number of threads."""
    number = str(threads)
    return {
        "RAYON_NUM_THREADS": number,
        **os.environ,
        "OMP_NUM_THREADS": number,
        "OPENBLAS_NUM_THREADS": number,
        **more,
    }
