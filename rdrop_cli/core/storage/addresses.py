"""Addresses of hubs and proxies."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

_SCHEME = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)


def without_password(address: str) -> str:
    """An address without anything before its last `@`, except the scheme.

    A password that contains `@` or `/`, or an address without a scheme, cannot be parsed with certainty. So more
    may be hidden than the user and the password: of `https://host/a@b` the host.
    """
    before, at, host = address.rpartition("@")
    if not at:
        return address
    scheme = _SCHEME.match(before)
    return f"{scheme[0] if scheme else ''}***@{host}"


def is_well_formed(address: str) -> bool:
    """False for an address that cannot be parsed. Transformers cannot be imported with such a one in HF_ENDPOINT."""
    try:
        return urlsplit(address).port != 0
    except ValueError:
        return False
