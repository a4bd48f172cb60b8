"""Files of every kind give the same rows; broken ones say where."""

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rdrop_cli.core.data.readers import read_rows
from rdrop_cli.errors import DataError

ROWS = [{"text": "one, two", "label": "a"}, {"text": 'with "quotes"\nand a line', "label": "b"}]


def contents():
    csv = 'text,label\n"one, two",a\n"with ""quotes""\nand a line",b\n'
    return {
        "r.csv": csv.encode(),
        "bom.csv": b"\xef\xbb\xbf" + csv.encode(),
        "crlf.csv": csv.replace("\n", "\r\n").replace('quotes""\r\n', 'quotes""\n').encode(),
        "r.tsv": b'text\tlabel\none, two\ta\n"with ""quotes""\nand a line"\tb\n',
        "r.jsonl": "".join(json.dumps(row) + "\n" for row in ROWS).encode(),
        "r.json": json.dumps(ROWS).encode(),
        "r.csv.gz": gzip.compress(csv.encode()),
    }


@pytest.mark.parametrize("name", sorted(contents()))
def test_every_text_format_gives_the_same_rows(tmp_path, name):
    (tmp_path / name).write_bytes(contents()[name])
    assert [row.values for row in read_rows(tmp_path / name)] == ROWS


def test_parquet_gives_the_same_rows(tmp_path):
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "r.parquet")
    assert [row.values for row in read_rows(tmp_path / "r.parquet")] == ROWS


def test_lines_are_those_of_the_file_even_behind_a_text_of_two_lines(tmp_path):
    (tmp_path / "r.csv").write_text('text,label\n"two\nlines",a\nshort\nlast,b\n')
    rows = list(read_rows(tmp_path / "r.csv"))
    assert [(row.line, row.problem) for row in rows] == [
        (2, None), (4, "1 fields, but the header has 2"), (5, None),
    ]  # fmt: skip


def test_a_blank_line_of_a_text_file_is_a_row(tmp_path):
    (tmp_path / "r.txt").write_bytes(b"first\n\n third \r\n")
    assert [row.values["text"] for row in read_rows(tmp_path / "r.txt")] == ["first", "", " third "]


def test_a_broken_json_line_does_not_stop_the_others(tmp_path):
    (tmp_path / "r.jsonl").write_text('{"text": "a"}\n{oops\n[1]\n{"text": "b"}\n')
    rows = list(read_rows(tmp_path / "r.jsonl"))
    assert [row.values for row in rows if row.problem is None] == [{"text": "a"}, {"text": "b"}]
    assert [(row.line, row.problem.split(" (")[0]) for row in rows if row.problem] == [
        (2, "not valid JSON"), (3, "not a JSON object"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.docx", b"", "unknown file type"),
        ("x.json", b"{", "not valid JSON"),
        ("x.json", b'{"a": 1}', "expected an array"),
        ("x.parquet", b"no", "not a parquet file"),
        ("x.csv.gz", b"no", "damaged gzip"),
        ("x.csv.gz", gzip.compress(b"text,label\n" * 99, mtime=0)[:20], "damaged gzip"),
    ],
)
def test_broken_files_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        list(read_rows(tmp_path / name))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"gone.csv: no such file"):
        list(read_rows(tmp_path / "gone.csv"))


def test_only_a_line_feed_ends_a_line_of_text(tmp_path):
    (tmp_path / "r.txt").write_bytes(b"one\rtwo\nthree\r\n")
    assert [row.values["text"] for row in read_rows(tmp_path / "r.txt")] == ["one\rtwo", "three"]


def test_a_blank_line_of_a_one_column_table_is_an_empty_text(tmp_path):
    (tmp_path / "r.csv").write_text("text\na\n\nb\n")
    assert [row.values["text"] for row in read_rows(tmp_path / "r.csv")] == ["a", "", "b"]
