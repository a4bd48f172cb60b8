"""The command that is suggested at the end of another."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def prediction(checkpoint: str, labels: tuple[str, ...], *, has_pairs: bool, options: Sequence[str] = ()) -> str:
    """The command that predicts with a checkpoint.

    Args:
        checkpoint: The argument of --checkpoint.
        labels: The names of its classes.
        has_pairs: It takes pairs of texts, which come from a file.
        options: Further options.
    """
    from rdrop_cli.core.storage import shell, starter

    words = [shell.join(["rdrop", "predict", "--checkpoint", checkpoint, *options])]
    if has_pairs:
        return f"{words[0]} --input FILE"
    text = "great movie" if labels == starter.LABEL_NAMES else "some text"
    return f'{words[0]} "{text}"'


def report(folder: str) -> str:
    """The command that makes the report of a run or a comparison; a bare name would be one in runs/."""
    from rdrop_cli.core.storage import shell

    is_bare = len(Path(folder).parts) == 1
    return shell.join(["rdrop", "report", f".{os.sep}{folder}" if is_bare else folder])
