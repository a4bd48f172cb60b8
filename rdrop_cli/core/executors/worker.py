"""A process that trains runs: `python -m rdrop_cli.core.executors.worker`, started by `WorkerProcess`.

It reads jobs from its standard input, a line each, and trains one after the other: loading PyTorch takes longer than
many a short run. It ends when its input is closed, in the middle of a training too, since the process that started it
is then gone; and after a job that failed, so that the next one is not trained with what a failure left, such as a GPU
that refuses all further work.

To its standard output it writes one JSON message a line; whatever else is printed there goes to standard error.
"""

from __future__ import annotations

import json
import os
import queue
import threading
from collections.abc import Iterator
from typing import Any

from rdrop_cli import threads
from rdrop_cli.large_imports import in_own_process, large_imports

_INPUT, _OUTPUT, _ERRORS = 0, 1, 2


def main() -> None:
    """Train the jobs that come on standard input."""
    threads.let_waiting_threads_sleep()
    in_own_process()
    messages = os.dup(_OUTPUT)
    os.dup2(_ERRORS, _OUTPUT)
    jobs = _Jobs()

    def send(message: dict[str, Any]) -> None:
        content = (json.dumps(message) + "\n").encode()
        while content:
            content = content[os.write(messages, content) :]

    with large_imports():  # only after the environment has been set
        from rdrop_cli.core.executors.messages import ForwardingObserver, error_as_message, job_from_text
        from rdrop_cli.core.executors.training import train

    for line in jobs:
        try:
            train(job_from_text(line), ForwardingObserver(send))
            message: dict[str, Any] = {"done": True}
        except Exception as error:  # reported by the process that started this one
            message = error_as_message(error)
        jobs.in_training = False  # before the other side knows, which may now close the input
        send(message)
        if "error" in message:
            return


class _Jobs:
    """The lines of standard input, read in a thread that nothing may wait for at exit, hence unbuffered."""

    def __init__(self) -> None:
        self.in_training = False
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def __iter__(self) -> Iterator[str]:
        while (line := self._lines.get()) is not None:
            yield line

    def _read(self) -> None:
        content = b""
        while piece := os.read(_INPUT, 1 << 16):
            *lines, content = (content + piece).split(b"\n")
            for line in lines:
                self.in_training = True
                self._lines.put(line.decode())
        if self.in_training:
            os._exit(1)  # what was saved before is kept, as after a kill
        self._lines.put(None)


if __name__ == "__main__":
    main()
