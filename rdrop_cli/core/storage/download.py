"""Download a model into the hub's cache, with progress, and verify the files' hashes."""

from __future__ import annotations

import hashlib
import io
import math
import string
from pathlib import Path
from typing import Any

from rdrop_cli.core.progress import Progress, no_progress
from rdrop_cli.core.storage import hub
from rdrop_cli.core.storage.integrity import sha256_of
from rdrop_cli.errors import HubError, one_line

_WANTED = ["*.json", "*.txt", "*.model", "*.jinja", "*.py", "*.safetensors"]
"""Configuration, tokenizer and weights. Pickled weights are never downloaded."""


def download_model(repo_id: str, revision: str | None, on_progress: Progress = no_progress) -> Path:
    """Download a model unless it is cached, and return its folder in the cache.

    Args:
        repo_id: `owner/name`; call `hub.require` with it first.
        on_progress: Called with "Downloading MB", the megabytes done, and the total known so far.

    Raises:
        HubError: the download failed; the message has the cause and the hint what to try. A damaged file is removed
            from the cache.
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
            f"model {repo_id}: the downloaded {damaged[0].name} is damaged (its hash differs from the hub's)",
            f"It was removed from the cache; try again. {hub.ways_on('model')}",
        )
    if not (folder / "config.json").is_file():
        raise HubError(f"model {repo_id}: not a model repository (config.json is missing)", hub.ways_on("model"))
    if not any(folder.glob("*.safetensors")):
        raise HubError(
            f"model {repo_id}: no safetensors weights found; pickled weights can run code when loaded and are refused",
            "The hub's conversion bot often opens a pull request with safetensors: find its number N under"
            f" {repo_id}/discussions and use --set model.revision=refs/pr/N. Or convert the weights yourself if you"
            " trust them: from_pretrained(...).save_pretrained(...) writes safetensors.",
        )
    return folder


def download_file(repo_id: str, name: str) -> Path | None:
    """Download a small file of a model's repository unless it is cached; None: there is no such file.

    Args:
        repo_id: `owner/name`; call `hub.require` with it first.

    Raises:
        HubError: the hub refuses, or cannot be reached.
    """
    from huggingface_hub import errors, hf_hub_download
    from huggingface_hub.utils import logging

    logging.set_verbosity_error()
    try:
        return Path(hf_hub_download(repo_id, name))
    except errors.EntryNotFoundError:  # or it is not in the cache, which the download of the model will say
        return None
    except (OSError, ValueError, RuntimeError, errors.HTTPError) as error:
        raise HubError(f"model {repo_id}: {_cause(error, None)}", hub.ways_on("model")) from error


def _cause(error: Exception, revision: str | None) -> str:
    """Why a download failed, in one line."""
    from huggingface_hub import errors

    while isinstance(error, errors.LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    if isinstance(error, errors.GatedRepoError):
        return "you must accept its terms on the hub and log in (hf auth login)"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "not found on the hub, or private while you are not logged in (hf auth login)"
    if isinstance(error, errors.RevisionNotFoundError):
        return f"revision {revision!r} not found"
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        status = f"the hub answered {error.response.status_code} {error.response.reason_phrase}"
        return status + ("; you may not be logged in (hf auth login)" if error.response.status_code == 401 else "")
    if isinstance(error, errors.HTTPError):
        return f"the connection failed ({one_line(error)})"
    if "Consistency check failed" in str(error):
        return "the download is incomplete"
    return one_line(error)


def _is_what_was_sent(path: Path) -> bool:
    """Compare a cached file with the hash in its name: SHA-256 for large files, git's blob hash for others.

    Some mirrors use the plain SHA-1 instead of git's. A file with any other kind of name cannot be checked and passes.
    """
    digest = path.resolve().name.lower()
    if not path.is_file() or set(digest) - set(string.hexdigits) or len(digest) not in (40, 64):
        return True
    if len(digest) == 64:
        return sha256_of(path) == digest
    content = path.read_bytes()
    of_git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return digest in (of_git.hexdigest(), hashlib.sha1(content, usedforsecurity=False).hexdigest())


def _reporting(on_progress: Progress) -> Any:
    """A progress bar that shows nothing itself and reports the bytes."""
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    class Reporting(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "file": io.StringIO(), "disable": False})

        def update(self, n: float | None = 1) -> bool | None:
            shown: bool | None = super().update(n)
            if self.unit == "B":
                total = math.ceil(self.total / 1e6) if self.total else None
                on_progress("Downloading MB", math.ceil(self.n / 1e6), total)
            return shown

    return Reporting
