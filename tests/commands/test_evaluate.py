"""`rdrop evaluate` against scikit-learn, on a run's own data and on a user's."""

import contextlib
import copy
import csv
import json
import shutil
from pathlib import Path

import pytest
from sklearn import metrics as sk

from conftest import CLI, make_reviews, tiny_options, write_csv
from rdrop_cli.core.storage.integrity import with_checksum

NAMES = ["negative", "positive"]


@pytest.fixture(scope="module")
def named_once(tiny_model, tmp_path_factory):
    """A folder with a run whose classes are named negative and positive, and what its training printed as JSON."""
    folder = tmp_path_factory.mktemp("named")
    write_csv(folder / "named.csv", [(text, NAMES[label]) for text, label in make_reviews(200)])
    with contextlib.chdir(folder):
        return folder, CLI().json("train", "named.csv", "--alpha", "1", *tiny_options(tiny_model), "--out", "run")


@pytest.fixture
def named(named_once, tmp_path):
    """A copy of that folder here, as if the run had been trained here."""
    folder, document = named_once
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    record = json.loads(Path("run/data.json").read_text().replace(str(folder), str(tmp_path)))
    Path("run/data.json").write_text(with_checksum(record))
    return copy.deepcopy(document)


def test_without_data_it_is_the_runs_own_test_split(rdrop, named):
    found = rdrop.json("evaluate", "run")
    assert (found["split"], found["examples"]) == ("test", 20)
    assert found["metrics"] == named["metrics"]["test"]
    assert rdrop.json("evaluate", "run/best")["metrics"] == found["metrics"]
    assert rdrop.json("evaluate", "run", "--split", "validation")["metrics"] == named["metrics"]["validation"]


def test_an_export_is_evaluated_as_it_predicts(rdrop, exported):
    run = exported["run_dir"]
    predicted = rdrop.json("predict", "--input", "reviews.csv", "--backend", "onnx-int8")["predictions"]
    with Path("reviews.csv").open(newline="", encoding="utf-8") as stream:
        truth = [row["label"] for row in csv.DictReader(stream)]
    found = rdrop.json("evaluate", run, "reviews.csv", "--backend", "onnx-int8", "--against", run)
    for document in (found, found["against"]):
        assert (document["backend"], document["precision"]) == ("onnx-int8", "int8")
    assert found["metrics"]["accuracy"] == sk.accuracy_score(truth, [item["label"] for item in predicted])
    assert rdrop.json("evaluate", run)["backend"] == "torch"
    shown = rdrop("evaluate", run, "--backend", "onnx").stdout
    assert f"{exported['checkpoint']} (onnx) on " in shown


def test_names_and_ids_give_the_same_numbers_as_scikit_learn(rdrop, named, tmp_path):
    rows = make_reviews(60, seed=9)
    ids = write_csv(tmp_path / "ids.csv", rows)
    names = write_csv(tmp_path / "names.csv", [(text, NAMES[label]) for text, label in rows])
    by_id, by_name = (rdrop.json("evaluate", "run", path) for path in (ids, names))
    said = "The data's labels were read as ids: 0 as negative, 1 as positive"
    assert [said in rdrop("evaluate", "run", path).stdout for path in (ids, names)] == [True, False]
    assert by_id["metrics"] == by_name["metrics"]
    assert by_id["confusion_matrix"] == by_name["confusion_matrix"]

    predictions = rdrop.json("predict", "--checkpoint", "run", "--input", ids)["predictions"]
    truth = [label for _, label in rows]
    score = [item["probabilities"]["positive"] for item in predictions]
    predicted = [NAMES.index(item["label"]) for item in predictions]
    metrics = by_id["metrics"]
    assert metrics["accuracy"] == pytest.approx(sk.accuracy_score(truth, predicted))
    assert metrics["f1"] == pytest.approx(sk.f1_score(truth, predicted))
    assert metrics["roc_auc"] == pytest.approx(sk.roc_auc_score(truth, score))
    assert metrics["nll"] == pytest.approx(sk.log_loss(truth, score), rel=1e-6)
    assert by_id["confusion_matrix"] == sk.confusion_matrix(truth, predicted).tolist()


def test_other_columns_and_another_positive_class(rdrop, named, tmp_path):
    rows = make_reviews(60, seed=9)
    path = write_csv(tmp_path / "other.csv", rows, header=("words", "stars"))
    columns = ("--text-column", "words", "--label-column", "stars")
    positive = rdrop.json("evaluate", "run", path, *columns)
    negative = rdrop.json("evaluate", "run", path, *columns, "--positive-label", "negative")
    assert positive["metrics"]["accuracy"] == negative["metrics"]["accuracy"]
    assert negative["metrics"]["f1"] == negative["metrics"]["per_class"][0]["f1"]
    assert negative["positive_label"] == "negative"


def test_the_data_is_prepared_again_when_the_prepared_folder_is_gone(rdrop, named, tmp_path):
    folder = Path(json.loads(Path("run/data.json").read_text())["prepared"])
    folder.rename(tmp_path / "elsewhere")
    assert rdrop.json("evaluate", "run")["metrics"] == named["metrics"]["test"]
    path = tmp_path / "named.csv"
    path.write_text(path.read_text().replace("great", "fine"))
    assert "the data has changed since run was trained" in rdrop.error("evaluate", "run")
    path.unlink()
    assert "named.csv: no such file" in rdrop.error("evaluate", "run")


def test_a_label_the_model_does_not_know_is_named_with_its_line(rdrop, named, tmp_path):
    path = write_csv(tmp_path / "x.csv", [("fine", "positive"), ("dull", "neutral")])
    assert "x.csv, line 3: label 'neutral' is not one of negative, positive" in rdrop.error("evaluate", "run", path)


def test_unusable_rows_are_left_out_and_said(rdrop, named, tmp_path):
    path = write_csv(tmp_path / "x.csv", [("fine", "positive"), ("", "negative"), ("dull", "negative")])
    message = rdrop.error("evaluate", "run", path)
    assert "x.csv: 1 of 3 rows (33%) cannot be used: text is empty: 1. Correct these rows, or" in message
    shown = rdrop("evaluate", "run", path, "--allow-rejects").stdout
    assert f"Left out: 1 row (text is empty: 1); the first: {path}, line 3" in shown
    found = rdrop.json("evaluate", "run", path, "--allow-rejects")
    assert (found["examples"], found["rejected"], found["left_out"]) == (2, 1, {"text is empty": 1})


def test_one_class_only_has_undefined_metrics_with_reasons(rdrop, named, tmp_path):
    path = write_csv(tmp_path / "x.csv", [("great fine lovely", "positive"), ("warm funny clever", "positive")])
    found = rdrop.json("evaluate", "run", path)["metrics"]
    assert found["roc_auc"] is None
    assert found["undefined"]["roc_auc"] == "a class does not occur among the labels"
    assert "roc_auc is undefined" in rdrop("evaluate", "run", path).stdout


def test_tables_are_shown(rdrop, named):
    shown = rdrop("evaluate", "run").stdout
    assert "positive class 'positive'" in shown
    assert all(title in shown for title in ("ROC-AUC", "Classes", "Confusion matrix"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone"], "gone: no such run or checkpoint"),
        (["run", "gone.csv"], "gone.csv: no such file or folder"),
        (["run", "--split", "dev"], "this data has no dev split. It has: train, validation, test."),
        (["run", "--positive-label", "neutral"], "--positive-label: label 'neutral' is not one of"),
        (["run", "--precision", "float8"], "train.precision should be"),
    ],
)
def test_mistakes_are_named(rdrop, named, arguments, message):
    assert message in rdrop.error("evaluate", *arguments)


def test_column_options_without_data_are_refused(rdrop, named):
    rdrop("evaluate", "run", "--text-column", "words", code=2)


def test_a_checkpoint_of_another_tool_takes_ids(rdrop, named, tmp_path):
    """Without rdrop.json, and with names that built-in data does not use."""
    config = Path("run/best/config.json")
    content = json.loads(config.read_text())
    content["id2label"], content["label2id"] = {"0": "LABEL_0", "1": "LABEL_1"}, {"LABEL_0": 0, "LABEL_1": 1}
    config.write_text(json.dumps(content))
    Path("run/best/rdrop.json").unlink()
    path = write_csv(tmp_path / "ids.csv", make_reviews(40, seed=3))
    assert rdrop.json("evaluate", "run/best", path)["labels"] == ["LABEL_0", "LABEL_1"]
    other = write_csv(tmp_path / "other.csv", [(text, "good" if label else "bad") for text, label in make_reviews(40)])
    assert "label 'bad' is not one of LABEL_0, LABEL_1" in rdrop.error("evaluate", "run/best", other)
    mapped = rdrop.json("evaluate", "run/best", other, "--label-map", "good=LABEL_1,bad=LABEL_0")
    assert (
        mapped["confusion_matrix"]
        == rdrop.json("evaluate", "run", write_csv(tmp_path / "y.csv", make_reviews(40)))["confusion_matrix"]
    )
    assert rdrop.json("evaluate", "run/best", "rotten-tomatoes")["examples"] == 8530


def test_intervals_hold_the_metrics_and_narrow_with_more_examples(rdrop, named, tmp_path):
    found = {
        count: rdrop.json("evaluate", "run", write_csv(tmp_path / f"{count}.csv", make_reviews(count, seed=9)))
        for count in (40, 640)
    }
    widths = {}
    for count, evaluated in found.items():
        assert set(evaluated["intervals"]) == {"accuracy", "f1", "roc_auc", "nll"}
        for name, (low, high) in evaluated["intervals"].items():
            assert low <= evaluated["metrics"][name] <= high
        low, high = evaluated["intervals"]["nll"]
        widths[count] = high - low
    assert widths[640] < widths[40] / 2
    shown = rdrop("evaluate", "run", tmp_path / "640.csv").stdout
    for index, side in enumerate(("low", "high")):
        (line,) = (line for line in shown.splitlines() if f"95 % {side}" in line)
        for bounds in found[640]["intervals"].values():
            assert f"{bounds[index]:.4f}" in line


def test_against_itself_nothing_differs(rdrop, named):
    found = rdrop.json("evaluate", "run", "--against", "run/best")["against"]
    for name, gap in found["differences"].items():
        # 20 examples are too few for the bootstrap's p-value; McNemar's is exact
        assert gap == {"difference": 0.0, "interval": [0.0, 0.0], "p_value": 1.0 if name == "accuracy" else None}
    assert found["same_data"]
    assert found["mcnemar"] == {"only_first": 0, "only_second": 0, "p_value": 1.0}


def test_against_another_the_numbers_are_those_of_the_two_alone(rdrop, named, tmp_path, tiny_args):
    rows = [(text, NAMES[label]) for text, label in make_reviews(600, seed=9)]
    wrong = [(text, NAMES[1 - label]) for text, label in make_reviews(30, seed=10)]  # no model is perfect on these
    data = write_csv(tmp_path / "more.csv", rows[:570] + wrong)
    rdrop("train", tmp_path / "named.csv", *tiny_args, "--epochs", "1", "--alpha", "0", "--seed", "1", "--out", "other")
    found = rdrop.json("evaluate", "run", data, "--against", "other")
    alone = {name: rdrop.json("evaluate", name, data)["metrics"] for name in ("run", "other")}
    assert found["metrics"] == alone["run"]
    assert found["against"]["metrics"] == alone["other"]
    for name, gap in found["against"]["differences"].items():
        assert gap["difference"] == alone["run"][name] - alone["other"][name]
        assert gap["interval"][0] <= gap["difference"] <= gap["interval"][1]
    test = found["against"]["mcnemar"]
    more = test["only_first"] - test["only_second"]
    assert more == round(600 * found["against"]["differences"]["accuracy"]["difference"]) != 0
    assert found["against"]["differences"]["accuracy"]["p_value"] == test["p_value"]
    assert found["against"]["same_data"]
    assert 0 < found["against"]["differences"]["nll"]["p_value"] <= 1
    shown = rdrop("evaluate", "run", data, "--against", "other").stdout
    assert "may have seen these examples" not in shown
    assert "run/best (A) against other/best (B), the same examples" in shown
    assert f"Only A is right on {test['only_first']} example" in shown


def test_a_rival_of_another_split_may_have_seen_the_examples(rdrop, named, tmp_path, tiny_args):
    rdrop("train", tmp_path / "named.csv", *tiny_args, "--epochs", "1", "--set", "data.seed=7", "--out", "other")
    found = rdrop.json("evaluate", "run", "--against", "other")["against"]
    assert not found["same_data"]
    seen = found["seen"]
    assert 0 < seen["train"] <= 20 and seen["train"] + seen["validation"] <= 20
    shown = " ".join(rdrop("evaluate", "run", "--against", "other").stdout.split())
    assert f"other/best was trained on {seen['train']} of these 20 texts" in shown
    assert "The intervals are too narrow: fewer than 50 test examples" in shown
    shutil.rmtree("prepared")
    shown = " ".join(rdrop("evaluate", "run", "--against", "other").stdout.split())
    assert "other/best was not trained on the same split: it may have seen these examples" in shown


def test_the_texts_that_it_was_trained_on_are_no_test(rdrop, named, tmp_path):
    everything = rdrop.json("evaluate", "run", tmp_path / "named.csv")
    assert everything["seen"] == {"train": 160, "validation": 20}
    shown = " ".join(rdrop("evaluate", "run", tmp_path / "named.csv").stdout.split())
    assert (
        "run/best was trained on 160 of these 200 texts, and its best epoch chosen on 20: this is no test of it"
        in shown
    )
    new = write_csv(
        tmp_path / "new.csv", [(text + " really", NAMES[label]) for text, label in make_reviews(40, seed=3)]
    )
    assert rdrop.json("evaluate", "run", new)["seen"] == {"train": 0, "validation": 0}
    assert "no test of it" not in rdrop("evaluate", "run", new).stdout


def test_classes_in_another_order_are_matched_by_name(rdrop, named, tmp_path, tiny_args):
    names = ["--set", "data.label_names=[positive, negative]"]
    rdrop("train", tmp_path / "named.csv", *tiny_args, *names, "--out", "turned")
    data = write_csv(tmp_path / "more.csv", [(text, NAMES[label]) for text, label in make_reviews(120, seed=9)])
    found = rdrop.json("evaluate", "run", data, "--against", "turned")["against"]
    alone = rdrop.json("evaluate", "turned", data, "--positive-label", "positive")
    for name in ("accuracy", "f1", "roc_auc", "nll"):
        assert found["metrics"][name] == pytest.approx(alone["metrics"][name])


def test_checkpoints_for_other_classes_are_not_compared(rdrop, named, tmp_path, tiny_args):
    data = write_csv(tmp_path / "stars.csv", [(text, "five" if label else "one") for text, label in make_reviews(100)])
    rdrop("train", data, *tiny_args, "--epochs", "1", "--out", "stars")
    said = rdrop.error("evaluate", "run", "--against", "stars")
    assert "stars/best: its classes are five, one, not negative, positive" in said
    assert "no such run" in rdrop.error("evaluate", "run", "--against", "nothing")


def test_class_names_that_are_not_the_checkpoints_are_refused_and_can_be_mapped(rdrop, named, tmp_path, monkeypatch):
    """A data set with names for its ids, in another order than the checkpoint's classes."""
    import datasets

    from rdrop_cli.core.storage import hub

    rows = make_reviews(60, seed=9)
    features = datasets.Features({"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["pos", "neg"])})
    content = {"text": [text for text, _ in rows], "label": [1 - label for _, label in rows]}
    made = datasets.DatasetDict(test=datasets.Dataset.from_dict(content, features=features))
    made["train"] = made["test"]
    monkeypatch.setattr(hub, "require", lambda *_: None)
    monkeypatch.setattr(datasets, "load_dataset", lambda name: made)
    message = rdrop.error("evaluate", "run", "owner/name")
    assert "owner/name: its classes are pos, neg, the checkpoint's are negative, positive" in message
    assert "--label-map pos=" in message
    mapped = rdrop.json("evaluate", "run", "owner/name", "--label-map", "pos=positive,neg=negative")
    by_name = write_csv(tmp_path / "names.csv", [(text, NAMES[label]) for text, label in rows])
    assert mapped["metrics"] == rdrop.json("evaluate", "run", by_name)["metrics"]
    assert "label 'happy' is not one of" in rdrop.error("evaluate", "run", "owner/name", "--label-map", "pos=happy")


def test_labels_are_numbered_as_in_the_data_of_the_training(rdrop, tmp_path, tiny_args):
    """From 1 there, so from 1 here, even where no row has the last number."""
    rows = [(text, index % 3) for index, (text, _) in enumerate(make_reviews(90))]
    data = write_csv(tmp_path / "news.csv", [(text, label + 1) for text, label in rows])
    names = ["--set", "data.label_names=[World,Sports,Business]"]
    rdrop("train", data, *tiny_args, *names, "--epochs", "1", "--out", "news")
    few = write_csv(tmp_path / "few.csv", [(text, label + 1) for text, label in rows if label < 2])
    by_name = write_csv(
        tmp_path / "named.csv", [(text, ["World", "Sports"][label]) for text, label in rows if label < 2]
    )
    found, same = (rdrop.json("evaluate", "news", path) for path in (few, by_name))
    assert found["metrics"] == same["metrics"]
    assert "1 as World, 2 as Sports" in rdrop("evaluate", "news", few).stdout
    from_0 = write_csv(tmp_path / "zero.csv", rows)
    assert "zero.csv, line 2: label '0' is not one of" in rdrop.error("evaluate", "news", from_0)


def test_the_columns_in_use_are_shown(rdrop, named, tmp_path):
    path = write_csv(tmp_path / "x.csv", [("fine", "positive", 1), ("dull", "negative", 2)], ("text", "label", "stars"))
    assert "Columns: text 'text', label 'label'" in rdrop("evaluate", "run", path).stdout
    assert rdrop.json("evaluate", "run", path)["columns"] == {"text": "text", "label": "label", "text_pair": None}
    assert "Columns: text 'text'" in rdrop("predict", "--checkpoint", "run", "--input", path).stderr
