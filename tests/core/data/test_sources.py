"""What a user may name as data."""

import os
import sys
from collections import Counter
from pathlib import Path

import pytest

from conftest import make_reviews, write_csv
from rdrop_cli.core.data.sources import WHOLE, open_source
from rdrop_cli.core.storage import hub
from rdrop_cli.errors import DataError, HubError


def test_built_in_rotten_tomatoes():
    rows = list(open_source("rotten-tomatoes").splits[WHOLE]())
    assert Counter(row.values["label"] for row in rows) == {"0": 4265, "1": 4265}


def test_built_in_imdb_keeps_its_html():
    rows = list(open_source("imdb").splits[WHOLE]())
    assert len(rows) == 25_000
    assert sum("<br />" in row.values["text"] for row in rows) > 10_000
    assert len(rows) - len({row.values["text"] for row in rows}) == 96


def text_folder(folder, rows):
    for index, (text, label) in enumerate(rows):
        path = folder / ("pos" if label else "neg") / f"{index}_7.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_folder_of_text_files_by_class(tmp_path):
    text_folder(tmp_path / "acl", make_reviews(10))
    source = open_source(str(tmp_path / "acl"))
    assert Counter(row.values["label"] for row in source.splits[WHOLE]()) == {"neg": 5, "pos": 5}


def test_class_folders_under_split_folders(tmp_path):
    for split in ("train", "test"):
        text_folder(tmp_path / "acl" / split, make_reviews(10))
    (tmp_path / "acl" / "train" / "unsup").mkdir()
    (tmp_path / "acl" / "train" / "unsup" / "0_0.txt").write_text("no label")
    source = open_source(str(tmp_path / "acl"))
    assert set(source.splits) == {"train", "test"}
    assert {row.values["label"] for row in source.splits["train"]()} == {"neg", "pos"}


def test_files_named_after_splits(tmp_path):
    for name in ("train.csv", "dev.csv", "test.csv"):
        write_csv(tmp_path / name, make_reviews(10))
    assert set(open_source(str(tmp_path)).splits) == {"train", "validation", "test"}


def test_two_files_for_one_split_are_refused(tmp_path):
    for name in ("train.csv", "dev.csv", "valid.csv"):
        write_csv(tmp_path / name, make_reviews(10))
    with pytest.raises(DataError, match=r"dev.csv and valid.csv are named as the validation split"):
        open_source(str(tmp_path))


def test_a_broken_link_to_a_split_is_not_passed_over(tmp_path):
    write_csv(tmp_path / "train.csv", make_reviews(10))
    (tmp_path / "test.csv").symlink_to("not-fetched.csv")
    with pytest.raises(DataError, match=r"test\.csv: broken link"):
        open_source(str(tmp_path))
    (tmp_path / "test.csv").rename(tmp_path / "notes.csv")
    assert open_source(str(tmp_path)).passed_over == ("notes.csv",)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere, names are valid")
def test_a_name_that_is_no_utf8_is_refused(tmp_path):
    for label in ("neg", "pos"):
        (tmp_path / label).mkdir()
        Path(os.fsdecode(os.fsencode(tmp_path / label) + b"/caf\xe9.txt")).write_text("a fine film")
    with pytest.raises(DataError, match="name is not valid UTF-8") as caught:
        open_source(str(tmp_path))
    str(caught.value).encode()


def test_the_fingerprint_is_that_of_the_content(tmp_path):
    first, second, other = tmp_path / "a.csv", tmp_path / "b" / "a.csv", tmp_path / "c.csv"
    second.parent.mkdir()
    for path, seed in ((first, 0), (second, 0), (other, 1)):
        write_csv(path, make_reviews(10, seed))
    prints = [open_source(str(path)).fingerprint for path in (first, second, other)]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imbd", r"imbd: no such file or folder\. Did you mean imdb\?"),
        ("gone.csv", "gone.csv: no such file or folder"),
        ("some/gone.csv", "some/gone.csv: no such file or folder"),
    ],
)
def test_what_is_not_there_is_refused_without_asking_a_network(name, message, monkeypatch):
    monkeypatch.setattr(hub, "probe", None)
    with pytest.raises(DataError, match=message):
        open_source(name)


def test_an_empty_folder_says_what_was_expected(tmp_path):
    with pytest.raises(DataError, match=r"Expected train/validation/test files"):
        open_source(str(tmp_path))


def test_a_hub_id_offline_and_not_cached(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        HubError, match=r"dataset some/set: not in the cache, and offline mode is on\. Use a local file"
    ):
        open_source("some/set")


def test_a_text_that_moves_to_another_class_changes_the_fingerprint(tmp_path):
    text_folder(tmp_path / "acl", make_reviews(10))
    before = open_source(str(tmp_path / "acl")).fingerprint
    moved = next((tmp_path / "acl" / "pos").iterdir())
    moved.rename(tmp_path / "acl" / "neg" / moved.name)
    assert open_source(str(tmp_path / "acl")).fingerprint != before
