"""A process that trains one run: `python -m rdrop_cli.core.executors.worker`, started by `LocalWorkers`.

It reads the job from its standard input, and ends when that is closed, since the process that started it is then gone.
To its standard output it writes one JSON message a line; whatever else is printed there goes to standard error.
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any

from rdrop_cli import threads

_INPUT, _OUTPUT, _ERRORS = 0, 1, 2


def main() -> None:
    """Train the job that stands on standard input."""
    threads.let_waiting_threads_sleep()
    messages = os.dup(_OUTPUT)
    os.dup2(_ERRORS, _OUTPUT)
    line = _read_line()
    threading.Thread(target=_end_with_the_input, daemon=True).start()

    def send(message: dict[str, Any]) -> None:
        content = (json.dumps(message) + "\n").encode()
        while content:
            content = content[os.write(messages, content) :]

    # Heavy, and only after the environment has been set.
    from rdrop_cli.core.executors.messages import Telling, error_as_message, job_from_text
    from rdrop_cli.core.executors.training import train

    try:
        train(job_from_text(line), Telling(send))
    except Exception as error:  # reported by the process that started this one
        send(error_as_message(error))
    else:
        send({"done": True})


def _read_line() -> str:
    """A line of standard input, unbuffered: what follows is read in a thread that nothing may wait for at exit."""
    content = b""
    while not content.endswith(b"\n"):
        piece = os.read(_INPUT, 1 << 16)
        if not piece:
            os._exit(1)
        content += piece
    return content.decode()


def _end_with_the_input() -> None:
    """End this process when the one that started it has ended. What was saved before is kept, as after a kill."""
    while os.read(_INPUT, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
