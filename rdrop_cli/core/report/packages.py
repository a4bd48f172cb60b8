"""The packages that a report needs, found without importing them."""

from __future__ import annotations

from importlib.util import find_spec

from rdrop_cli.core.storage import shell
from rdrop_cli.errors import ModelError

NEEDED = ("jinja2", "matplotlib")
INSTALL = shell.join(["pip", "install", "rdrop-cli[report]"])


def missing() -> list[str]:
    """The names of those that are not installed."""
    return [name for name in NEEDED if find_spec(name) is None]


def require() -> None:
    """Make sure that all are installed.

    Raises:
        ModelError: one is not.
    """
    if names := missing():
        verb = "is" if len(names) == 1 else "are"
        raise ModelError(f"{' and '.join(names)} {verb} not installed", f"A report needs it: {INSTALL}.")
