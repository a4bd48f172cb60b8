"""Many files: which are parts, in which order, where their predictions go, and which share has which."""

import os
from pathlib import Path

import pytest

from rdrop_cli.core.inference import part_records
from rdrop_cli.core.inference.part_records import PartRecord, claim, is_finished, read_part, write_part
from rdrop_cli.core.inference.parts import Shard, find_parts, is_many, natural, parse_shard, target_name
from rdrop_cli.errors import ConfigError, DataError

OUT = Path("out")


def make(*names):
    for name in names:
        path = Path("parts", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text\ngreat\n")


def names_of(source, **options):
    return [part.name for part in find_parts(source, OUT, **options).all]


def test_numbers_in_names_count_as_numbers():
    names = ["part-10.csv", "part-9.csv", "b/part-1.csv", "part-09b.csv", "a.csv", "10.csv", "9.csv"]
    assert sorted(names, key=natural) == [
        "9.csv", "10.csv", "a.csv", "b/part-1.csv", "part-9.csv", "part-09b.csv", "part-10.csv",
    ]  # fmt: skip


def test_a_folder_has_its_files_and_those_of_its_subfolders():
    make("b.csv", "a.txt.gz", "deep/er/c.parquet", "d.jsonl", "e.tsv", "notes.md", "table.json", "_SUCCESS", ".x.csv")
    make("_temporary/f.csv", ".git/g.csv")
    found = find_parts("parts", OUT)
    assert [part.name for part in found.all] == ["a.txt.gz", "b.csv", "d.jsonl", "deep/er/c.parquet", "e.tsv"]
    assert found.passed_over == ("notes.md", "table.json")
    assert found.all[3].source == Path("parts/deep/er/c.parquet")
    assert found.all[3].target == Path("out/deep/er/c.parquet")


def test_a_pattern_keeps_the_paths_below_its_fixed_folder():
    make("jan/1.csv", "jan/2.csv", "feb/1.csv", "feb/1.txt", "mar/x/1.csv")
    assert names_of("parts/*/*.csv") == ["feb/1.csv", "jan/1.csv", "jan/2.csv"]
    assert names_of("parts/jan/[2-9].csv") == ["2.csv"]
    assert names_of("parts/**/*.csv") == ["feb/1.csv", "jan/1.csv", "jan/2.csv", "mar/x/1.csv"]
    assert names_of(str(Path("parts/j*/1.csv").absolute())) == ["jan/1.csv"]


def test_a_pattern_passes_over_linked_folders_but_no_broken_link():
    make("1.csv", "more/2.csv")
    Path("parts/linked.csv").symlink_to("more", target_is_directory=True)
    assert names_of("parts/*.csv") == ["1.csv"]
    Path("parts/broken.csv").symlink_to("not-fetched.csv")
    with pytest.raises(DataError, match=r"broken\.csv: cannot be read"):
        names_of("parts/*.csv")


def test_a_file_with_the_name_of_a_pattern_is_a_file():
    make("a[1].csv")
    assert is_many("parts") and is_many("parts/*.csv") and not is_many("parts/a[1].csv") and not is_many("gone.csv")


@pytest.mark.parametrize(
    ("name", "input_format", "target"),
    [
        ("a.csv", None, "a.csv"),
        ("x/a.b.TSV.gz", None, "x/a.b.TSV.gz"),
        ("a.ndjson", None, "a.ndjson"),
        ("a.parquet", None, "a.parquet"),
        ("a.txt", None, "a.jsonl"),
        ("a.txt.gz", None, "a.jsonl.gz"),
        ("part-7", "csv", "part-7.csv"),
        ("a.txt", "csv", "a.csv"),
        ("v1.2", "txt", "v1.2.jsonl"),
    ],
)
def test_predictions_keep_the_name_if_its_suffix_fits(name, input_format, target):
    assert target_name(name, input_format) == target


def test_with_a_format_every_file_is_a_part():
    make("part-0", "part-1", "_SUCCESS")
    assert names_of("parts", input_format="csv") == ["part-0", "part-1"]


def test_the_predictions_may_be_in_the_folder_of_the_parts():
    make("a.csv", "out/a.csv", "out/deep/b.csv")
    for source in ("parts", "parts/**/*.csv"):
        assert [part.name for part in find_parts(source, Path("parts/out")).all] == ["a.csv"]


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("parts", "parts", "parts: is the folder of the input files"),
        ("parts/*.csv", "parts/../parts", "is the folder of the input files"),
        (
            "parts/same/*",
            "out",
            "parts/same/a.jsonl and parts/same/a.txt: the predictions of both would be out/a.jsonl",
        ),
        ("parts/sub", "parts", "parts/sub/b.csv: is an input file"),
        ("parts/*.xml", "out", "parts/*.xml: no csv, tsv, jsonl, txt, parquet files found"),
        ("parts/*.md", "out", "files found, but 1 of other types"),
        ("parts/**x/*.csv", "out", "parts/**x/*.csv: not a pattern"),
        ("parts", "parts/a.csv", "parts/a.csv: is not a folder"),
    ],
)
def test_what_would_overwrite_or_find_nothing_is_refused(source, output, message):
    make("a.csv", "notes.md", "same/a.txt", "same/a.jsonl", "sub/sub/b.csv", "sub/b.csv")
    with pytest.raises(DataError) as refused:
        find_parts(source, Path(output))
    assert message in str(refused.value)


def test_a_format_that_is_read_whole_is_refused():
    make("a.csv")
    with pytest.raises(ConfigError, match="--input-format json: not possible for many files"):
        find_parts("parts", OUT, "json")


def test_shards_have_every_part_once():
    make(*(f"{number}.csv" for number in range(10)))
    parts = find_parts("parts", OUT).all
    shares = [Shard(number, 3).of(parts) for number in (1, 2, 3)]
    assert [part.name for part in shares[0]] == ["0.csv", "3.csv", "6.csv", "9.csv"]
    assert sorted(part.name for share in shares for part in share) == [part.name for part in parts]
    assert Shard(12, 12).of(parts) == ()


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "-1/2", "1/2/3", "²/3"])
def test_a_shard_that_does_not_exist_is_refused(text):
    with pytest.raises(ConfigError, match="must be I/N with I from 1 to N"):
        parse_shard(text)


def test_no_shard_is_all_of_them():
    assert parse_shard(None) is None
    assert parse_shard("2/3") == Shard(2, 3)


SETTINGS = {"model": "a" * 64, "threshold": None, "input": "/parts"}


@pytest.fixture
def parts():
    make("a.csv", "deep/b.csv")
    return find_parts("parts", OUT)


def finish(parts, part, digest="d"):
    part.target.parent.mkdir(parents=True, exist_ok=True)
    part.target.write_text("predictions")
    record = PartRecord(digest, part.size, part.modified, part.target.stat().st_size, 1, labels={"a": 1})
    write_part(parts.output, part, record)
    return record


def test_a_finished_part_is_known_by_its_record(parts):
    first, second = parts.all
    record = finish(parts, second)
    assert read_part(parts, first) is None
    assert read_part(parts, second) == record
    assert is_finished(second, record, "d")
    assert not is_finished(second, record, "other settings")


def test_it_is_not_finished_if_its_predictions_are_gone_or_cut(parts):
    part = parts.all[0]
    record = finish(parts, part)
    part.target.write_text("cut")
    assert not is_finished(part, record, "d")
    part.target.unlink()
    assert not is_finished(part, record, "d")


def test_it_is_not_finished_if_its_input_has_changed(parts):
    record = finish(parts, parts.all[0])
    os.utime(parts.all[0].source, ns=(1, 1))
    (part,) = (part for part in find_parts("parts", OUT).all if part.name == "a.csv")
    assert part_records.has_changed(part, record) and not is_finished(part, record, "d")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"rows": 1}', "null"])
def test_a_damaged_record_only_costs_time(parts, content):
    finish(parts, parts.all[0])
    Path("out/.parts/a.csv.json").write_text(content)
    assert read_part(parts, parts.all[0]) is None


def test_a_folder_takes_predictions_with_one_kind_of_settings(parts):
    claim(parts, SETTINGS)
    claim(parts, SETTINGS)
    for changed, said in (
        ({"threshold": {"value": 0.7, "label": "b"}}, "threshold none instead of value 0.7, label b"),
        ({"model": "b" * 64}, "model (its files differ)"),
        ({"input": "/others", "threshold": 1}, "threshold none instead of 1; input folder /parts instead of /others"),
    ):
        with pytest.raises(DataError) as refused:
            claim(parts, {**SETTINGS, **changed})
        assert f"out: has predictions with other settings: {said}. Give another --output" in str(refused.value)
    claim(parts, {**SETTINGS, "threshold": 1}, overwrite=True)
    with pytest.raises(DataError, match="threshold 1 instead of none"):
        claim(parts, SETTINGS)


def test_files_of_unknown_origin_are_not_replaced(parts):
    Path("out").mkdir()
    Path("out/others.csv").write_text("no matter")
    Path("out/a.csv").write_text("precious")
    with pytest.raises(DataError, match=r"out/a.csv: exists already"):
        claim(parts, SETTINGS)
    claim(parts, SETTINGS, overwrite=True)
