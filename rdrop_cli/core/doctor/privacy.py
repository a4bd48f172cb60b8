"""What is private is taken out: a report is made to be published."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

HIDDEN = "(set, not shown)"
_SECRET_NAME = re.compile(r"TOKEN(?!IZER)|KEY|SECRET|PASS|CREDENTIAL|AUTH", re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(?<=//)[^/@\s]+(?=@)")
_IN_QUERY = re.compile(r"(?<=[?&])([^=&\s]+)=[^&\s]+")
_HUB_TOKEN = re.compile(r"\bhf_\w{8,}")


def without_secrets(value: Any) -> Any:
    """Text, or lists and mappings of it, without the home folder's path, passwords in addresses, and tokens."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, dict):
        return {key: without_secrets(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_secrets(inner) for inner in value]
    return value


def variable(name: str, value: str) -> str:
    """An environment variable's value, unless its name says that it is a secret."""
    return HIDDEN if value and _SECRET_NAME.search(name) else value


def _clean(text: str) -> str:
    for home in _homes():
        text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
    text = _IN_ADDRESS.sub("***", text)
    if "://" in text:
        text = _IN_QUERY.sub(r"\1=***", text)
    return _HUB_TOKEN.sub("hf_***", text)


def _homes() -> list[str]:
    """The home folder as it is named, and as it is once links are followed."""
    try:
        home = Path.home()
    except RuntimeError:  # there is none
        return []
    return [str(path) for path in {home, home.resolve()} if path != Path(path.anchor)]
