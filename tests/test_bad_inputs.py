"""A catalogue of what goes wrong: each is one line on stderr, exit code 1 or 2, and harms nothing that was there."""

import gzip
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import CLI, make_reviews, write_csv
from rdrop_cli.core.storage.lock import LOCK

ALL, LABELLED, TRAINING = (
    ("prepare", "train", "evaluate", "predict"),
    ("prepare", "train", "evaluate"),
    ("prepare", "train"),
)
CSV = b"text,label\ngreat movie,1\ndull movie,0\n"


def rows_of(text, label="{2}"):
    """60 lines of JSON; text and label are given as JSON, with {1} for the line's number and {2} for its class."""
    lines = []
    for number in range(60):
        line = f'{{"text": {text}, "label": {label}}}'
        lines.append(line.replace("{1}", str(number)).replace("{2}", str(number % 2)))
    return "\n".join(lines).encode()


def parquet(**columns):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def twice():
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table([["a"], ["b"], ["c"]], names=["text", "text", "label"]), sink)
    return sink.getvalue().to_pybytes()


def halves():
    """A column that says it is text and holds bytes that are none."""
    raw = pa.array([b"\xff\xfe", b"a"], type=pa.binary()).view(pa.string())
    return parquet(text=raw, label=[0, 1])


TABLE = parquet(text=[f"great movie {i}" for i in range(60)], label=[i % 2 for i in range(60)])
FILES = [  # name, content, the commands that cannot use it, a part of the message
    ("empty.csv", b"", ALL, "the file is empty"),
    ("header.csv", b"text,label\n", LABELLED, "no usable rows"),
    ("no-text.csv", b"words,label\na,1\nb,0\n", ALL, "no text column"),
    ("no-label.csv", b"text,stars\na,1\nb,0\n", LABELLED, "no label column"),
    ("twice.csv", b"text,label,text\na,1,b\n", ALL, "column 'text' appears twice"),
    ("twice.parquet", twice(), ALL, "column 'text' appears twice"),
    ("utf16.csv", CSV.decode().encode("utf-16-le"), ALL, "UTF-16 without a byte-order mark"),
    ("latin1.csv", "text,label\ncaf\xe9,1\nbl\xe9,0\n".encode("latin-1"), LABELLED, "Latin-1 or Windows-1252?"),
    ("book.csv", b"PK\x03\x04" + b"\x00" * 99, ALL, "zip archive (as Excel workbooks"),
    ("packed.csv", gzip.compress(CSV), ALL, "Add .gz to its name"),
    ("table.csv", TABLE, ALL, "is a parquet file, not text"),
    ("old.xls.csv", b"\xd0\xcf\x11\xe0" * 9, ALL, "an Excel or Word document"),
    ("open.csv", b'text,label\nfine,1\n"dull,0\ngreat,1\n', ALL, "line 3: a quote is opened here and never closed"),
    ("cut.csv.gz", gzip.compress(CSV * 99)[:40], ALL, "damaged gzip file"),
    ("not.csv.gz", CSV, ALL, "damaged gzip file"),
    ("garbage.parquet", b"PAR1 garbage PAR1", ALL, "not a parquet file, or damaged"),
    ("cut.parquet", TABLE[: len(TABLE) // 2], ALL, "not a parquet file, or damaged"),
    ("array.jsonl", json.dumps([{"text": "a", "label": 1}]).encode(), ALL, "Name it .json."),
    ("lines.json", rows_of('"a"', "1"), ALL, "Name it .jsonl"),
    ("object.json", b'{"rows": 1}', ALL, "expected an array of objects"),
    ("cut.json", b'[{"text": "a", "lab', ALL, "not valid JSON"),
    ("latin1.json", '[{"text": "caf\xe9"}]'.encode("latin-1"), ALL, "not valid UTF-8"),
    ("json.csv", rows_of('"a"', "1"), ALL, "contains JSON, not a table"),
    ("semicolons.csv", CSV.replace(b",", b";"), ALL, "separated by semicolons"),
    ("tabs.csv", CSV.replace(b",", b"\t"), ALL, "Name it .tsv."),
    ("table.docx", CSV, ALL, ""),
    ("lines.txt", b"great movie\n", LABELLED, "a text file has no labels"),
    ("one-class.csv", b"text,label\n" + b"".join(b"movie %d,1\n" % i for i in range(60)), TRAINING, "two classes"),
    ("one-row.csv", b"text,label\ngreat,1\n", TRAINING, "two classes"),
    ("two-rows.csv", CSV, ("train",), "no validation split"),
    ("small-class.csv", b"text,label\n" + b"".join(b"movie %d,%d\n" % (i, i < 2) for i in range(60)), ("train",),
     "no example of class '1'"),
    ("blank.csv", b"text,label\n ,1\n  ,0\n", LABELLED, "text is empty"),
    ("numbers.jsonl", rows_of("{1}"), LABELLED, "text is int, not text"),
    ("nested.jsonl", rows_of('{"a": 1}'), LABELLED, "text is dict, not text"),
    ("missing.jsonl", rows_of("null"), LABELLED, "text is missing"),
    ("unlabelled.jsonl", rows_of('"great {1}"', "null"), LABELLED, "label is missing"),
    ("lists.jsonl", rows_of('"great {1}"', "[1]"), LABELLED, "label is list, not a name or a number"),
    ("scale.jsonl", rows_of('"great {1}"', "0.{1}"), TRAINING, "the labels are scores"),
    ("deep.jsonl", b'{"text": ' + b"[" * 100_000, LABELLED, "not valid JSON"),
    ("halves.jsonl", rows_of('"great {1}"', '"\\ud83d{2}"'), LABELLED, "invalid character"),
    ("ragged.csv", b"text,label\n" + b"a,b,c\n" * 60, LABELLED, "3 fields, but the header has 2"),
    ("bytes.parquet", parquet(text=[b"a", b"b"], label=[0, 1]), LABELLED, "text is bytes, not text"),
    ("halves.parquet", halves(), ALL, "a value cannot be read"),
    ("unknown.csv", b"text,label\ngreat,fantastic\n", ("evaluate",), "label 'fantastic' is not one of"),
    ("folder", None, ALL, ""),
    ("gone.csv", None, ALL, ""),
    ("link.csv", None, ALL, ""),
    ("both", {"train.csv": CSV, "train.jsonl": b"{}"}, LABELLED, "are named as the train split"),
    ("only-test", {"test.csv": CSV}, LABELLED, ""),
    ("one-folder", {"pos/1.txt": b"great"}, LABELLED, "no data found in this folder"),
]  # fmt: skip
MODELS = [  # name, what to do to a copy of a good model, a part of the message
    ("no-config", lambda at: (at / "config.json").unlink(), "config.json is missing"),
    ("no-weights", lambda at: (at / "model.safetensors").unlink(), "model.safetensors is missing"),
    ("pickled", lambda at: (at / "model.safetensors").rename(at / "pytorch_model.bin"), "save_pretrained"),
    ("cut", lambda at: cut(at / "model.safetensors"), "cannot be loaded"),
    ("garbage", lambda at: (at / "model.safetensors").write_bytes(b"\xff" * 999), "cannot be loaded"),
    ("no-tokenizer", lambda at: [path.unlink() for path in at.glob("tokenizer*")], "tokenizer"),
    ("garbage-tokenizer", lambda at: (at / "tokenizer.json").write_text("{"), "tokenizer"),
    (
        "other-tokenizer",
        lambda at: change_words(at, lambda words: {"text": 90, **words, "the": 91}),
        "has embeddings for",
    ),
    ("no-unknown-token", lambda at: change_words(at, without_the_unknown), "the tokenizer fails"),
    ("garbage-config", lambda at: (at / "config.json").write_text("{"), "cannot be loaded"),
    ("list-config", lambda at: (at / "config.json").write_text("[]"), "cannot be loaded"),
    ("unknown-kind", lambda at: change(at, model_type="nonsense"), "cannot be loaded"),
    ("own-code", lambda at: change(at, model_type="mine", auto_map={"AutoConfig": "m.C"}), "contains its own code"),
]
OPTIONS = [  # arguments, a part of the message
    ("train good.csv --alpha -1", "rdrop.alpha should be greater than or equal to 0"),
    ("train good.csv --alpha nan", "rdrop.alpha should be a finite number"),
    ("train good.csv --alpha inf", "rdrop.alpha should be a finite number"),
    ("train good.csv --alpha much", "valid number"),
    ("train good.csv --epochs 0", "train.epochs"),
    ("train good.csv --epochs 1.5", "valid integer"),
    ("train good.csv --lr 0", "train.lr"),
    ("train good.csv --batch-size 0", "train.batch_size"),
    ("train good.csv --label-smoothing 1", "train.label_smoothing should be less than 1"),
    ("train good.csv --seed -1", "train.seed"),
    ("train good.csv --max-length 1", "model.max_length"),
    ("train good.csv --model model --max-length 1000", "--max-length 64 or less"),
    ("train good.csv --precision float8", "train.precision"),
    ("train good.csv --model model --max-length 32 --precision float16", "float16 needs a GPU"),
    ("train good.csv --micro-batch some", "or auto"),
    ("train good.csv --micro-batch 0", "or auto"),
    (f"train good.csv --micro-batch {'9' * 5000}", "or auto"),
    (f"train good.csv --set train.seed=0x{'f' * 5000}", "train.seed should be less than"),
    ("train good.csv --batch-size 1000000000000000000000", "train.batch_size"),
    ("train good.csv --model model --max-length 32 --set model.config.num_labels=3", "no such key to set"),
    ("train good.csv --model model --max-length 32 --set model.config.hidden_act=null", "hidden_act"),
    ("train good.csv --model model --max-length 32 --set model.config.return_dict=false", "cannot be loaded"),
    ("train good.csv --out \udcff", "the name is not valid UTF-8"),
    ("train good.csv --set train.seed=!!timestamp", "not valid YAML"),
    ("predict --checkpoint run --input /dev/null --input-format txt", "is not a regular file"),
    ("predict --checkpoint run --input - --input-format parquet", "parquet cannot be read from stdin"),
    ("prepare /dev/null", "is not a regular file"),
    ("train good.csv --batch-size 16 --micro-batch 5", "must divide"),
    ("train good.csv --set train.rate=1", "unknown key train.rate"),
    ("train good.csv --set alpha", "expected KEY=VALUE"),
    ("train good.csv --set =1", "expected KEY=VALUE"),
    ("train good.csv --set train.lr=[", "--set train.lr"),
    ("train good.csv --set train.lr='1e-4'x", "train.lr"),
    ("train good.csv --set model.config.hidden_dropout_prob=.nan", "finite number"),
    ("train good.csv --model model --max-length 32 --set model.config.nothing=1", "has no such key"),
    ("train good.csv --set data.validation=0.6 --set data.test=0.6", "leave something to train on"),
    ("train good.csv --set data.label_names=[a,a]", "must all differ"),
    ("train good.csv --text-column words", "no column 'words'"),
    ("train good.csv --out run", "--overwrite to replace it"),
    ("train good.csv --out full", "full: contains diary.txt, which is not part of a run"),
    ("train good.csv --out full --overwrite", "full: contains diary.txt, which is not part of a run"),
    ("train good.csv --out good.csv", "exists and is not a folder"),
    ("train good.csv --out good.csv/below", "good.csv/below"),
    ("train good.csv --out /proc/nothing", "/proc/nothing"),
    ("train good.csv --overwrite", "--overwrite is for the run in --out"),
    ("train --resume --overwrite --out run", "--resume continues"),
    ("train --resume --out nothing", "no run to resume in this folder"),
    ("train --resume --out run", "this run has already finished"),
    ("train --resume", "no unfinished run"),
    ("train good.csv --config imdb-robert", "Did you mean imdb-roberta?"),
    ("train good.csv --config nothing.yaml", "no such recipe or file"),
    ("train good.csv --model nothing", "no such folder"),
    ("train good.csv --model some/model", "not in the cache, and offline mode is on"),
    ("train some/data", "not in the cache, and offline mode is on"),
    ("train ready --label-column stars", "is already prepared"),
    ("prepare ready --out other", "is already prepared"),
    ("train run", "run is a run, not data. To evaluate it: rdrop evaluate run"),
    ("train run --resume", "run is a run, not data. To resume it: rdrop train --resume --out run"),
    ("predict --checkpoint run --input good.csv --input good.csv", "--input appears twice"),
    ("train good.csv extra.csv", "extra.csv"),
    ("train --bogus", "No such option: --bogus"),
    ("prepare good.csv --out full", "is not a prepared folder"),
    ("prepare other.csv --out ready", "--overwrite to replace it"),
    ("prepare good.csv --out good.csv", "is not a prepared folder"),
    ("prepare good.csv --validation 1", "data.validation"),
    ("prepare good.csv --test much", "valid number"),
    ("prepare rejected.csv --strict", "unusable rows (--strict)"),
    ("prepare imbd", "Did you mean imdb?"),
    ("prepare good.csv --text-pair-column second", "no column 'second'"),
    ("compare good.csv --arms plain,other", "--arms other: no such arm"),
    ("compare good.csv --arms plain", "at least two arms"),
    ("compare good.csv --arm x:rdrop.alpha=[1", "--arm x:rdrop.alpha"),
    ("compare good.csv --arm x:rdrop.alpha=lots", "--arm x: rdrop.alpha should be a valid number"),
    ("compare good.csv --arm x:data.source=y", "must be the same for all arms"),
    ("compare good.csv --seeds none", "valid integer"),
    ("compare good.csv --seed 4294967295", "train.seed"),
    ("compare good.csv --budget money", "--budget"),
    ("compare good.csv --label-column stars", "no column 'stars'"),
    ("compare good.csv --test 0", "No such option"),
    ("compare good.csv --set data.test=0", "a comparison needs a test split"),
    ("compare nothing.csv", "nothing.csv"),
    ("compare good.csv --model nothing", "no such folder"),
    ("compare good.csv --out good.csv", "good.csv"),
    ("compare good.csv --out good.csv/below", "good.csv/below"),
    ("evaluate run --against nothing", "no such run or checkpoint"),
    ("evaluate run --against model", "not a fine-tuned text classifier"),
    ("evaluate", "Missing argument"),
    ("evaluate nothing", "no such run or checkpoint"),
    ("evaluate some/model", "not in the cache, and offline mode is on"),
    ("evaluate full", "config.json is missing"),
    ("evaluate model good.csv", "not a fine-tuned text classifier"),
    ("evaluate run/best good.csv --split test --precision half", "train.precision"),
    ("evaluate run --split dev", "no dev split"),
    ("evaluate run good.csv --positive-label best", "--positive-label"),
    ("evaluate run good.csv --label-column stars", "no column 'stars'"),
    ("evaluate run --label-column label", "column options and --label-map are for DATA"),
    ("evaluate run --batch-size 0", "batch-size"),
    ("evaluate copy", "not part of a run"),
    ("predict", "give either TEXT or --input"),
    ("predict text --input good.csv", "give either TEXT or --input"),
    ("predict text --checkpoint nothing", "no such run or checkpoint"),
    ("predict --checkpoint run --input good.csv --input-format docx", "--input-format docx: unknown"),
    ("predict --checkpoint run --input good.csv --output out.docx", "unknown output format"),
    ("predict --checkpoint run --input good.csv --output full", "unknown output format"),
    ("predict --checkpoint run --input good.csv --output nowhere/out.csv", "its folder does not exist"),
    ("predict --checkpoint run --input good.csv --output good.csv", "would replace the data"),
    ("predict --checkpoint run --input good.csv --output /proc/out.csv", "/proc/out.csv: cannot be written"),
    ("predict --checkpoint run --input good.csv --text-column words", "no column 'words'"),
    ("predict text --checkpoint run --precision quick", "train.precision"),
    ("predict text --checkpoint full", "config.json is missing"),
    ("nonsense", "No such command"),
]
CONFIGS = [  # content, a part of the message
    (b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "line 2: aliases (*name) are not supported"),
    (b"train: &t\n  nested: *t\n", "aliases"),
    (b"train:\n  lr: 1\n  lr: 2\n", "key 'lr' appears twice"),
    (b"train:\n\tlr: 1\n", "line 2"),
    (b"train: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
    (b"- train\n", "expected keys with values at the top level"),
    (b"[" * 5000, "not valid YAML"),
    (b"\xff\xfe\x00", "not valid UTF-8"),
    (b"# " + b"x" * 2**21, "bytes are too large for a configuration"),
    (b"train:\n  lr: .nan\n", "train.lr should be a finite number"),
    (b"train:\n  lr: '1e-4'\n", "train.lr should be a valid number, got '1e-4'"),
    (b"train:\n  epochs: true\n", "train.epochs should be a valid integer"),
    (b"train:\n  epochs: 2020-01-01\n", "train.epochs"),
    (b"train: 5\n", "train should be a group of keys with values, got 5"),
    (b"1: 2\n", "1"),
    (b"{[a]: 2}\n", "a key must be a plain word"),
    (b"tran:\n  lr: 1\n", "unknown key tran"),
    (b"data:\n  text_column: 5\n", "data.text_column should be a valid string"),
    (b"model:\n  config: {a: [1]}\n", "model.config.a"),
    (b"train: {metric: loss}\n", "train.metric"),
    (b"key: 'open\n", "config.yaml, line"),
]


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def change(folder, **keys):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **keys}))


def change_words(folder, changed):
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"] = changed(content["model"]["vocab"])
    content["added_tokens"] = [
        token for token in content["added_tokens"] if token["content"] in content["model"]["vocab"]
    ]
    path.write_text(json.dumps(content))


def without_the_unknown(words):
    return {word: number for word, number in words.items() if word not in ("[UNK]", "movie")}


@pytest.fixture(scope="module")
def good(tiny_model, tmp_path_factory):
    """A folder with everything in order: data, a model, a prepared folder, a finished run, a file of results."""
    folder = tmp_path_factory.mktemp("good")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        shutil.copytree(tiny_model, "model")
        write_csv(Path("good.csv"), make_reviews(60))
        write_csv(Path("other.csv"), make_reviews(60, seed=1))
        Path("rejected.csv").write_bytes(Path("good.csv").read_bytes() + b",1\n")
        Path("full").mkdir()
        Path("full/diary.txt").write_text("dear diary")
        Path("out.csv").write_text("text,label,score\nof yesterday,1,0.5\n")
        size = ("--model", "model", "--max-length", "32", "--epochs", "1", "--set", "train.tensorboard=false")
        CLI()("prepare", "good.csv", "--out", "ready", *size[:4])
        CLI()("train", "good.csv", "--out", "run", "--no-export", *size)
        shutil.copytree("run/best", "copy")
    return folder


def state(folder):
    """Every file with its size and time of change; below prepared/, a cache, only what a broken write would leave.

    A lock may be taken and released.
    """
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != LOCK]
    kept = [path for path in files if path.relative_to(folder).parts[0] != "prepared" or path.name.startswith(".")]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in kept}


def check(folder, arguments, message, monkeypatch):
    monkeypatch.chdir(folder)
    before = state(folder)
    try:
        result = CLI()(*arguments, code=1)
    except AssertionError:
        result = CLI()(*arguments, code=2)
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    assert "internal error" not in lines[0]
    assert message in lines[0]
    assert state(folder) == before


def make(at, content):
    """A file, a folder of files, an empty folder, a link to nowhere, or nothing."""
    if isinstance(content, dict):
        for name, inner in content.items():
            (at / name).parent.mkdir(parents=True, exist_ok=True)
            (at / name).write_bytes(inner)
    elif content is not None:
        at.write_bytes(content)
    elif at.name == "folder":
        at.mkdir()
    elif at.name == "link.csv":
        at.symlink_to(at.with_name("nowhere"))
    return at


@pytest.mark.parametrize(
    ("command", "name", "content", "message"),
    [(command, name, content, message) for name, content, commands, message in FILES for command in commands],
    ids=lambda value: value if isinstance(value, str) and len(value) < 20 else "",
)
def test_data(good, tmp_path, monkeypatch, command, name, content, message):
    path = make(tmp_path / name, content)
    arguments = {
        "prepare": ["prepare", path, "--out", "new"],
        "train": ["train", path, "--model", "model", "--max-length", "32", "--out", "new"],
        "evaluate": ["evaluate", "run", path],
        "predict": ["predict", "--checkpoint", "run", "--input", path, "--output", "out.csv"],
    }
    check(good, arguments[command], message, monkeypatch)


@pytest.mark.parametrize(("arguments", "message"), OPTIONS, ids=[arguments for arguments, _ in OPTIONS])
def test_options(good, monkeypatch, arguments, message):
    check(good, arguments.split(), message, monkeypatch)


@pytest.mark.parametrize(("content", "message"), CONFIGS, ids=[message for _, message in CONFIGS])
def test_configurations(good, tmp_path, monkeypatch, content, message):
    (tmp_path / "config.yaml").write_bytes(content)
    check(good, ["train", "good.csv", "--config", tmp_path / "config.yaml"], message, monkeypatch)


@pytest.mark.parametrize("command", ["train", "evaluate", "predict"])
@pytest.mark.parametrize(("name", "harm", "message"), MODELS, ids=[name for name, *_ in MODELS])
def test_models(good, tmp_path, monkeypatch, command, name, harm, message):
    path = tmp_path / name
    shutil.copytree(good / ("model" if command == "train" else "copy"), path)
    (path / "manifest.json").unlink(missing_ok=True)
    harm(path)
    arguments = {
        "train": ["train", "good.csv", "--model", path, "--max-length", "32", "--out", "new"],
        "evaluate": ["evaluate", path, "good.csv"],
        "predict": ["predict", "text", "--checkpoint", path],
    }
    check(good, arguments[command], message, monkeypatch)


@pytest.mark.parametrize("name", ["data.json", "ready/prepared.json"])
@pytest.mark.parametrize("content", ["{}", "[]", "[" * 200_000, '{"source": null, "format": 2}', "{"])
def test_records_changed_by_hand(good, tmp_path, monkeypatch, name, content):
    shutil.copytree(good / "run", tmp_path / "run")
    shutil.copytree(good / "ready", tmp_path / "run" / "ready")
    (tmp_path / "run" / name).write_text(content)
    data = [tmp_path / "run" / "ready"] if name.startswith("ready") else []
    check(good, ["evaluate", tmp_path / "run", *data], "", monkeypatch)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda at: cut(at / "model.safetensors"), "model.safetensors has"),
        (lambda at: (at / "tokenizer.json").write_text("{}"), "tokenizer.json has"),
        (lambda at: (at / "manifest.json").write_text("{"), "manifest.json is damaged"),
        (lambda at: (at / "rdrop.json").write_text("{"), "rdrop.json: cannot be read"),
        (lambda at: (at / "rdrop.json").write_text("[]"), "expected a JSON object"),
        (lambda at: change(at, id2label={"0": "only"}), ""),
        (lambda at: change(at, architectures="nonsense"), "not a fine-tuned text classifier"),
    ],
)
@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_checkpoints(good, tmp_path, monkeypatch, command, harm, message):
    path = tmp_path / "damaged"
    shutil.copytree(good / "copy", path)
    harm(path)
    arguments = {"evaluate": ["evaluate", path, "good.csv"], "predict": ["predict", "text", "--checkpoint", path]}
    check(good, arguments[command], message, monkeypatch)
