"""What is private is taken out: a report is made to be published."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rdrop_cli.core.storage.addresses import without_password

HIDDEN = "(set, not shown)"
_SECRET_NAME = re.compile(r"TOKEN(?!IZER)|KEY|SECRET|PASS|_PW|CREDENTIAL|AUTH", re.IGNORECASE)
_ADDRESS_NAME = re.compile(r"(?:PROXY|ENDPOINT)$", re.IGNORECASE)
_WITH_AT_SIGN = re.compile(r"\S+@\S*")
_PATH = re.compile(r"(?!.*//)(?:/|~/|\.\.?/|[A-Za-z]:\\)")
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
    """An environment variable's value; by its name it may be a secret, or an address, which may have spaces."""
    if value and _SECRET_NAME.search(name):
        return HIDDEN
    return without_password(value) if _ADDRESS_NAME.search(name) or "://" in value else value


def _clean(text: str) -> str:
    for home in _homes():
        text = re.sub(rf"{re.escape(home)}(?![\w.-])", "~", text)
    text = _WITH_AT_SIGN.sub(lambda word: word[0] if _PATH.match(word[0]) else without_password(word[0]), text)
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
