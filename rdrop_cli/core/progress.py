"""How progress is told."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int | None], None]
"""Called with a stage's name, how many rows are done, and how many there are (None: not known)."""
