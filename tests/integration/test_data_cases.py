"""Data as it is published and as it goes wrong: trained on as it is meant, or refused in one line."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import make_reviews
from hub_server import serving
from rdrop_cli.core.storage import hub

TEXTS = [text for text, _ in make_reviews(300)]
PAIRS = [(TEXTS[i], TEXTS[-1 - i]) for i in range(150)]


def table(header, rows, delimiter=","):
    """A csv file's content."""
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, lineterminator="\n").writerows([header.split(), *rows])
    return stream.getvalue()


def plain(labels, header="text label", count=60, start=0):
    """`count` different texts with the labels in turn."""
    return table(header, [(TEXTS[start + i], labels[i % len(labels)]) for i in range(count)])


def paired(header, labels, count=60, start=0):
    """Pairs; the label last."""
    return table(header, [(*PAIRS[start + i], labels[i % len(labels)]) for i in range(count)])


def lines(*records):
    """A jsonl file's content."""
    return "".join(json.dumps(record) + "\n" for record in records)


def even(names, count):
    """Each class's share of `count` rows."""
    return {name: count // len(names) for name in names}


@dataclass
class Case:
    """What a user has, what they type, and what the run records or the error says."""

    name: str
    files: dict[str, str]
    options: str = ""
    source: str = "data.csv"
    error: str | None = None
    classes: dict[str, int] = field(default_factory=dict)  # of all splits together, in the order of the ids
    splits: dict[str, int] = field(default_factory=lambda: {"train": 48, "validation": 6, "test": 6})
    columns: tuple[str, str | None, str] = ("text", None, "label")  # text, second text, label
    said: str = ""


NEWS = ["World", "Sports", "Business", "Sci/Tech"]
NEWS_NAMES = "--set data.label_names=[World,Sports,Business,Sci/Tech]"
FOURTEEN = [f"Topic{i:02}" for i in range(1, 15)]
FOUR = {"train": 44, "validation": 8, "test": 8}  # a tenth of 15 rows of a class, rounded
GLUE = {"train.tsv": 60, "dev.tsv": 20, "test.tsv": 20}
OFFICIAL = {"train": 60, "validation": 20, "test": 20}

USUAL_PAIRS = [
    *("text text_b", "text text_pair", "text1 text2", "text_a text_b"),
    *("sentence1 sentence2", "question1 question2", "question sentence", "premise hypothesis"),
]
CASES = [
    # Labels
    Case("ids from 0", {"data.csv": plain([0, 1])}, classes=even("01", 60)),
    Case("names", {"data.csv": plain(["pos", "neg"])}, classes=even(["neg", "pos"], 60)),
    Case(
        "AG News as on Kaggle: numbered from 1, with names",
        {"data.csv": plain([1, 2, 3, 4], "Description Class_Index")},
        f"--text-column Description --label-column Class_Index {NEWS_NAMES}",
        classes=even(NEWS, 60),
        splits=FOUR,
        columns=("Description", None, "Class_Index"),
        said="The data's labels were read as ids: 1 as World, 2 as Sports, 3 as Business, 4 as Sci/Tech",
    ),
    Case(
        "AG News as published: no header",
        {"data.csv": "".join(f'"{i % 4 + 1}","{TEXTS[i]}","{TEXTS[i + 60]}"\n' for i in range(60))},
        error="Is line 1 data? The first line must name the columns",
    ),
    Case("numbered from 1, no names", {"data.csv": plain([1, 2, 3, 4])}, classes=even("1234", 60), splits=FOUR),
    Case(
        "Yelp polarity: two classes from 1",
        {"data.csv": plain([1, 2])},
        "--set data.label_names=[negative,positive]",
        classes=even(["negative", "positive"], 60),
    ),
    Case(
        "DBpedia: 14 classes from 1",
        {"data.csv": plain(range(1, 15), count=280)},
        f"--set data.label_names=[{','.join(FOURTEEN)}]",
        classes=even(FOURTEEN, 280),
        splits={"train": 224, "validation": 28, "test": 28},
    ),
    Case(
        "numbered from 0, with names",
        {"data.csv": plain([0, 1, 2, 3])},
        NEWS_NAMES,
        classes=even(NEWS, 60),
        splits=FOUR,
        said="0 as World, 1 as Sports",
    ),
    Case(
        "a named class without a row",
        {"data.csv": plain([1, 2, 3])},
        NEWS_NAMES,
        error="class 'World' has no training row",
    ),
    Case(
        "a named class without a row, by name",
        {"data.csv": plain(NEWS[:3])},
        NEWS_NAMES,
        error="class 'Sci/Tech' has no training row",
    ),
    Case("one number too many", {"data.csv": plain([0, 1, 2, 3, 4])}, NEWS_NAMES, error="do not fit the 4 classes"),
    Case(
        "numbers from 2",
        {"data.csv": plain([2, 3])},
        "--set data.label_names=[low,high]",
        error="the labels 2, 3 do not fit the 2 classes low, high",
    ),
    Case(
        "a label that is none of the names",
        {"data.csv": plain(["World", "Sports", "Business", "Sci/Tech", "Wrld"])},
        NEWS_NAMES,
        error="data.csv, line 6: label 'Wrld' is not one of World, Sports, Business, Sci/Tech (did you mean 'World'?)",
    ),
    Case(
        "labels under other names",
        {"data.csv": plain(["pos", "neg"])},
        "--label-map pos=positive,neg=negative",
        classes=even(["negative", "positive"], 60),
    ),
    Case(
        "a map of a label that no row has",
        {"data.csv": plain(["pos", "neg"])},
        "--label-map positve=positive",
        error="label_map: no row has the label 'positve'. Labels found: neg, pos.",
    ),
    Case("-1 and 1 are two classes", {"data.csv": plain([-1, 1])}, classes=even(["-1", "1"], 60)),
    Case("whole decimals", {"data.csv": plain(["1.0", "2.0"])}, classes=even("12", 60)),
    Case(
        "JSON's booleans",
        {"data.jsonl": lines(*({"text": TEXTS[i], "label": bool(i % 2)} for i in range(60)))},
        source="data.jsonl",
        classes=even(["false", "true"], 60),
    ),
    Case(
        "JSON's true and a table's True",
        {
            "train.csv": plain(["True", "False"]),
            "test.jsonl": lines(*({"text": TEXTS[i], "label": bool(i % 2)} for i in range(60, 80))),
        },
        source=".",
        classes=even(["False", "True"], 80),
        splits={"train": 54, "validation": 6, "test": 20},
    ),
    Case(
        "the positive class is not the last in the alphabet",
        {"data.csv": plain(["acceptable", "unacceptable"])},
        "--set data.positive_label=acceptable",
        classes=even(["unacceptable", "acceptable"], 60),
        said="F1 is about 'acceptable'",
    ),
    Case(
        "no such positive class",
        {"data.csv": plain(["acceptable", "unacceptable"])},
        "--set data.positive_label=aceptable",
        error="data.positive_label: label 'aceptable' is not one of acceptable, unacceptable (did you mean",
    ),
    # Scores
    Case(
        "STS-B: scores",
        {"data.csv": paired("sentence1 sentence2 label", ["0.0", "2.4", "3.8", "5.0"])},
        error="the labels are scores such as 2.4, not classes",
    ),
    Case(
        "STS-B as GLUE has it",
        {"data.tsv": table("index sentence1 sentence2 score", [(i, *PAIRS[i], i / 12) for i in range(60)], "\t")},
        "--label-column score",
        "data.tsv",
        error="the labels are scores",
    ),
    # Pairs
    *(
        Case(
            f"a pair: {first} and {second}",
            {"data.csv": paired(f"{first} {second} label", ["no", "yes"])},
            classes=even(["no", "yes"], 60),
            columns=(first, second, "label"),
            said=f"columns: text '{first}', second text '{second}', label 'label'",
        )
        for first, second in map(str.split, USUAL_PAIRS)
    ),
    Case(
        "one text of two, as asked",
        {"data.csv": paired("sentence1 sentence2 label", ["no", "yes"])},
        "--text-column sentence1",
        classes=even(["no", "yes"], 60),
        columns=("sentence1", None, "label"),
    ),
    Case(
        "MRPC: index, both sentences, official splits",
        {
            f"{split}.csv": table("idx sentence1 sentence2 label", [(i, *PAIRS[i], i % 2) for i in range(*span)])
            for split, span in {"train": (0, 60), "validation": (60, 80), "test": (80, 100)}.items()
        },
        source=".",
        classes=even("01", 100),
        splits=OFFICIAL,
        columns=("sentence1", "sentence2", "label"),
    ),
    Case(
        "QNLI as GLUE has it: quotes that quote nothing, a test without labels",
        {
            name: table(
                "index question sentence label" if name != "test.tsv" else "index question sentence",
                [],
            ).replace(",", "\t")
            + "".join(
                f'{i}\t{PAIRS[i][0]}\t"{PAIRS[i][1]} "so to say'
                + ("\n" if name == "test.tsv" else f"\t{['entailment', 'not_entailment'][i % 2]}\n")
                for i in range(start, start + count)
            )
            for start, (name, count) in zip((0, 60, 80), GLUE.items(), strict=True)
        },
        source=".",
        classes={"entailment": 40, "not_entailment": 40},
        splits={"train": 54, "validation": 20, "test": 6},
        columns=("question", "sentence", "label"),
        said="The test split was left out: none of its 20 rows has a label",
    ),
    Case(
        "QQP: is_duplicate",
        {
            "data.tsv": table(
                "id qid1 qid2 question1 question2 is_duplicate",
                [(i, 2 * i, 2 * i + 1, *PAIRS[i], i % 2) for i in range(60)],
                "\t",
            )
        },
        source="data.tsv",
        classes=even("01", 60),
        columns=("question1", "question2", "is_duplicate"),
    ),
    Case(
        "SST-2 as GLUE has it",
        {
            "train.tsv": plain([0, 1], "sentence label").replace(",", "\t"),
            "dev.tsv": plain([0, 1], "sentence label", 20, 60).replace(",", "\t"),
            "test.tsv": table("index sentence", [(i, TEXTS[80 + i]) for i in range(20)], "\t"),
        },
        source=".",
        classes=even("01", 80),
        splits={"train": 54, "validation": 20, "test": 6},
        columns=("sentence", None, "label"),
        said="The test split was left out: none of its 20 rows has a label",
    ),
    # Splits
    Case(
        "a test split whose labels are all -1",
        {"train.csv": plain([0, 1]), "test.csv": plain([-1], count=20, start=60)},
        source=".",
        classes=even("01", 60),
        said="The test split was left out: none of its 20 rows has a label",
    ),
    Case(
        "a test split whose labels are all empty",
        {"train.csv": plain([0, 1]), "test.csv": plain([""], count=20, start=60)},
        source=".",
        classes=even("01", 60),
        said="The test split was left out: none of its 20 rows has a label",
    ),
    Case(
        "a label in test that train lacks",
        {"train.csv": plain(["neg", "pos"]), "test.csv": plain(["neg", "pos", "neutral"], count=30, start=60)},
        source=".",
        error="label 'neutral' is not one of neg, pos (10 such rows in test; train has no example of this class)",
    ),
    Case(
        "a label in test that train lacks, mapped",
        {"train.csv": plain(["neg", "pos"]), "test.csv": plain(["neg", "pos", "neutral"], count=30, start=60)},
        "--label-map neutral=neg",
        source=".",
        classes={"neg": 50, "pos": 40},
        splits={"train": 54, "validation": 6, "test": 30},
    ),
    Case(
        "a text column with another name in test",
        {"train.csv": plain([0, 1]), "test.csv": plain([0, 1], "sentence label", 20, 60)},
        source=".",
        classes=even("01", 80),
        splits={"train": 54, "validation": 6, "test": 20},
    ),
    Case(
        "a file that is no split",
        {"train.csv": plain([0, 1]), "extra.csv": plain([0, 1], count=20, start=60)},
        source=".",
        classes=even("01", 60),
        said="Not used: extra.csv",
    ),
    Case(
        "the same text but for case and spacing, in train and in test",
        {
            "train.csv": plain([0, 1]),
            "test.csv": table("text label", [(TEXTS[i].upper() + " ", i % 2) for i in range(10)]),
        },
        source=".",
        classes=even("01", 60),
        splits={"train": 46, "validation": 4, "test": 10},
        said="Dropped from train or validation: 10 rows whose text is also in test or validation",
    ),
    Case(
        "IMDb as published",
        {
            f"{split}/{label}/{i}_7.txt": TEXTS[i]
            for split, span in {"train": (0, 60), "test": (60, 80)}.items()
            for i in range(*span)
            for label in [["neg", "pos"][i % 2]]
        }
        | {f"train/unsup/{i}_0.txt": TEXTS[i] for i in range(80, 90)},
        source=".",
        classes=even(["neg", "pos"], 80),
        splits={"train": 54, "validation": 6, "test": 20},
        said="Not used: train/unsup",
    ),
    Case(
        "IMDb as on Kaggle",
        {"data.csv": plain(["positive", "negative"], "review sentiment")},
        classes=even(["negative", "positive"], 60),
        columns=("review", None, "sentiment"),
    ),
    Case(
        "capital names of columns",
        {"data.csv": plain([0, 1], "Text Label")},
        classes=even("01", 60),
        columns=("Text", None, "Label"),
    ),
    # Rows that cannot be used
    Case(
        "one row in two hundred",
        {"data.csv": plain([0, 1], count=199) + ",1\n"},
        classes={"0": 100, "1": 99},
        splits={"train": 159, "validation": 20, "test": 20},
        said="Left out: 1 of 200 rows (text is empty: 1)",
    ),
    Case(
        "three rows in sixty",
        {"data.csv": plain([0, 1], count=57) + ",1\n,0\nno label,\n"},
        error="data.csv: 3 of 60 rows (5%) cannot be used: text is empty: 2; label is missing: 1 (all listed in",
    ),
    Case(
        "three rows in sixty, allowed",
        {"data.csv": plain([0, 1], count=57) + ",1\n,0\nno label,\n"},
        "--allow-rejects",
        classes={"0": 29, "1": 28},
        splits={"train": 45, "validation": 6, "test": 6},
        said="Left out: 3 of 60 rows (text is empty: 2; label is missing: 1)",
    ),
    Case(
        "a bad test split beside a large train split",
        {"train.csv": plain([0, 1], count=200), "test.csv": plain([0, 1], count=18, start=200) + ",1\n,0\n"},
        source=".",
        error="., test: 2 of 20 rows (10%) cannot be used",
    ),
]


def run(rdrop, tiny_model, case):
    """Train as the case says; what was printed, and what the run recorded."""
    arguments = ["train", case.source, *case.options.split(), "--model", tiny_model, "--max-length", "16"]
    arguments += ["--epochs", "1", "--alpha", "0", "--precision", "float32", "--set", "train.tensorboard=false"]
    arguments += ["--no-export"]
    if case.error is not None:
        message = rdrop.error(*arguments, "--out", "run")
        assert message.startswith("error: ")
        assert case.error in message
        assert not Path("run").exists()
        return
    shown = " ".join(rdrop(*arguments, "--out", "run").stdout.split())
    record = json.loads(Path("run/data.json").read_text())
    counts = {name: sum(split[name] for split in record["classes"].values()) for name in record["labels"]}
    assert list(counts.items()) == list(case.classes.items())
    assert record["splits"] == case.splits
    assert record["columns"] == dict(zip(("text", "text_pair", "label"), case.columns, strict=True))
    assert case.said in shown
    if "Left out" in case.said or "left out" in case.said:
        assert record["left_out"]["rejected"] or record["left_out"]["unlabelled"]
        assert case.said.split("(")[0].strip() in Path("run/best/README.md").read_text()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_file_or_folder(rdrop, tmp_path, tiny_model, monkeypatch, case):
    for name, content in case.files.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.chdir(tmp_path / "in")
    run(rdrop, tiny_model, case)


def hub_rows(count, start=0, names=("text",), labels=(0, 1)):
    columns = {name: [TEXTS[(start + i + 100 * k) % 300] for i in range(count)] for k, name in enumerate(names)}
    return {**columns, "label": [labels[i % len(labels)] for i in range(count)]}


SST2 = {
    "train": hub_rows(60, names=["sentence"]),
    "validation": hub_rows(20, 60, ["sentence"]),
    "test": hub_rows(20, 80, ["sentence"], [-1]),
}
NLI = ["entailment", "neutral", "contradiction"]


def snli(unlabelled):
    """As many of 200 train rows as given have no gold label."""
    rows = hub_rows(200, names=["premise", "hypothesis"], labels=(0, 1, 2))
    rows["label"][: 3 * unlabelled : 3] = [-1] * unlabelled
    return {"train": rows}


HUB_CASES = [  # the case, its splits, its classes
    (Case("AG News", {}, classes=even(NEWS, 60), splits=FOUR), {"train": hub_rows(60, labels=range(4))}, NEWS),
    (
        Case(
            "Yelp, five stars",
            {},
            classes=even([f"{i} star" for i in range(1, 6)], 100),
            splits={"train": 80, "validation": 10, "test": 10},
        ),
        {"train": hub_rows(100, labels=range(5))},
        [f"{i} star" for i in range(1, 6)],
    ),
    (
        Case(
            "IMDb",
            {},
            classes=even(["neg", "pos"], 80),
            splits={"train": 54, "validation": 6, "test": 20},
            said="Not used: split unsupervised",
        ),
        {"train": hub_rows(60), "test": hub_rows(20, 60), "unsupervised": hub_rows(20, 80, labels=[-1])},
        ["neg", "pos"],
    ),
    (
        Case(
            "SST-2",
            {},
            classes=even(["negative", "positive"], 80),
            splits={"train": 54, "validation": 20, "test": 6},
            columns=("sentence", None, "label"),
            said="The test split was left out: none of its 20 rows has a label",
        ),
        SST2,
        ["negative", "positive"],
    ),
    (
        Case(
            "SNLI, one row in two hundred without a gold label",
            {},
            classes=dict(zip(NLI, (66, 67, 66), strict=True)),
            splits={"train": 157, "validation": 21, "test": 21},
            columns=("premise", "hypothesis", "label"),
            said="Left out of train: 1 of 200 rows (label is missing (-1): 1)",
        ),
        snli(1),
        NLI,
    ),
    (Case("SNLI, five rows", {}, error="5 of 200 rows (2%) cannot be used: label is missing (-1): 5"), snli(5), NLI),
    (
        Case(
            "MNLI, with two validation splits",
            {},
            classes=even(NLI, 60),
            columns=("premise", "hypothesis", "label"),
            said="Not used: split validation_matched, split test_matched",
        ),
        {
            "train": hub_rows(60, names=["premise", "hypothesis"], labels=(0, 1, 2)),
            "validation_matched": hub_rows(20, 60, ["premise", "hypothesis"], (0, 1, 2)),
            "test_matched": hub_rows(20, 80, ["premise", "hypothesis"], [-1]),
        },
        NLI,
    ),
    (
        Case(
            "other names, in the order of the ids",
            {},
            "--set data.label_names=[bad,good]",
            classes=even(["bad", "good"], 60),
        ),
        {"train": hub_rows(60)},
        ["neg", "pos"],
    ),
    (
        Case(
            "its own names, in another order",
            {},
            "--set data.label_names=[pos,neg]",
            classes=even(["pos", "neg"], 60),
        ),
        {"train": {**hub_rows(60), "label": [0, 1] * 30}},
        ["neg", "pos"],
    ),
]


@pytest.mark.parametrize(("case", "splits", "names"), HUB_CASES, ids=[case.name for case, *_ in HUB_CASES])
def test_a_data_set_of_the_hub(rdrop, tiny_model, monkeypatch, case, splits, names):
    import datasets

    columns = next(iter(splits.values()))
    features = {name: datasets.Value("string") for name in columns} | {"label": datasets.ClassLabel(names=list(names))}
    made = {
        name: datasets.Dataset.from_dict(rows, features=datasets.Features(features)) for name, rows in splits.items()
    }
    monkeypatch.setattr(hub, "require", lambda *_: None)
    monkeypatch.setattr(datasets, "load_dataset", lambda name: datasets.DatasetDict(made))
    case.source = "owner/name"
    run(rdrop, tiny_model, case)


def test_its_names_keep_their_ids_when_they_are_turned(rdrop, tiny_model, monkeypatch):
    """A row with id 0 is of the class that the hub calls so, wherever that stands among the names."""
    import datasets

    rows = {"text": TEXTS[:60], "label": [0] * 20 + [1] * 40}
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["neg", "pos"])})
    made = datasets.DatasetDict(train=datasets.Dataset.from_dict(rows, features=features))
    monkeypatch.setattr(hub, "require", lambda *_: None)
    monkeypatch.setattr(datasets, "load_dataset", lambda name: made)
    case = Case("", {}, "--set data.label_names=[pos,neg]", "owner/name", classes={"pos": 40, "neg": 20})
    run(rdrop, tiny_model, case)


def test_names_of_its_ids_that_look_like_ids_are_the_classes(rdrop, tiny_model, monkeypatch):
    """`class_encode_column` sorts ratings from 0 to 10 as text, so that the id 2 is that of the rating 10."""
    import datasets

    ratings = [rating for rating in range(11) for _ in range(4)] + [10] * 16
    made = datasets.DatasetDict(train=datasets.Dataset.from_dict({"text": TEXTS[:60], "label": ratings}))
    made = made.class_encode_column("label")
    monkeypatch.setattr(hub, "require", lambda *_: None)
    monkeypatch.setattr(datasets, "load_dataset", lambda name: made)
    classes = {name: 20 if name == "10" else 4 for name in sorted(map(str, range(11)))}
    splits = {"train": 56, "validation": 2, "test": 2}
    case = Case("", {}, "", "owner/name", classes=classes, splits=splits)
    run(rdrop, tiny_model, case)


TWO_TASKS = """---
configs:
- config_name: mrpc
  data_files:
  - {split: train, path: mrpc.parquet}
- config_name: rte
  data_files:
  - {split: train, path: rte.parquet}
---
"""


def test_a_configuration_of_a_data_set_is_named_behind_a_colon(tmp_path, tiny_model):
    folder = tmp_path / "hub" / "datasets" / "owner" / "glue"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text(TWO_TASKS)
    for start, name in ((0, "mrpc"), (60, "rte")):
        rows = hub_rows(60, start, ["sentence1", "sentence2"])
        pq.write_table(pa.table(rows), folder / f"{name}.parquet")
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    environment["HF_HOME"] = str(tmp_path / "cache")
    with serving(tmp_path / "hub") as endpoint:
        environment["HF_ENDPOINT"] = endpoint

        def prepare(name):
            command = [sys.executable, "-m", "rdrop_cli", "prepare", name, "--model", tiny_model, "--json"]
            return subprocess.run(command, env=environment, capture_output=True, text=True)

        found = json.loads(prepare("owner/glue:rte").stdout)
        assert found["columns"] == {"text": "sentence1", "text_pair": "sentence2", "label": "label"}
        texts = pq.read_table(Path(found["prepared"]) / "train.parquet")["text"].to_pylist()
        assert set(texts) < set(TEXTS[60:120])
        none = prepare("owner/glue")
        assert (none.returncode, none.stderr.count("\n")) == (1, 1)
        assert "has several configurations: ['mrpc', 'rte']. Name one: owner/glue:CONFIGURATION." in none.stderr
        wrong = prepare("owner/glue:cola")
        assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
        assert "cola" in wrong.stderr
