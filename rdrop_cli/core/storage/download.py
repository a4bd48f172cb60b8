"""Fetching a model into the hub's cache, with progress, and with proof that what arrived is what the hub has."""

from __future__ import annotations

import hashlib
import io
import math
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rdrop_cli.core.storage import hub
from rdrop_cli.core.storage.integrity import sha256_of
from rdrop_cli.errors import HubError, one_line

_WANTED = ["*.json", "*.txt", "*.model", "*.jinja", "*.py", "*.safetensors"]
"""Configuration, tokenizer and weights. Pickled weights are never fetched."""


def download_model(
    repo_id: str, revision: str | None, on_progress: Callable[[str, int, int | None], None] | None = None
) -> Path:
    """The folder in the cache that holds a model, downloaded where it is not there yet.

    Args:
        repo_id: `owner/name`, for which `hub.require` was asked before.
        on_progress: Called with "Downloading MB", how many are done, and how many are known of so far.

    Raises:
        HubError: it cannot be had; with the cause and the ways on. A damaged file is removed from the cache.
    """
    from huggingface_hub import errors, snapshot_download
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()
    try:
        folder = Path(
            snapshot_download(
                repo_id,
                revision=revision,
                allow_patterns=_WANTED,
                ignore_patterns=["*/*"],
                tqdm_class=_reporting(on_progress),
            )
        )
    except (OSError, ValueError, RuntimeError, errors.HTTPError) as error:
        raise HubError(f"model {repo_id}: {_cause(error, revision)}", hub.ways_on("model")) from error
    damaged = [path for path in folder.iterdir() if not _is_what_was_sent(path)]
    for path in damaged:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    if damaged:
        raise HubError(
            f"model {repo_id}: {damaged[0].name} did not arrive as the hub has it (its hash differs)",
            f"It is gone from the cache again: try once more. {hub.ways_on('model')}",
        )
    if not (folder / "config.json").is_file():
        raise HubError(f"model {repo_id}: no model there (config.json is missing)", hub.ways_on("model"))
    if not any(folder.glob("*.safetensors")):
        raise HubError(
            f"model {repo_id}: it has no safetensors weights, and pickled ones can run code when loaded",
            "A pull request of the hub's conversion bot often holds safetensors: --set model.revision=refs/pr/N, where"
            f" {repo_id}/discussions lists N. Or convert the weights where you trust them:"
            " from_pretrained(...).save_pretrained(...) writes safetensors.",
        )
    return folder


def _cause(error: Exception, revision: str | None) -> str:
    """Why a download failed, in one line."""
    from huggingface_hub import errors

    while isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, errors.GatedRepoError):
        return "its owner wants its terms accepted, and you logged in (hf auth login)"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "the hub has no such model, or it is private and you are not logged in (hf auth login)"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"it has no revision {revision!r}"
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        status = f"the hub answers {error.response.status_code} {error.response.reason_phrase}"
        return status + (", as if you were not logged in (hf auth login)" if error.response.status_code == 401 else "")
    if isinstance(error, errors.HTTPError):
        return f"the connection broke ({one_line(error)})"
    if "Consistency check failed" in str(error):
        return "the download ended half-way"
    return one_line(error)


def _is_what_was_sent(path: Path) -> bool:
    """Compare a cached file with its hash: the cache names it so, SHA-256 for large files and git's for others.

    Some mirrors send the plain SHA-1 instead of git's. A name of any other kind tells nothing.
    """
    digest = path.resolve().name.lower()
    if not path.is_file() or set(digest) - set(string.hexdigits) or len(digest) not in (40, 64):
        return True
    if len(digest) == 64:
        return sha256_of(path) == digest
    content = path.read_bytes()
    of_git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return digest in (of_git.hexdigest(), hashlib.sha1(content, usedforsecurity=False).hexdigest())


def _reporting(on_progress: Callable[[str, int, int | None], None] | None) -> Any:
    """A progress bar that shows nothing itself and reports the bytes."""
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    class Reporting(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "file": io.StringIO(), "disable": False})

        def update(self, n: float | None = 1) -> bool | None:
            shown: bool | None = super().update(n)
            if on_progress is not None and self.unit == "B":
                total = math.ceil(self.total / 1e6) if self.total else None
                on_progress("Downloading MB", math.ceil(self.n / 1e6), total)
            return shown

    return Reporting
