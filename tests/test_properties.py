"""Whatever bytes or trees come in, only the project's own errors come out, and no row is lost on the way to predict."""

import json
import math
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from rdrop_cli.config import dotted_keys, load_config, parse_assignment, validate
from rdrop_cli.core.data.columns import ColumnNames
from rdrop_cli.core.data.prepare import read_and_split
from rdrop_cli.core.data.sources import open_source
from rdrop_cli.core.inference.inputs import Inputs
from rdrop_cli.errors import RDropError
from rdrop_cli.schema import Config, DataConfig


def examples(count):
    """The same examples each time: a new one that fails is found by changing the seed, not by a red build."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=checks)


fragments = st.sampled_from(
    [b"text,label\n", b"text\tlabel\n", b'"', b'""', b",", b"\n", b"\r\n", b"\r", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf",
     b"1", b"0", b"great", b" ", b"\xc3\xa9", b"\xe9", b"\xed\xa0\x80", b"{", b"[", b"nan", b"1e999", b"\x1b[31m"]
)  # fmt: skip
soup = st.lists(fragments | st.binary(max_size=4), max_size=40).map(b"".join)
tables = soup | soup.map(lambda rest: b"text,label\ngreat,1\ndull,0\n" * 3 + rest)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
records = st.fixed_dictionaries({}, optional={"text": values, "label": values, "other": values})
lines = st.lists(records.map(lambda record: json.dumps(record).encode()) | st.binary(max_size=9), max_size=12)
groups = st.sampled_from([*Config.model_fields, *dotted_keys(), *(key.rpartition(".")[2] for key in dotted_keys())])
trees = st.dictionaries(
    groups | st.text(max_size=5) | st.integers(), values | st.dictionaries(groups, values), max_size=5
)


def prepare(path):
    try:
        read_and_split(open_source(str(path)), DataConfig(source=str(path)), on_progress=lambda *_: None)
    except RDropError as error:
        assert str(error)


@examples(800)
@given(content=tables, name=st.sampled_from(["d.csv", "d.tsv", "d.csv.gz"]))
def test_tables(tmp_path, content, name):
    (tmp_path / name).write_bytes(content)
    prepare(tmp_path / name)


@examples(800)
@given(rows=lines, name=st.sampled_from(["d.jsonl", "d.json", "d.parquet"]))
def test_json(tmp_path, rows, name):
    content = b"\n".join(rows) if name == "d.jsonl" else b"[" + b",".join(rows) + b"]"
    (tmp_path / name).write_bytes(content)
    prepare(tmp_path / name)


@examples(500)
@given(
    content=st.lists(fragments.filter(lambda part: b"\n" not in part), max_size=9).map(b"".join),
    count=st.integers(1, 5),
)
def test_every_line_of_text_is_an_input(tmp_path, content, count):
    (tmp_path / "d.txt").write_bytes((content + b"\n") * count)
    inputs = Inputs(None, str(tmp_path / "d.txt"), defaults=ColumnNames())
    try:
        inputs.check()
        found = list(inputs)
    except RDropError:
        assert content.startswith((b"\xff\xfe", b"\xef\xbb\xbf\x00")) or b"\x00" in content
        return
    if not content.startswith((b"\xff\xfe", b"\xef\xbb\xbf")):
        assert len(found) == count
    for item in found:
        item.text.encode()


@examples(600)
@given(tree=trees)
def test_configuration_trees(tree):
    try:
        found = validate(tree, "tree")
    except RDropError as error:
        assert str(error)
        return
    numbers = [value for value in found.train.model_dump().values() if isinstance(value, float)]
    assert all(map(math.isfinite, [*numbers, found.rdrop.alpha, found.data.test]))


@examples(600)
@given(tree=trees, extra=st.text(max_size=9), key=st.text(max_size=9))
def test_configuration_files_and_assignments(tmp_path, tree, extra, key):
    path = Path(tmp_path, "c.yaml")
    try:
        text = yaml.safe_dump(tree, allow_unicode=True) + extra
    except (UnicodeError, yaml.YAMLError):
        reject()
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    for overrides in ([], [f"{key}={extra}"]):
        try:
            load_config(str(path), [parse_assignment(item) for item in overrides])
        except RDropError as error:
            assert str(error)
