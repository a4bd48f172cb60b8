"""The model hub: its settings, a quick probe before anything slow, and errors that say what to do.

huggingface_hub reads its environment variables when it is imported, and retries for many seconds without a network.
This module therefore sets the environment and probes the endpoint first, and imports nothing heavy at the top.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli.core.storage.addresses import is_well_formed, without_password
from rdrop_cli.core.storage.files import user_path
from rdrop_cli.errors import ConfigError, HubError, one_line

if TYPE_CHECKING:
    from rdrop_cli.schema import HubConfig

DEFAULT_ENDPOINT = "https://huggingface.co"
_PROBE_SECONDS = 3.0
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]*[\w]")


@dataclass(frozen=True)
class HubDataset:
    """A data set from the hub: its splits, a fingerprint of its commit, and its class names by column (if any)."""

    splits: Mapping[str, Any]
    fingerprint: str
    label_names: Mapping[str, tuple[str, ...]]


def looks_like_id(name: str) -> bool:
    """True for `owner/name`."""
    return _ID.fullmatch(name) is not None and ".." not in name


def parse_dataset(name: str) -> tuple[str, str | None]:
    """Split `owner/name:configuration` into id and configuration (None if it names none)."""
    repository, colon, configuration = name.partition(":")
    return repository, configuration if colon else None


def prepare_environment(config: HubConfig) -> None:
    """Set the variables that huggingface_hub reads at import. Call it before transformers or datasets are imported.

    Raises:
        ConfigError: the endpoint cannot be parsed, so that neither could be imported.
    """
    if config.endpoint:
        os.environ["HF_ENDPOINT"] = config.endpoint
    address = os.environ.get("HF_ENDPOINT", "")
    if address and not is_well_formed(address):
        origin = "hub.endpoint" if config.endpoint else "HF_ENDPOINT"
        fault = f"{origin}: {without_password(address)} is not a valid address"
        raise ConfigError(fault, "Correct it, or leave it out.")
    if config.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


def require(repo_id: str, kind: str, config: HubConfig) -> None:
    """Make sure that a hub repository is available: in the cache, or at an endpoint that answers.

    Args:
        repo_id: `owner/name`.
        kind: `model` or `dataset`.

    Raises:
        HubError: neither; the message has the cause and the hint what to try.
    """
    prepare_environment(config)
    cached = _cache_folder(repo_id, kind).is_dir()
    if is_offline():
        if not cached:
            raise HubError(f"{kind} {repo_id}: not in the cache, and offline mode is on", ways_on(kind))
        return
    cause = probe(endpoint())
    if cause is None:
        return
    if not cached:
        raise HubError(f"{kind} {repo_id}: not in the cache, and {cause}", ways_on(kind))
    os.environ["HF_HUB_OFFLINE"] = "1"


def load_dataset(repo_id: str, config: HubConfig, configuration: str | None = None) -> HubDataset:
    """Load a data set from the hub.

    Args:
        configuration: Name of one of its configurations; None: the only one.

    Raises:
        HubError: it is unreachable, unknown or private, or it has several configurations and none was named.
    """
    require(repo_id, "dataset", config)
    import datasets
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        loaded = datasets.load_dataset(repo_id, *([configuration] if configuration else []))
    except (
        datasets.exceptions.DatasetNotFoundError,
        datasets.exceptions.DatasetGenerationError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        ConnectionError,
        OSError,
        ValueError,
        RuntimeError,  # data sets that are loading scripts
    ) as error:
        choice = re.search(r"available configs: (\[[^\]]*\])", " ".join(str(error).split()))
        if isinstance(error, ValueError) and choice:
            raise HubError(
                f"dataset {repo_id} has several configurations: {choice[1]}", f"Name one: {repo_id}:CONFIGURATION."
            ) from error
        raise HubError(f"dataset {repo_id}: {one_line(error)}", ways_on("dataset")) from error
    features = next(iter(loaded.values())).features
    names = {
        column: tuple(feature.names) for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)
    }
    fingerprint = "/".join(f"{name}:{split._fingerprint}" for name, split in sorted(loaded.items()))
    return HubDataset(dict(loaded.items()), f"{repo_id}/{fingerprint}", names)


def ways_on(kind: str) -> str:
    """The hint for an error of the hub: what to use instead."""
    local = "a local folder (or the model `starter`)" if kind == "model" else "a local file or folder"
    return f"Use {local}, or a mirror: --set hub.endpoint=URL or HF_ENDPOINT."


def endpoint() -> str:
    """Address of the hub in use."""
    return os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT


def is_offline() -> bool:
    """True where HF_HUB_OFFLINE forbids asking the hub."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def cache() -> Path:
    """The folder of all that was fetched from the hub; it need not exist yet."""
    home = Path(os.environ.get("HF_HOME", Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"))
    return user_path(os.environ.get("HF_HUB_CACHE", home / "hub"))


def _cache_folder(repo_id: str, kind: str) -> Path:
    return cache() / f"{kind}s--{repo_id.replace('/', '--')}" / "snapshots"


def probe(endpoint: str) -> str | None:
    """Why an endpoint does not answer; None if it does (an error status is an answer).

    The request runs in a thread because name resolution has no timeout of its own.
    """
    shown = without_password(endpoint)
    if not is_well_formed(endpoint):
        return f"the endpoint {shown} is not a valid address"
    if not endpoint.startswith(("http://", "https://")):
        return f"the endpoint {shown} is not an http(s) address"
    answers: list[str | None] = []
    thread = threading.Thread(target=lambda: answers.append(_ask(endpoint)), daemon=True)
    thread.start()
    thread.join(_PROBE_SECONDS)
    return answers[0] if answers else f"{shown} did not answer within {_PROBE_SECONDS:g} seconds"


def _ask(endpoint: str) -> str | None:
    import http.client
    import urllib.error
    import urllib.request

    address = re.sub(r"//[^/]*@", "//", endpoint)  # urllib would take user and password for a part of the host's name
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=_PROBE_SECONDS):
            return None
    except urllib.error.HTTPError:
        return None
    except (ValueError, http.client.InvalidURL):  # whose text may quote a part of a password
        reason: object = "its address, or that of the proxy, is not valid"
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
    return f"{without_password(endpoint)} cannot be reached ({getattr(reason, 'strerror', None) or reason})"
