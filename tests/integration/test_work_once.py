"""What costs a pass over large files is done once a command, however many of its parts ask for it."""

import hashlib
import os
import shutil
import time
from collections import Counter
from pathlib import Path

import pytest

from conftest import make_reviews
from rdrop_cli.core.data import readers
from rdrop_cli.core.model import locate
from rdrop_cli.core.storage import starter
from rdrop_cli.core.storage.integrity import weights_fingerprint


@pytest.fixture
def hashed(monkeypatch):
    """Counts how often each file is hashed, by its name."""
    counts = Counter()
    real = hashlib.file_digest

    def spy(stream, digest):
        counts[Path(stream.name).name] += 1
        return real(stream, digest)

    monkeypatch.setattr(hashlib, "file_digest", spy)
    return counts


@pytest.fixture
def opened(monkeypatch):
    """Counts how often each file is opened to read rows or to look at its quotes, by its name."""
    counts = Counter()
    real = readers._open_text

    def spy(path, newline):
        counts[path.name] += 1
        return real(path, newline)

    monkeypatch.setattr(readers, "_open_text", spy)
    return counts


def settle(*paths):
    """Let files look as if they had been written a minute ago."""
    then = time.time() - 60
    for path in paths:
        os.utime(path, (then, then))


def test_prepare_hashes_the_data_once_and_locates_the_model_once(rdrop, reviews, tiny_model, hashed, monkeypatch):
    located = []
    check = locate.check_model_folder
    monkeypatch.setattr(locate, "check_model_folder", lambda folder: located.append(folder) or check(folder))
    settle(reviews)
    rdrop("prepare", reviews, "--model", tiny_model)
    assert (hashed["reviews.csv"], located) == (1, [tiny_model])


def test_a_dry_run_hashes_data_and_weights_once(rdrop, reviews, tiny_args, tiny_model, hashed):
    settle(reviews, tiny_model / "model.safetensors")
    rdrop("train", reviews, "--alpha", "1", *tiny_args, "--dry-run")
    assert (hashed["reviews.csv"], hashed["model.safetensors"]) == (1, 1)


def test_the_starters_weights_are_hashed_once_to_check_and_to_record_them(hashed, tmp_path, monkeypatch):
    shutil.copytree(starter.model_folder(), tmp_path / "copy/model")  # which no test before this one has hashed
    monkeypatch.setattr(starter, "_package_folder", lambda package: tmp_path / "copy")
    hashed.clear()
    for _ in range(2):
        weights_fingerprint(starter.model_folder())
    assert hashed["model.safetensors"] == 1


@pytest.mark.parametrize("quoted", [True, False])
def test_the_quotes_of_a_table_are_looked_at_in_one_pass_and_once(rdrop, tmp_path, tiny_model, quoted, opened, hashed):
    path = tmp_path / "reviews.tsv"
    mark = "" if quoted else '"'  # a quote that is never closed: a character like any other
    path.write_text("text\tlabel\n" + "".join(f"{mark}{text}\t{label}\n" for text, label in make_reviews(60)))
    settle(path)
    found = rdrop.json("prepare", path, "--model", tiny_model)
    assert sum(found["splits"].values()) == 60
    # For its quotes, for the names of its columns and, to the end again, for its rows.
    assert (opened["reviews.tsv"], hashed["reviews.tsv"]) == (3, 1)
